"""The store of local files beneath `trichord.infra.lake.storage`, and what it shares with that of buckets.

Stores speak plain `OSError`, `FileNotFoundError` and obstore's errors; `Storage` translates. They write so that a
reader sees the whole object or none: a local file is written under a temporary name, synced, renamed, and its folder
synced.
"""

from __future__ import annotations

import bisect
import errno
import io
import os
import secrets
import shutil
import stat as stat_modes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, BinaryIO

from trichord.infra.errors import SourceError, StorageError
from trichord.infra.regular_file import NotAFileError, open_regular

TEMPORARY_PREFIX = ".tmp-"
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Stat:
    """What a listing says of one object. `etag` is None for local files."""

    uri: str
    size: int
    mtime_ns: int
    etag: str | None
    ctime_ns: int = 0  # local files: a change that keeps size and mtime still shows here
    linked: bool = field(default=True, compare=False)  # False if a listing saw that it is not a symbolic link


class TooLarge(StorageError):
    """An object is larger than the reader allows; its body was not read."""


class Changed(SourceError):
    """A file changed while it was read: what was read may be part of the old and part of the new."""

    @classmethod
    def of(cls, uri: str) -> Changed:
        """Return the error for a file."""
        return cls(f"{uri} changed while it was being read. Run the command again; it resumes")


class NotRegular(StorageError):
    """A path leads to a folder, a pipe or a device, not to a file; nothing was read."""


def open_source(path: str, *, buffering: int = 0) -> BinaryIO:
    """Open a local file. A pipe among a source's files is refused, not waited for.

    Raises:
        NotRegular: it is not a regular file.
        OSError: it cannot be opened.
    """
    try:
        return open_regular(path, buffering=buffering)
    except NotAFileError as error:
        raise NotRegular(
            f"{path} is a folder, a pipe or a device, not a regular file. Remove it, or name another path"
        ) from error


@contextmanager
def require_unchanged(file: IO[bytes], uri: str) -> Iterator[None]:
    """Check after the block, which reads an open local file, that nobody wrote to it meanwhile.

    Raises:
        Changed: it was written to, or cut; also where the block raises an error, which then follows from that.
    """
    before = _changes(file)
    try:
        yield
    except Exception as error:
        if _changes(file) != before:
            raise Changed.of(uri) from error
        raise
    if _changes(file) != before:
        raise Changed.of(uri)


def _changes(file: IO[bytes]) -> tuple[int, int] | None:
    """Return an open file's size and time of writing; None for what is not a local file."""
    try:
        found = os.fstat(file.fileno())
    except io.UnsupportedOperation:
        return None
    return found.st_size, found.st_mtime_ns


def refuse_larger(uri: str, size: int, max_bytes: int | None) -> None:
    """Raise TooLarge when `size` is over `max_bytes`."""
    if max_bytes is not None and size > max_bytes:
        raise TooLarge(f"{uri} holds {size:,} bytes, over the limit of {max_bytes:,}; it was not read")


def temporary_name() -> str:
    """Return a file name that listings skip; unique over processes and hosts."""
    return TEMPORARY_PREFIX + secrets.token_hex(8)


