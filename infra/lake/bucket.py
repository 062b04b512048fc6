"""The store of buckets beneath `trichord.infra.lake.storage`: S3 and what speaks its protocol, Google, Azure Blob."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trichord.infra.config import StorageConfig
from trichord.infra.lake.object_stores import open_store
from trichord.infra.lake.stores import CHUNK_BYTES, Stat, refuse_larger

PAGE = 1_000  # objects that a request lists


class BucketStore:
    """One bucket (Azure: container), addressed by key."""

    def __init__(self, scheme: str, bucket: str, config: StorageConfig) -> None:
        self._uri = f"{scheme}://{bucket}"
        self._bucket_seen = False
        self._store = open_store(scheme, bucket, config)

    def read(self, key: str, max_bytes: int | None) -> tuple[bytes, Stat]:
        found = self._store.get(key)  # the body is streamed only when asked for
        meta = found.meta
        refuse_larger(f"{self._uri}/{key}", meta["size"], max_bytes)
        return bytes(found.bytes()), self._of(meta)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        return bytes(self._store.get_range(key, start=start, length=length))

    def chunks(self, key: str) -> Iterator[bytes]:
        for chunk in self._store.get(key).stream(min_chunk_size=CHUNK_BYTES):
            yield bytes(chunk)

    def write(self, key: str, data: bytes) -> None:
        self._store.put(key, data)

    def write_if_absent(self, key: str, data: bytes) -> bool:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            self._store.put(key, data, mode="create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    def put_file(self, local_path: str, key: str) -> None:
        self._store.put(key, Path(local_path))
        os.unlink(local_path)

    def walk(self, key: str, temporary: bool) -> Iterator[Stat]:
        if temporary:
            return  # uploads are atomic: a bucket holds no temporary objects
        yield from self._stats(meta for page in self._store.list(key or None) for meta in page)

    def walk_some(self, key: str, beginnings: Sequence[str]) -> Iterator[Stat]:
        root = f"{key}/" if key else ""
        for beginning in beginnings:
            folder, last = f"{root}{beginning}".rpartition("/")[::2]
            # the store lists what follows an offset, which is therefore something before the beginning
            offset = f"{folder}/{last[:-1]}" if folder and len(last) > 1 else None
            yield from self._stats(self._some(folder, offset, root + beginning))

    def _some(self, folder: str, offset: str | None, beginning: str) -> Iterator[Mapping[str, Any]]:
        for page, _ in self._listed(folder, offset):
            yield from (meta for meta in page if meta["path"].startswith(beginning))
            if page and page[-1]["path"] > beginning + chr(0x10FFFF):
                return

    def page(self, key: str, after: str) -> tuple[list[Stat], bool]:
        """Return the objects below a folder that follow a name, at most `PAGE`, and whether they are all."""
        found, whole = next(self._listed(key, after), ([], True))
        return list(self._stats(found, after)), whole

    def _listed(self, key: str, offset: str | None) -> Iterator[tuple[Sequence[Mapping[str, Any]], bool]]:
        """Yield the objects below a folder that follow an offset, `PAGE` by `PAGE`, and whether these are the last.

        Not every server heeds an offset: Azurite lists all.
        """
        for page in self._store.list(key or None, offset=offset, chunk_size=PAGE):
            whole = len(page) < PAGE
            if offset is not None and page and page[0]["path"] <= offset:
                page = [meta for meta in page if meta["path"] > offset]
            if page or whole:
                yield page, whole

    def folders(self, key: str) -> Iterator[str]:
        for names, _ in self.levels(key):
            yield from names

    def levels(self, key: str) -> Iterator[tuple[list[str], bool]]:
        """Yield, request by request, the names of folders in a folder, and whether there are objects beside them."""
        root, last = f"{key}/" if key else "", ""
        for page in self._pages(key):
            names, loose = list[str](), False
            for meta in page:
                first, slash, _ = meta["path"][len(root) :].partition("/")
                if not slash:
                    loose = True
                elif first != last:
                    names.append(first)
                    last = first
            yield names, loose

    def loose(self, key: str) -> Iterator[Stat]:
        """Yield the objects in a folder that are in no folder of it."""
        start = len(self._uri) + len(f"/{key}/" if key else "/")
        stats = self._stats(meta for page in self._pages(key) for meta in page)
        yield from (stat for stat in stats if "/" not in stat.uri[start:])

    def _pages(self, key: str) -> Iterator[Sequence[Mapping[str, Any]]]:
        """Yield listings of a folder, each behind the folder in which the last one ends."""
        root, offset = f"{key}/" if key else "", None
        while True:
            for page, whole in self._listed(key, offset):
                yield page
                first, slash, _ = page[-1]["path"][len(root) :].partition("/") if page else ("", "", "")
                if not whole and slash:
                    offset = f"{root}{first}0"  # what follows `first/`: the rest of that folder is not listed
                    break
            else:
                return

    def walk_folders(self, key: str, first: str, last: str) -> Iterator[Stat]:
        """Yield what is in some neighbouring folders of a folder: from the first to the last by name."""
        root = f"{key}/" if key else ""

        def inside() -> Iterator[Mapping[str, Any]]:
            for page, _ in self._listed(key, f"{root}{first}.{chr(0x10FFFF)}"):
                for meta in page:
                    if meta["path"] >= f"{root}{last}0":
                        return
                    if "/" in meta["path"][len(root) :]:
                        yield meta

        yield from self._stats(inside())

    def _stats(self, metas: Iterable[Mapping[str, Any]], last: str = "") -> Iterator[Stat]:
        """Yield the stats of objects that were listed behind `last`, without the empty ones that mark folders.

        The client lists such an object, `a/`, as `a`, out of order: behind `a.txt`.
        """
        held = None
        for meta in metas:
            path = meta["path"]
            if held is not None and not path.startswith(f"{last}/"):
                yield self._of(held)
            held = None
            if meta["size"]:
                yield self._of(meta)
            elif path < last:
                continue
            else:
                held = meta
            last = path
        if held is not None:
            yield self._of(held)

    def stat(self, key: str) -> Stat:
        try:
            meta = self._store.head(key)
        except FileNotFoundError:
            if not self._bucket_seen:  # the answer to a HEAD does not say whether the key or the bucket is missing
                next(iter(self._store.list()), None)
                self._bucket_seen = True
            raise
        return self._of(meta)

    def _of(self, meta: Mapping[str, Any]) -> Stat:
        # some stores list milliseconds, but answer a request for one object with seconds
        seconds, etag = int(meta["last_modified"].timestamp()), meta["e_tag"]
        if etag is not None and not etag.endswith('"'):  # as Azure lists it
            etag = f'"{etag}"'
        return Stat(f"{self._uri}/{meta['path']}", meta["size"], seconds * 10**9, etag)

    def delete(self, key: str) -> None:
        try:
            self._store.delete(key)
        except FileNotFoundError:
            return

    def flush(self, key: str) -> None:
        """Do nothing: a put is durable when it returns."""


class RangeFile(io.RawIOBase):
    """A remote object of `size` bytes as a seekable file; `read_range(start, length)` fetches its bytes."""

    def __init__(self, read_range: Callable[[int, int], bytes], size: int) -> None:
        self._read_range, self._size, self._position = read_range, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        length = min(len(buffer), self._size - self._position)
        if length <= 0:
            return 0
        data = self._read_range(self._position, length)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
