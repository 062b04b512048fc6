"""What the operating system refuses (a full disk, no more open files, a missing permission) as an error with advice."""

from __future__ import annotations

import errno
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from trichord.infra.errors import StorageError, TrichordError

_AGAIN = "then run the command again: it resumes."
_SPACE = f"Free some space there, or use another disk (`lake`; for temporary files the variable TMPDIR), {_AGAIN}"
_PERMISSION = f"Give this user the permission to read and write there, {_AGAIN}"
_ADVICE = {
    errno.ENOSPC: f"The disk is full. {_SPACE}",
    errno.EDQUOT: f"This user's quota is used up. {_SPACE}",
    errno.EFBIG: f"The file is over the limit of this process or file system. Raise it (`ulimit -f`), {_AGAIN}",
    errno.EMFILE: f"This process may not open more files. Raise the limit (`ulimit -n`), {_AGAIN}",
    errno.ENFILE: f"This machine cannot open more files. End other programs or raise `fs.file-max`, {_AGAIN}",
    errno.EROFS: f"The file system is read-only. Mount it for writing, or use another folder, {_AGAIN}",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EIO: f"The disk reports an error. Look at the system's log and check the disk, {_AGAIN}",
}
_RUST = re.compile(r"\(os error (\d+)\)|Os \{ code: (\d+)")  # how deltalake and safetensors report it
_SQLITE = {"database or disk is full": errno.ENOSPC, "unable to open database file": errno.ENOSPC}


def advice_for(error: BaseException) -> str | None:
    """Return what to do about an error that the operating system caused; None if it is of another kind."""
    return _ADVICE.get(_number(error) or 0)


def as_storage_error(error: BaseException, place: str = "") -> StorageError | None:
    """Return the error to show for one that the operating system caused; None if it is ours or of another kind.

    `place` says where it happened, unless the error does.
    """
    advice = None if isinstance(error, TrichordError) else advice_for(error)
    if advice is None:
        return None
    text = " ".join(str(error).splitlines()[:1]) or type(error).__name__
    return StorageError(f"{place}: {text}.\n{advice}" if place else f"{text}.\n{advice}")


@contextmanager
def system_failures(place: str) -> Iterator[None]:
    """Translate errors of the operating system in the block to StorageError.

    Raises:
        StorageError: the operating system refused something.
    """
    try:
        yield
    except OSError as error:
        known = as_storage_error(error, place)
        if known is None:
            raise
        raise known from error


def _number(error: BaseException) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a broken __str__: then it is none of the system's
        return None
    if isinstance(error, sqlite3.OperationalError):
        return _SQLITE.get(text)
    found = _RUST.search(text)
    return int(found[1] or found[2]) if found else None
