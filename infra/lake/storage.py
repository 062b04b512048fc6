"""Storage: one module for local folders and buckets.

A URI is an absolute local path, `s3://bucket/key`, `gs://bucket/key` or `az://container/key`. Reads of something that
is not there raise `FileNotFoundError`; every other failure of a store is a `StorageError` that names the URI and the
cause. Listings are sorted by URI and skip temporary files. Keys with empty, `.` or `..` segments are refused by the
client library and count as absent.
"""

from __future__ import annotations

import errno
import io
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

from trichord.infra.bucket_uri import is_bucket_name, is_remote, split_remote
from trichord.infra.config import StorageConfig, VersionBy
from trichord.infra.digest import address, sha256_hex
from trichord.infra.errors import ConfigError, StorageError
from trichord.infra.lake.bucket import BucketStore, RangeFile
from trichord.infra.lake.object_stores import advice_on_credentials, delta_options
from trichord.infra.lake.stores import (
    CHUNK_BYTES,
    Changed,
    LocalStore,
    NotRegular,
    Stat,
    TooLarge,
    refuse_larger,
    temporary_name,
)
from trichord.infra.lake.versions import VersionCache
from trichord.infra.secret_files import export_secrets
from trichord.infra.system_errors import as_storage_error

__all__ = ["Changed", "LineTooLong", "NotRegular", "Stat", "Storage", "TooLarge", "VersionCache", "is_remote"]

MAX_LINE_BYTES = 4 << 20
_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)


@dataclass(frozen=True, slots=True)
class LineTooLong:
    """Replaces a line over `MAX_LINE_BYTES` in `Storage.lines`; its content was skipped, the next line follows."""

    size: int


