"""Ending in order: after the first signal no task is begun, and tasks that run may still finish, for a while.

Ray, systemd, Kubernetes and Airflow all send SIGTERM and kill after 30 s or more. A second signal ends the run at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE_S = 25.0  # what ends it all comes at 30 s or later, and leaving takes some seconds more

_asked: int | None = None  # number of the signal
_loops = 0  # of tasks, in any thread
_overdue: threading.Timer | None = None
_finished = _ended = 0
_begun: str | None = None  # the last job at work on a lake that this process began


def asked() -> bool:
    """Return True once a signal asked this process to end: then no more tasks are begun."""
    return _asked is not None


def receive(number: int, frame: FrameType | None = None) -> None:
    """Handle a signal: leave now, or once the tasks that run have finished if this is the first one.

    Raises:
        SystemExit: with a shell's code, 128 and the number.
    """
    global _asked, _overdue
    if _asked is not None or not _loops:
        leave(number)
    _asked = number
    _overdue = threading.Timer(GRACE_S, signal.pthread_kill, [threading.main_thread().ident, number])
    _overdue.daemon = True
    _overdue.start()


def leave(number: int | None = None) -> None:
    """Raise SystemExit for a signal, by default the one that was received; do nothing where none was."""
    number = _asked if number is None else number
    if number is not None:
        if _overdue is not None:
            _overdue.cancel()
        raise SystemExit(128 + number)


@contextmanager
def tasks() -> Iterator[None]:
    """Mark that tasks run while the block does."""
    global _loops
    _loops += 1
    try:
        yield
    finally:
        _loops -= 1


def begin(verb: str) -> None:
    """Note that this process has begun a job that changes a lake."""
    global _begun
    _begun = verb


def begun() -> str | None:
    """Return the last job that was begun; None for a process that changes no lake."""
    return _begun


def count(*, finished: int = 0, ended: int = 0) -> None:
    """Count tasks that finished after the signal, or were ended."""
    global _finished, _ended
    _finished += finished
    _ended += ended


def outcome() -> dict[str, int]:
    """Return how many tasks finished after the signal and how many were ended; nothing if none was running."""
    return {"tasks_finished": _finished, "tasks_ended": _ended} if _asked is not None else {}


def reset() -> None:
    """Forget the signal: a process may run one command after another."""
    global _asked, _overdue, _finished, _ended, _begun
    if _overdue is not None:
        _overdue.cancel()
    _asked, _overdue, _finished, _ended, _begun = None, None, 0, 0, None
