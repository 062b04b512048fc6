"""Who writes to stderr: events and errors alone. What libraries print there is held back.

TFLite, Ray, absl and others write to file descriptor 2 below Python, in the middle of JSON events. `own` moves the real
stderr to a descriptor that only `stream` writes to, and gives descriptor 2 a file in memory, which processes started
meanwhile inherit. `held` returns the end of that file for a report of an unexpected error.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

FORM = "TRICHORD_EVENTS"  # where a worker process sends events: descriptor:form
_HELD_BYTES, _MOST_BYTES = 64 << 10, 1 << 20

_own: TextIO | None = None
_held = -1


def stream() -> TextIO:
    """Return where events and errors are written."""
    global _own
    if _own is None and (given := os.environ.get(FORM)) and sys.stderr is sys.__stderr__:
        try:  # in a worker
            _own = _lines(int(given.partition(":")[0]))
        except (OSError, ValueError):
            os.environ.pop(FORM)
    return _own or sys.stderr


def is_terminal() -> bool:
    """Return True if a person watches."""
    return stream().isatty()


def descriptor() -> int | None:
    """Return the descriptor that a worker process must inherit to write events; None if it is the usual one."""
    return None if _own is None else _own.fileno()


@contextmanager
def own() -> Iterator[None]:
    """Keep stderr for events and errors within the block; change nothing where it is not the process's own."""
    global _own, _held
    usual = sys.__stderr__
    if _own is not None or usual is None or sys.stderr is not usual or usual.fileno() != 2:
        yield
        return
    usual.flush()
    real, _held = os.dup(2), _memory()
    os.dup2(_held, 2)
    _own = _lines(real)
    try:
        yield
    finally:
        usual.flush()
        os.dup2(real, 2)
        with suppress(OSError):  # its reader has gone, or its disk is full
            _own.close()
        _own = None
        os.close(_held)
        _held = -1


def held() -> str:
    """Return the end of what libraries wrote."""
    if _held < 0:
        return ""
    sys.stderr.flush()
    size = os.fstat(_held).st_size
    return os.pread(_held, _HELD_BYTES, max(0, size - _HELD_BYTES)).decode(errors="replace")


def bound() -> None:
    """Forget what libraries wrote if it has grown large."""
    if _held >= 0 and os.fstat(_held).st_size > _MOST_BYTES:
        os.ftruncate(_held, 0)


def _lines(descriptor: int) -> TextIO:
    return os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", buffering=1)


def _memory() -> int:
    """Return an appending file in memory, or in the temporary folder where the system has none."""
    try:
        descriptor = os.memfd_create("stderr")
    except (AttributeError, OSError):
        descriptor, path = tempfile.mkstemp(prefix="trichord-")
        os.unlink(path)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    return descriptor