class Storage:
    """Reads, lists and atomically writes objects by URI. Thread-safe; pickles as its settings."""

    def __init__(self, config: StorageConfig) -> None:
        self.config = config
        self._local = LocalStore()
        self._buckets: dict[tuple[str, str], BucketStore] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> StorageConfig:
        return self.config

    def __setstate__(self, state: StorageConfig) -> None:
        self.__init__(state)  # type: ignore[misc]

    def join(self, base: str, *parts: str) -> str:
        """Return the URI of something below `base`; parts are relative paths with forward slashes."""
        return "/".join([base.rstrip("/"), *(part.strip("/") for part in parts)])

    def read(self, uri: str, *, max_bytes: int | None = None) -> bytes:
        """Return the whole object.

        Raises:
            FileNotFoundError: it is not there.
            TooLarge: it holds more than `max_bytes`; the body was not read.
            StorageError: it could not be read.
        """
        return self.read_with_stat(uri, max_bytes=max_bytes)[0]

    def read_with_stat(self, uri: str, *, max_bytes: int | None = None) -> tuple[bytes, Stat]:
        """Return the whole object, and the stat of the one that was read. Raise as `read`."""
        with _failures(uri):
            store, path = self._locate(uri)
            data, stat = store.read(path, max_bytes)
            refuse_larger(uri, len(data), max_bytes)  # it may have grown since its size was asked for
            return data, stat

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        """Return at most `length` bytes from byte `start`; fewer where the object ends. Raise as `read`."""
        with _failures(uri):
            store, path = self._locate(uri)
            return store.read_range(path, start, length)

    def open(self, uri: str) -> BinaryIO:
        """Return a seekable binary file; a remote object is read by ranges as needed. Raise as `read`."""
        if is_remote(uri):
            raw = RangeFile(partial(self.read_range, uri), self.stat(uri).size)
            return io.BufferedReader(raw, CHUNK_BYTES)
        with _failures(uri):
            return self._local.open(self._locate(uri)[1])

    def write(self, uri: str, data: bytes) -> None:
        """Write an object durably, replacing what was there; readers see old or new, never between."""
        with _failures(uri, writing=True):
            store, path = self._locate(uri)
            store.write(path, data)

    def write_if_absent(self, uri: str, data: bytes) -> bool:
        """Write an object unless there is one; False when there was. Of racing writers one gets True.

        On S3 a retry after a lost answer can report False for the write that took place: the content is then ours.
        """
        with _failures(uri, writing=True):
            store, path = self._locate(uri)
            return store.write_if_absent(path, data)

    def put_file(self, local_path: str, uri: str) -> None:
        """Move (local) or upload (S3) a finished local file to its place, atomically; `local_path` is gone after."""
        with _failures(uri, writing=True):
            store, path = self._locate(uri)
            store.put_file(local_path, path)

    def fetch(self, uri: str, local_dir: str) -> str:
        """Return a local path with the object's content: the path itself, or a download in `local_dir`, made once."""
        if not is_remote(uri):
            self.stat(uri)
            return uri
        found = self.stat(uri)
        target = os.path.join(local_dir, f"{address(uri, found.etag)}-{uri.rsplit('/', 1)[1]}")
        if not (os.path.exists(target) and os.path.getsize(target) == found.size):
            os.makedirs(local_dir, exist_ok=True)
            part = os.path.join(local_dir, temporary_name())
            with open(part, "xb") as file:
                for chunk in self.chunks(uri):
                    file.write(chunk)
            os.replace(part, target)
        return target

    def list(
        self, prefix_uri: str, *, temporary: bool = False, beginnings: Sequence[str] | None = None
    ) -> Iterator[Stat]:
        """Yield every file below a folder, recursively, sorted by URI; nothing for a missing folder.

        Linked files are followed, linked folders are not (they could form a circle).

        Args:
            prefix_uri: the folder.
            temporary: list instead the temporary files that killed writers left, for `gc`.
            beginnings: only files whose path below the folder begins with one of these, which are sorted and of which
                none begins with another; the rest of the folder is looked at as little as possible.
        """
        with _failures(prefix_uri):
            store, path = self._locate(prefix_uri)
            yield from store.walk(path, temporary) if beginnings is None else store.walk_some(path, beginnings)

    def folders(self, prefix_uri: str) -> Iterator[str]:
        """Yield the names of the folders in a folder, sorted; nothing for a missing folder. Raise as `read`."""
        with _failures(prefix_uri):
            store, path = self._locate(prefix_uri)
            yield from store.folders(path)

    def loose_files(self, folder: str) -> Iterator[Stat]:
        """Yield the files in a folder that are in no folder of it, sorted by URI. Raise as `read`."""
        with _failures(folder):
            store, path = self._locate(folder)
            if isinstance(store, BucketStore):
                yield from store.loose(path)
            else:
                yield from store.walk(folder, False, lambda below: not below.endswith("/"))

    def levels(self, folder: str) -> Iterator[tuple[Sequence[str], bool]]:
        """Yield, by request, folders in a bucket's folder, and whether files lie beside them. Raise as `read`."""
        with _failures(folder):
            store, path = self._locate(folder)
            assert isinstance(store, BucketStore)
            yield from store.levels(path)

    def list_folders(self, folder: str, first: str, last: str) -> Iterator[Stat]:
        """Yield the files in neighbours among the folders of a bucket's folder, first to last. Raise as `read`."""
        with _failures(folder):
            store, path = self._locate(folder)
            assert isinstance(store, BucketStore)
            yield from store.walk_folders(path, first, last)

    def page(self, folder: str, after: str) -> tuple[Sequence[Stat], bool]:
        """Return the objects below a bucket's folder that follow a URI, at most 1,000, and whether these are all.

        It is one request. Raise as `read`.
        """
        with _failures(folder):
            store, path = self._locate(folder)
            assert isinstance(store, BucketStore)
            return store.page(path, split_remote(after)[2])

    def stat(self, uri: str) -> Stat:
        """Return size, time and etag of a file. Raise as `read`; a folder counts as not there."""
        with _failures(uri):
            store, path = self._locate(uri)
            return store.stat(path)

    def exists(self, uri: str) -> bool:
        """Return True if there is such a file (a folder is not)."""
        try:
            self.stat(uri)
        except FileNotFoundError:
            return False
        return True

    def delete(self, uri: str) -> None:
        """Remove a file; nothing happens when there is none."""
        with _failures(uri, writing=True):
            store, path = self._locate(uri)
            store.delete(path)

    def flush(self, uri: str) -> None:
        """Make a file that another library wrote, and its name, survive a power cut."""
        with _failures(uri, writing=True):
            store, path = self._locate(uri)
            store.flush(path)

    def chunks(self, uri: str) -> Iterator[bytes]:
        """Yield the object's bytes in chunks of about 1 MiB. Raise as `read`."""
        with _failures(uri):
            store, path = self._locate(uri)
            yield from store.chunks(path)

    def lines(self, uri: str, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes | LineTooLong]]:
        """Yield byte offset and content of each line, without its `\\n` or `\\r\\n`, in bounded memory.

        A line over `MAX_LINE_BYTES` (4 MiB) comes as a `LineTooLong` with its size; empty lines come as b"".

        Args:
            uri: of the file.
            start: only lines that begin here or later; and with `stop` before that byte.
            stop: see `start`.
        """
        if start or stop is not None:
            before = max(0, start - 1)  # a line begins at `start` if the byte before it ends one
            for offset, line in self._lines(self._chunks_from(uri, before), before):
                if stop is not None and offset >= stop:
                    return
                if offset >= start:
                    yield offset, line
            return
        yield from self._lines(self.chunks(uri), 0)

    def _chunks_from(self, uri: str, start: int) -> Iterator[bytes]:
        with self.open(uri) as file:
            file.seek(start)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    @staticmethod
    def _lines(chunks: Iterator[bytes], offset: int) -> Iterator[tuple[int, bytes | LineTooLong]]:
        """Yield the lines of chunks, the first of which is at `offset`."""
        size, held = 0, bytearray()  # of the line under way; `held` stops growing past the limit
        for chunk in chunks:
            *ended, rest = chunk.split(b"\n")
            for piece in ended:
                size += len(piece)
                if size > MAX_LINE_BYTES:
                    yield offset, LineTooLong(size)
                else:
                    yield offset, (bytes(held) + piece).removesuffix(b"\r")
                offset, size = offset + size + 1, 0
                held.clear()
            size += len(rest)
            if size > MAX_LINE_BYTES:
                held.clear()
            else:
                held += rest
        if size:
            yield offset, LineTooLong(size) if size > MAX_LINE_BYTES else bytes(held).removesuffix(b"\r")

    def version(self, stat: Stat, by: VersionBy, cache: VersionCache | None) -> str:
        """Return the content version of a listed object: an etag, time and size, or a SHA-256 (through `cache`).

        `auto` is etag where there is one, else sha256.

        Raises:
            ConfigError: `etag` is asked of a store that has none.
            Changed: it was written to while it was hashed, or is no longer a file.
            FileNotFoundError, StorageError: as `read`.
        """
        if by == "mtime_size":
            return f"mtime_size:{stat.mtime_ns}:{stat.size}"
        if by == "etag" or (by == "auto" and stat.etag is not None):
            if stat.etag is None:
                raise ConfigError(f"{stat.uri} has no etag: set version_by to auto, sha256 or mtime_size")
            return f"etag:{stat.etag.strip(chr(34))}"
        sha256 = cache.get(stat) if cache is not None else None
        if sha256 is None:
            try:
                sha256 = sha256_hex(self.chunks(stat.uri))
            except NotRegular as error:
                raise Changed.of(stat.uri) from error
            # Hashing took time: what was read counts as the listed version only if the file is still that one.
            if cache is not None and self.stat(stat.uri) == stat:
                cache.put(stat, sha256)
        return f"sha256:{sha256}"

    def delta_options(self, uri: str) -> dict[str, str] | None:
        """Return `storage_options` of deltalake for a table at `uri`; None for a local one."""
        return delta_options(split_remote(uri)[0], self.config) if is_remote(uri) else None

    def _locate(self, uri: str) -> tuple[LocalStore | BucketStore, str]:
        try:
            encoded = os.fsencode(uri)
        except UnicodeEncodeError as error:
            raise FileNotFoundError(errno.ENOENT, "no file can have such a name", uri) from error
        if b"\0" in encoded:
            raise FileNotFoundError(errno.ENOENT, "no file can have such a name", uri)
        if not is_remote(uri):
            if not os.path.isabs(uri):
                raise ValueError(f"a URI is an absolute path or in a bucket (s3://, gs://, az://), not {uri!r}")
            return self._local, uri.rstrip("/") or "/"
        scheme, bucket, key = split_remote(uri.rstrip("/"))
        if not is_bucket_name(bucket):  # a store's errors would quote a password in it as part of a path
            raise FileNotFoundError(errno.ENOENT, "no bucket can have such a name", uri)
        if any(segment in ("", ".", "..") for segment in key.split("/")) and key:
            raise FileNotFoundError(errno.ENOENT, "no key can have such segments", uri)
        with self._lock:
            if (scheme, bucket) not in self._buckets:
                export_secrets()  # in a worker of a cluster nobody has done so yet
                self._buckets[scheme, bucket] = BucketStore(scheme, bucket, self.config)
            return self._buckets[scheme, bucket], key


