"""Scratch folders: temporary folders that are removed when their block ends, whatever ends it.

A process that is killed by SIGKILL leaves its own. Each is locked for as long as its process lives, so the next run can
tell those that were left behind and removes them.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_NAME = re.compile(r"trichord-[a-z]+-[0-9a-f]{16}\.tmp")


@contextmanager
def scratch_folder(purpose: str) -> Iterator[str]:
    """Provide an empty folder of this process alone, below TMPDIR; `purpose` is a word of its name.

    Raises:
        OSError: it cannot be made.
    """
    path, lock = _make(purpose)
    held = [lock]
    try:
        held.append(os.dup(lock))  # to remove a folder takes two descriptors, when there may be no more
        yield path
    finally:
        for descriptor in held:
            os.close(descriptor)
        shutil.rmtree(path, ignore_errors=True)


def remove_abandoned() -> list[str]:
    """Remove the scratch folders of this user whose process was killed, and return their paths."""
    removed = []
    with os.scandir(tempfile.gettempdir()) as entries:
        found = [entry.path for entry in entries if _NAME.fullmatch(entry.name)]
    for path in found:
        try:
            lock = _open_locked(path)
        except OSError:  # in use, another user's, gone by now, or on a file system without locks
            continue
        try:
            if os.fstat(lock).st_uid == os.getuid():
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path)
        finally:
            os.close(lock)
    return removed


def _make(purpose: str) -> tuple[str, int]:
    """Make a folder, and lock it before anybody took it for abandoned."""
    while True:
        path = os.path.join(tempfile.gettempdir(), f"trichord-{purpose}-{secrets.token_hex(8)}.tmp")
        os.mkdir(path, 0o700)
        try:
            lock = _open_locked(path)
        except BlockingIOError:  # another process is about to remove it
            continue
        except FileNotFoundError:  # it has
            continue
        except OSError:  # a file system without locks: nobody removes it then
            try:
                return path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                os.rmdir(path)
                raise
        if os.path.isdir(path):
            return path, lock
        os.close(lock)


def _open_locked(path: str) -> int:
    """Open a folder and lock it, without waiting. Raise OSError if it cannot be opened or locked."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