class LocalStore:
    """Local files, addressed by absolute path."""

    def open(self, path: str) -> BinaryIO:
        return open_source(path)

    def read(self, path: str, max_bytes: int | None) -> tuple[bytes, Stat]:
        with self.open(path) as file:
            refuse_larger(path, os.fstat(file.fileno()).st_size, max_bytes)
            with require_unchanged(file, path):
                data = file.read()
            return data, _stat(path, os.fstat(file.fileno()))  # of what was read, whatever the path leads to by now

    def read_range(self, path: str, start: int, length: int) -> bytes:
        with self.open(path) as file:
            return os.pread(file.fileno(), length, start)

    def chunks(self, path: str) -> Iterator[bytes]:
        with self.open(path) as file, require_unchanged(file, path):
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def write(self, path: str, data: bytes) -> None:
        with _temporary_beside(path) as temporary:
            _write_synced(temporary, data)
            os.replace(temporary, path)

    def write_if_absent(self, path: str, data: bytes) -> bool:
        if os.path.lexists(path):
            return False
        with _temporary_beside(path) as temporary:
            _write_synced(temporary, data)
            try:
                os.link(temporary, path)  # unlike a rename, refuses an existing name
            except FileExistsError:
                return False
        return True

    def put_file(self, local_path: str, path: str) -> None:
        with _temporary_beside(path) as temporary:
            try:
                os.replace(local_path, temporary)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                shutil.copyfile(local_path, temporary)
                os.unlink(local_path)
            _sync(temporary)
            os.replace(temporary, path)

    def walk(
        self, path: str, temporary: bool, wanted: Callable[[str], bool] | None = None, below: str = ""
    ) -> Iterator[Stat]:
        """Yield the files below a folder; `wanted` says of a path below the first folder if it is looked at."""
        try:
            with os.scandir(path) as found:
                entries = [(entry.name + "/" * entry.is_dir(follow_symlinks=False), entry) for entry in found]
        except (FileNotFoundError, NotADirectoryError):
            return
        if wanted is not None:
            entries = [named for named in entries if wanted(below + named[0])]
        for name, entry in sorted(entries, key=lambda named: named[0]):
            if name.endswith("/"):
                yield from self.walk(entry.path, temporary, wanted, below + name)
            elif name.startswith(TEMPORARY_PREFIX) == temporary:
                try:
                    found_stat = entry.stat()
                except OSError as error:
                    if error.errno in (errno.ENOENT, errno.ELOOP):  # removed since it was listed, or a link to nothing
                        continue
                    raise
                if stat_modes.S_ISREG(found_stat.st_mode):
                    times = (found_stat.st_mtime_ns, None, found_stat.st_ctime_ns)
                    yield Stat(entry.path, found_stat.st_size, *times, linked=entry.is_symlink())

    def walk_some(self, path: str, beginnings: Sequence[str]) -> Iterator[Stat]:
        def wanted(below: str) -> bool:
            after = bisect.bisect_right(beginnings, below)
            if after and below.startswith(beginnings[after - 1]):
                return True
            return below.endswith("/") and after < len(beginnings) and beginnings[after].startswith(below)

        yield from self.walk(path, False, wanted)

    def folders(self, path: str) -> Iterator[str]:
        try:
            with os.scandir(path) as found:
                yield from sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False))
        except (FileNotFoundError, NotADirectoryError):
            return

    def stat(self, path: str) -> Stat:
        found = os.stat(path)
        if not stat_modes.S_ISREG(found.st_mode):
            raise FileNotFoundError(errno.ENOENT, "not a regular file", path)
        return _stat(path, found)

    def delete(self, path: str) -> None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            return

    def flush(self, path: str) -> None:
        _sync(path)
        _sync(os.path.dirname(path))


def _stat(path: str, found: os.stat_result) -> Stat:
    return Stat(path, found.st_size, found.st_mtime_ns, None, found.st_ctime_ns)


@contextmanager
def _temporary_beside(path: str) -> Iterator[str]:
    """Provide a temporary name in the folder of `path`. It is removed if left over; the folder is synced afterwards."""
    folder = os.path.dirname(path)
    _make_folder(folder)
    temporary = os.path.join(folder, temporary_name())
    try:
        yield temporary
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)
    _sync(folder)


def _make_folder(folder: str) -> None:
    """Create a folder and its parents; each new name is synced into its parent."""
    if os.path.isdir(folder):
        return
    _make_folder(os.path.dirname(folder))
    try:
        os.mkdir(folder)
    except FileExistsError:
        return
    _sync(os.path.dirname(folder))


def _write_synced(path: str, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