@contextmanager
def _failures(uri: str, *, writing: bool = False) -> Iterator[None]:
    """Translate a store's errors: absent things to FileNotFoundError (when reading), all else to StorageError."""
    try:
        yield
    except OSError as error:
        absent = isinstance(error, FileNotFoundError) or error.errno in _ABSENT
        if writing or not absent or _NO_BUCKET.search(str(error)):
            raise _storage_error(uri, error) from error
        raise FileNotFoundError(errno.ENOENT, "no such file", uri) from error
    except _remote_errors() as error:
        raise _storage_error(uri, error) from error


def _remote_errors() -> Any:
    """Return obstore's base error, without importing obstore where no bucket was ever used."""
    import sys

    module = sys.modules.get("obstore.exceptions")
    return module.BaseError if module is not None else ()


def _storage_error(uri: str, cause: BaseException) -> StorageError:
    known = as_storage_error(cause, uri)
    if known is not None:
        return known
    text = " ".join(str(cause).splitlines()[:1]) or type(cause).__name__
    if code := _CODE.search(str(cause)):  # a server's answer follows in lines of its own
        text = f"{text.partition(': <?xml')[0]} ({code[1]})"
    remedy = advice_on_credentials(uri, text) or "Check the path, its permissions and the free space"
    return StorageError(f"{uri}: {text}. {remedy}, or run `trichord doctor`")
