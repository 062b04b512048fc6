"""The worker process of the local engine: run as `python -c`, it imports nothing but what its task needs.

Messages arrive on one socket: a tag byte, then a pickle. `t` is a task, `f` a factory that makes the task here, `k` a
factory whose task is kept if this worker made it last, `i` an item to run the task on. Each is answered by a pickled
value: `Returned` or `Failure`.
"""

from __future__ import annotations

import os
import pickle
import resource
import select
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from trichord.infra.engines.base import Returned
from trichord.infra.engines.failure import Failure

TASK, FACTORY, KEPT, ITEM = b"t", b"f", b"k", b"i"
GRACE_S = 10.0  # a task that is ended may take this long to remove its temporary files
TERMINATED = 128 + signal.SIGTERM
OUT_OF_MEMORY = 137  # exit status of a worker that could not allocate: it dies like one that the kernel ends


def main(descriptor: int, memory_bytes: int | None) -> None:
    """Serve the driver at the other end of the socket until it closes, dies, or this process gets SIGTERM.

    A task that is under way then ends as if by an error, so that it removes its temporary files.
    """
    limit_memory(memory_bytes)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_leave_with_driver, args=(descriptor,), daemon=True).start()
    try:
        _serve(Connection(descriptor))
    finally:
        os._exit(TERMINATED)


def _serve(connection: Connection[Any, Any]) -> None:
    run: Callable[[object], object] | None = None
    kept = b""
    while True:
        try:
            message = connection.recv_bytes()
        except (EOFError, OSError):
            os._exit(0)
        result: object = None
        try:
            if message[:1] == ITEM:
                assert run is not None, "an item before its task"
                result = run(pickle.loads(memoryview(message)[1:]))
            elif message[:1] != KEPT or message != kept:
                run, kept = None, b""  # what the last task or factory holds makes room first
                content = pickle.loads(memoryview(message)[1:])
                run = content if message[:1] == TASK else content()
                kept = message
            answer = pickle.dumps(Returned(result), pickle.HIGHEST_PROTOCOL)
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        except Exception as error:  # noqa: BLE001 - the one place where a task's exception becomes its item's Failed
            answer = pickle.dumps(Failure.of(error), pickle.HIGHEST_PROTOCOL)
        try:
            connection.send_bytes(answer)
        except OSError:
            os._exit(0)


def limit_memory(memory_bytes: int | None) -> None:
    """Bound what this process may allocate for itself; shared mappings do not count."""
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _leave(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would interrupt the removal
    raise SystemExit(TERMINATED)


def _leave_with_driver(descriptor: int) -> None:
    """End this process, in the middle of a task too, as soon as the driver's end of the socket is gone."""
    poller = select.poll()
    poller.register(descriptor, 0)  # no events but the unmaskable ones: hang-up and error
    poller.poll()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)
