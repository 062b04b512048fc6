"""VersionCache: SHA-256 of files already hashed, by URI, modification time and size, kept in one file of the lake."""

from __future__ import annotations

import sqlite3
import threading
import time
import zlib
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from trichord.infra.lake.seal import require_seal, seal_bytes
from trichord.infra.lake.stores import Stat

# A file written again within the clock's grain keeps its time and size (git's "racy" entries): such young files
# are hashed again next time.
SETTLED_NS = 2_000_000_000

_ROWS = 2_000  # read or written at a time
_FIND = "SELECT changed, size, sha256, number FROM known WHERE uri = ?"
_SCHEMA = pa.schema([("uri", pa.string()), ("mtime_ns", pa.int64()), ("size", pa.int64()), ("sha256", pa.binary(32))])


class Files(Protocol):
    """What the cache needs of `Storage`."""

    def read(self, uri: str) -> bytes:
        """Return a file's bytes."""

    def write(self, uri: str, data: bytes) -> None:
        """Replace a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a cache on a worker learned.

    Attributes:
        used: of each entry of the file, in its order, 1 if it was asked for; compressed.
        made: entries that the file lacks: URI, time, size, SHA-256.
    """

    used: bytes
    made: tuple[tuple[bytes, int, int, bytes], ...]


class VersionCache:
    """Known SHA-256 values; thread-safe. Entries that were not asked for in this run are dropped by `save`.

    They are in a private SQLite database that spills to disk: memory does not grow with the files.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded = b""
        self._of_file = 0  # entries that were loaded
        self._changed = False
        self._made: list[tuple[bytes, int, int, bytes]] | None = None  # since the last `news`, once there was one
        self._seen = bytearray()  # by an entry's number: 1 if it was asked for
        self._rows = sqlite3.connect("", check_same_thread=False, isolation_level=None)  # "": a temporary file
        self._rows.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
            "CREATE TABLE known (uri BLOB PRIMARY KEY, changed INTEGER, size INTEGER, sha256 BLOB, number INTEGER)"
            " WITHOUT ROWID"
        )

    @classmethod
    def load(cls, storage: Files, uri: str) -> VersionCache:
        """Return the cache kept at `uri`; an empty one when it is missing or damaged (files are then hashed again)."""
        cache = cls()
        try:
            data = storage.read(uri)
            require_seal(data)
            with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
                if not file.schema_arrow.equals(_SCHEMA):
                    return cls()
                for batch in file.iter_batches(batch_size=_ROWS, use_threads=False):
                    columns = [column.to_pylist() for column in batch.columns]
                    numbers = range(len(cache._seen), len(cache._seen) + len(batch))
                    keyed = zip(map(_key, columns[0]), *columns[1:], numbers, strict=True)
                    cache._rows.executemany("INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?, ?)", keyed)
                    cache._seen += bytes(len(batch))
        except (FileNotFoundError, pa.ArrowException, OSError):
            return cls()
        cache._loaded = data
        cache._of_file = len(cache._seen)
        return cache

    def save(self, storage: Files, uri: str, *, keep_unused: bool = False) -> None:
        """Keep the entries that were used or made in this run, or all; an equal file is not written again."""
        with self._lock:
            if self._loaded and not self._changed and (keep_unused or all(self._seen)):
                return
        sink = pa.BufferOutputStream()
        with (
            self._lock,
            pq.ParquetWriter(
                sink, _SCHEMA, compression="zstd", use_dictionary=False, write_page_checksum=True
            ) as writer,
        ):
            found = self._rows.execute("SELECT uri, changed, size, sha256, number FROM known ORDER BY uri")
            kept = (row[:-1] for row in found if keep_unused or self._seen[row[-1]])
            while rows := list(islice(kept, _ROWS)):
                named = [(name.decode(errors="surrogatepass"), *entry) for name, *entry in rows]
                columns = zip(*named, strict=True)
                arrays = [pa.array(list(c), f.type) for c, f in zip(columns, _SCHEMA, strict=True)]
                writer.write_table(pa.table(arrays, schema=_SCHEMA), row_group_size=_ROWS)
        data = seal_bytes(sink.getvalue().to_pybytes())
        if data != self._loaded:
            storage.write(uri, data)

    def news(self) -> News:
        """Return what another cache of the same file must know to keep what this one would keep."""
        with self._lock:
            made = self._made
            if made is None:  # looking for them takes as long as reading all
                found = "SELECT uri, changed, size, sha256 FROM known WHERE number >= ?"
                made = list(self._rows.execute(found, (self._of_file,)))
            self._made = []
            return News(used=zlib.compress(self._seen[: self._of_file], 1), made=tuple(made))

    def add_news(self, news: News) -> None:
        """Take over which entries another cache of the same file was asked for, and what it has hashed since."""
        used = zlib.decompress(news.used)
        with self._lock:
            if len(used) != self._of_file:  # somebody has replaced the file since it was loaded here
                used = bytes([1]) * self._of_file
            both = int.from_bytes(self._seen[: self._of_file], "little") | int.from_bytes(used, "little")
            self._seen[: self._of_file] = both.to_bytes(self._of_file, "little")
            numbered = [(*entry, number) for number, entry in enumerate(news.made, len(self._seen))]
            self._rows.executemany("INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?, ?)", numbered)
            self._seen += bytes([1]) * len(numbered)
            self._changed = self._changed or bool(numbered)

    def get(self, stat: Stat) -> str | None:
        """Return the SHA-256 of the listed file in hex, when it was hashed at this very time and size."""
        key = _key(stat.uri)
        with self._lock:
            entry = self._rows.execute(_FIND, (key,)).fetchone()
            if entry is None or entry[:2] != (_changed_ns(stat), stat.size):
                return None
            self._seen[entry[3]] = 1
            return str(entry[2].hex())

    def put(self, stat: Stat, sha256: str) -> None:
        """Remember a hash, unless the file is so young that it could change unnoticed."""
        if abs(time.time_ns() - _changed_ns(stat)) < SETTLED_NS:
            return
        entry = (_key(stat.uri), _changed_ns(stat), stat.size, bytes.fromhex(sha256))
        with self._lock:
            self._rows.execute("INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?, ?)", (*entry, len(self._seen)))
            self._seen.append(1)
            self._changed = True
            if self._made is not None:
                self._made.append(entry)


def _key(uri: str) -> bytes:
    return uri.encode(errors="surrogatepass")  # in the order of its characters


def _changed_ns(stat: Stat) -> int:
    """Return when a file was last changed: `cp -p` and restores set the mtime, but nothing sets the ctime back."""
    return max(stat.mtime_ns, stat.ctime_ns)
