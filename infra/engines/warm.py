"""Starts workers from a template process (`template.py`), one for each engine."""

from __future__ import annotations

import json
import os
import pickletools
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from trichord.infra import log, stderr
from trichord.infra.engines.template import ANSWER, LENGTH, STATUS

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from trichord.infra.engines.template import main; main({})"
)
_SEARCHED_BYTES = 1 << 16  # of a pickled task, for the modules that it names
_END_S = 5.0


class Worker:
    """A worker process, with the methods of `Popen` that its engine uses."""

    def __init__(self, pid: int, status: socket.socket) -> None:
        self.pid, self._status = pid, status
        self._pidfd = os.pidfd_open(pid)
        self.returncode: int | None = None

    def has_ended(self, within_s: float = 0) -> bool:
        """Return True if the process has ended. Until `wait` no other process gets its number."""
        if self.returncode is not None:
            return True
        poller = select.poll()
        poller.register(self._status, select.POLLIN)
        return bool(poller.poll(within_s * 1000))

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        return self.wait() if self.has_ended() else None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raise TimeoutExpired if the process does not end in time."""
        if self.returncode is None:
            if timeout is not None and not self.has_ended(timeout):
                raise subprocess.TimeoutExpired("worker", timeout)
            told = self._status.recv(STATUS.size)
            with suppress(OSError):
                self._status.shutdown(socket.SHUT_WR)
                self._status.recv(1)  # its end: the process is reaped
            self._status.close()
            os.close(self._pidfd)
            [self.returncode] = STATUS.unpack(told) if told else [-signal.SIGKILL]  # the template was killed
        return self.returncode

    def kill_group(self) -> None:
        """Kill the process with everything it started; after `wait`, do nothing."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, 0)  # without its template, the number may be another's by now
                with suppress(ProcessLookupError):  # it does not lead a group yet
                    os.killpg(self.pid, signal.SIGKILL)
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)


class _Process:
    """The template process, seen from the driver."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START.format(theirs.fileno()), json.dumps(sys.path)],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is the driver's to handle
                env=environment,
            )
        self._control = ours

    def fork(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> int:
        """Return the process id of a new worker. Raise OSError if there is none, EOFError if the template is gone."""
        body = json.dumps(request).encode()
        socket.send_fds(self._control, [LENGTH.pack(len(body))], descriptors)
        self._control.sendall(body)
        answer = self._control.recv(ANSWER.size, socket.MSG_WAITALL)
        if not answer:
            raise EOFError
        [pid] = ANSWER.unpack(answer)
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        return int(pid)

    def end(self) -> None:
        """End the template; its workers go on. It is reaped, so that what it has used counts as this process's."""
        self._control.close()  # which it notices
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def modules_named(task: bytes) -> list[str]:
    """Return modules of ours that a pickled task names."""
    found: list[str] = []
    try:
        for _, value, _ in pickletools.genops(task[:_SEARCHED_BYTES]):
            if isinstance(value, str) and value.startswith("trichord.") and value in sys.modules:
                found.append(value)
    except ValueError:
        pass  # the pickle is longer
    return list(dict.fromkeys(found))


class Template:
    """Starts workers of one engine. Thread-safe; the process is started when first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: _Process | None = None

    def start_worker(
        self, connection: int, environment: Mapping[str, str], memory_bytes: int | None, modules: Sequence[str]
    ) -> Worker:
        """Start a worker that serves the driver at the other end of a socket.

        Args:
            connection: the worker's end.
            environment: of the worker.
            memory_bytes: what it may allocate.
            modules: what is imported before; kept for later workers.

        Raises:
            OSError: the machine has no room for another process.
        """
        events = stderr.descriptor()
        request = {
            "path": sys.path,
            "folder": os.getcwd(),
            "environment": dict(environment),
            "memory_bytes": memory_bytes,
            "modules": list(modules),
            "events": events,
            "as_json": events is not None and log.as_json(),
        }
        ours, theirs = socket.socketpair()
        try:
            with theirs, self._lock:
                descriptors = [connection, theirs.fileno(), 1, 2, *([] if events is None else [events])]
                return Worker(self._fork(request, descriptors), ours)
        except BaseException:
            ours.close()
            raise

    def end(self) -> None:
        """End the process, whose workers have ended before."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.end()

    def _fork(self, request: dict[str, Any], descriptors: Sequence[int]) -> int:
        """Fork the process; where that fails, a new one, and then one that has imported nothing."""
        nothing: list[str] = []
        for modules in (request["modules"], request["modules"], nothing):
            started = self._process = self._process or _Process(request["environment"])
            try:
                return started.fork(request | {"modules": modules}, descriptors)
            except (OSError, EOFError) as error:
                failed = error
                self._process = None
                started.end()
        raise OSError(f"no worker could be started: {failed}") from failed
