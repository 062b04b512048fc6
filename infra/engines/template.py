"""The template of workers: a process that imports once and forks, so that a worker starts in milliseconds.

It runs no task, and has no other thread when it forks. It serves one driver over a socket until that closes. A
request is a length and JSON, sent with descriptors: the worker's socket, another one for its exit status, stdout,
stderr and, if there is one, the stream of events. The answer is the worker's process id, or an errno below zero. A
worker that has ended keeps its number until the driver shuts the second socket down; it is closed once it is reaped.
"""

from __future__ import annotations

import errno
import gc
import importlib
import json
import os
import select
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from trichord.infra import lazy, log
from trichord.infra.engines import worker

LENGTH, ANSWER, STATUS = struct.Struct("!I"), struct.Struct("!i"), struct.Struct("!i")
MOST_DESCRIPTORS = 5


def main(descriptor: int) -> None:
    """Serve the driver at the other end of the socket until it closes."""
    control = socket.socket(fileno=descriptor)
    poller = select.poll()
    poller.register(control, select.POLLIN)
    running: dict[int, tuple[int, int]] = {}  # pidfd -> process id, pipe
    ended: dict[int, int] = {}  # pipe -> process id
    while True:
        for ready, _ in poller.poll():
            if ready in running:
                pid, pipe = running.pop(ready)
                poller.unregister(ready)
                os.close(ready)
                with suppress(OSError):  # nobody wants to know
                    os.write(pipe, STATUS.pack(_exit_code(pid)))
                poller.register(pipe, select.POLLIN)  # its end: the driver needs the number no more
                ended[pipe] = pid
            elif ready in ended:
                poller.unregister(ready)
                os.waitpid(ended.pop(ready), 0)
                os.close(ready)
            else:
                found = _receive(control)
                if found is None:
                    os._exit(0)
                request, descriptors = found
                pipes = [pipe for _, pipe in running.values()]
                pid = _fork(request, descriptors, [control.fileno(), *running, *pipes, *ended])
                if pid > 0:
                    pidfd = os.pidfd_open(pid)
                    running[pidfd] = pid, descriptors[1]
                    poller.register(pidfd, select.POLLIN)
                for position, one in enumerate(descriptors):
                    if position != 1 or pid < 0:
                        os.close(one)
                control.sendall(ANSWER.pack(pid))


def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return a request and its descriptors; None once the driver is gone."""
    head, descriptors, _, _ = socket.recv_fds(control, LENGTH.size, MOST_DESCRIPTORS)
    if not head:
        return None
    [size] = LENGTH.unpack(head)
    body = bytearray()
    while len(body) < size:
        part = control.recv(size - len(body))
        if not part:
            return None
        body += part
    request: dict[str, Any] = json.loads(body)
    return request, list(descriptors)


def _exit_code(pid: int) -> int:
    """Return how a process ended, as `Popen.returncode` says it; it stays unreaped."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def _fork(request: dict[str, Any], descriptors: Sequence[int], ours: Sequence[int]) -> int:
    """Start a worker; return its process id, or an errno below zero."""
    _import(request["modules"])
    if _has_threads():
        return -errno.EDEADLK  # a library has started threads, whose locks a fork would leave locked
    try:
        pid = os.fork()
    except OSError as error:
        return -(error.errno or errno.EAGAIN)
    if pid == 0:
        _become_worker(request, descriptors, ours, worker.main)
    return pid


def _has_threads() -> bool:
    """Return True if a thread runs beside this one, but for those of jemalloc, which prepares itself for forks."""
    found = 0
    for task in os.listdir("/proc/self/task"):
        with suppress(OSError):  # it has ended
            found += Path("/proc/self/task", task, "comm").read_text().strip() != "jemalloc_bg_thd"
    return found > 1


def _import(names: Sequence[str]) -> None:
    """Import what tasks are made of, and the libraries that stand-ins in them stand for."""
    new = [name for name in names if name not in sys.modules]
    for name in new:
        with suppress(Exception):  # the worker meets the same error, and reports it
            importlib.import_module(name)
    if new:
        lazy.wake()
        if "pyarrow" in sys.modules:
            with suppress(ImportError):
                importlib.import_module("pandas")  # pyarrow imports it at its first conversion, in every worker
        gc.collect()
        gc.freeze()  # what workers share is not written to by their collectors


def _become_worker(
    request: dict[str, Any], descriptors: Sequence[int], ours: Sequence[int], serve: Callable[[int, int | None], None]
) -> None:
    """Turn this fork into a worker that is like a new process of the driver, and never return."""
    try:
        os.setsid()  # Ctrl-C is the driver's to handle
        for one in (*ours, descriptors[1]):
            os.close(one)
        os.dup2(descriptors[2], 1)
        os.dup2(descriptors[3], 2)
        os.close(descriptors[2])
        os.close(descriptors[3])
        connection = descriptors[0]
        if request["events"] is not None:
            if connection == request["events"]:
                connection = os.dup(connection)
            if descriptors[4] != request["events"]:
                os.dup2(descriptors[4], request["events"])
                os.close(descriptors[4])
        os.environ.clear()
        os.environ.update(request["environment"])
        tempfile.tempdir = None  # what was imported before may have asked for it
        log.configure(as_json=request["as_json"])
        os.chdir(request["folder"])
        sys.path[:] = request["path"]
        serve(connection, request["memory_bytes"])
    finally:
        os._exit(1)
