"""VersionCache: SHA-256 of files already hashed, by URI, modification time and size, kept in one file of the lake."""

from __future__ import annotations

import threading
import time
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from infra.lake.stores import Stat

# A file written again within the clock's grain keeps its time and size (git's "racy" entries): such young files
# are hashed again next time.
SETTLED_NS = 2_000_000_000

_SCHEMA = pa.schema([("uri", pa.string()), ("mtime_ns", pa.int64()), ("size", pa.int64()), ("sha256", pa.binary(32))])


class Files(Protocol):
    """What the cache needs of `Storage`."""

    def read(self, uri: str) -> bytes:
        """A file's bytes."""

    def write(self, uri: str, data: bytes) -> None:
        """Replace a file."""


class VersionCache:
    """Known SHA-256 values; thread-safe. Entries that were not asked for in this run are dropped by `save`."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int, bytes]] = {}
        self._seen: dict[str, tuple[int, int, bytes]] = {}
        self._lock = threading.Lock()
        self._loaded = b""

    @classmethod
    def load(cls, storage: Files, uri: str) -> VersionCache:
        """The cache kept at `uri`; an empty one when it is missing or damaged (files are then hashed again)."""
        cache = cls()
        try:
            cache._loaded = storage.read(uri)
            table = pq.read_table(pa.BufferReader(cache._loaded), schema=_SCHEMA, page_checksum_verification=True)
        except (FileNotFoundError, pa.ArrowException, OSError):
            return cls()
        columns = (table.column(name).to_pylist() for name in _SCHEMA.names)
        cache._known = {uri: (mtime_ns, size, sha256) for uri, mtime_ns, size, sha256 in zip(*columns, strict=True)}
        return cache

    def save(self, storage: Files, uri: str) -> None:
        """Keep the entries that were used or made in this run; the file is not touched when they are the same."""
        rows = [(name, *entry) for name, entry in sorted(self._seen.items())]
        columns = zip(*rows, strict=True) if rows else ((), (), (), ())
        table = pa.table([pa.array(list(c), f.type) for c, f in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        data = sink.getvalue().to_pybytes()
        if data != self._loaded:
            storage.write(uri, data)

    def get(self, stat: Stat) -> str | None:
        """SHA-256 of the listed file in hex, when it was hashed at this very time and size."""
        with self._lock:
            entry = self._seen.get(stat.uri) or self._known.get(stat.uri)
            if entry is None or entry[:2] != (_changed_ns(stat), stat.size):
                return None
            self._seen[stat.uri] = entry
            return entry[2].hex()

    def put(self, stat: Stat, sha256: str) -> None:
        """Remember a hash, unless the file is so young that it could change unnoticed."""
        if abs(time.time_ns() - _changed_ns(stat)) < SETTLED_NS:
            return
        with self._lock:
            self._seen[stat.uri] = (_changed_ns(stat), stat.size, bytes.fromhex(sha256))


def _changed_ns(stat: Stat) -> int:
    """When a file was last changed: `cp -p` and restores set the mtime, but nobody sets the ctime back."""
    return max(stat.mtime_ns, stat.ctime_ns)
