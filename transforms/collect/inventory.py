"""Inventory sources: objects of a bucket as S3 Inventory lists them, joined by stem as in a folder source."""

from __future__ import annotations

import posixpath
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence

from trichord.infra.config import FolderSource, InventorySource
from trichord.infra.errors import SourceError
from trichord.infra.lake.storage import Stat, Storage
from trichord.infra.printable import printable
from trichord.transforms.collect.drafts import Draft
from trichord.transforms.collect.field_map import bad_name, bad_row
from trichord.transforms.collect.folder import MODALITY_OF_ENDING, FolderReader
from trichord.transforms.collect.inventory_manifest import InventoryManifest, fetch_checked, read_manifest_of
from trichord.transforms.collect.inventory_rows import Listed, read_rows

_UNREADABLE = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|[\x00-\x1f\x7f\ud800-\udfff]")  # keys that the client library refuses
_CACHE_KIB = 64 << 10
_ROWS_AT_A_TIME = 10_000


class InventoryReader:
    """Iterates over the records of an inventory; afterwards `endings` counts the objects with other endings."""

    def __init__(self, source: InventorySource, storage: Storage) -> None:
        self._source, self._storage = source, storage
        self.endings = Counter[str]()
        self.manifest: InventoryManifest | None = None

    def __iter__(self) -> Iterator[Draft]:
        """Yield every record in bounded memory: objects are sorted on disk.

        Raises:
            SourceError: there is no inventory, it is damaged or lacks a column, or lists no object below `media_root`.
        """
        source = self._source
        self.manifest = read_manifest_of(source, self._storage)
        objects = _Objects(source)
        for file in self.manifest.files:
            with fetch_checked(file, self._storage) as path:
                objects.add(read_rows(file, path, self.manifest, source, self._storage), file.uri)
        if not objects.count:
            raise SourceError(
                f"{self.manifest.uri}: the inventory lists no object below {source.media_root}. Fix `media_root` of "
                f"source {source.name!r}, or the prefix of the inventory's configuration"
            )
        folder = FolderSource(kind="folder", name=source.name, path=source.media_root, subset=source.subset)
        files = FolderReader(folder, objects, setting="media_root")
        yield from files
        self.endings = files.endings
        yield from objects.refused()


class _Objects:
    """Objects below a folder, in a private SQLite database that spills to disk: listed as a bucket lists them."""

    def __init__(self, source: InventorySource) -> None:
        self._root = source.media_root.rstrip("/")
        self._bucket, _, prefix = self._root.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._by = source.version_by
        self._refused = list[tuple[bytes, str]]()
        self.count = 0
        self._rows = sqlite3.connect("", check_same_thread=False, isolation_level=None)  # "": a temporary file
        self._rows.executescript(
            f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{_CACHE_KIB};"
            "CREATE TABLE objects (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, etag TEXT) WITHOUT ROWID;"
            "CREATE TABLE refused (key BLOB PRIMARY KEY, why TEXT) WITHOUT ROWID"
        )

    def add(self, listed: Iterator[Listed], uri: str) -> None:
        """Add the objects of a file. Raise SourceError if they are of another bucket."""
        self._rows.execute("BEGIN")  # else each row is written to the file
        self._rows.executemany(
            "INSERT INTO objects VALUES (?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET "  # of two versions, the newer
            "size = excluded.size, mtime_ns = excluded.mtime_ns, etag = excluded.etag "
            "WHERE (excluded.mtime_ns, excluded.etag) > (mtime_ns, etag)",
            self._take(listed, uri),
        )
        self._keep_refused()
        self._rows.execute("COMMIT")

    def _take(self, listed: Iterator[Listed], uri: str) -> Iterator[tuple[str, int, int, str | None]]:
        for one in listed:
            if one.bucket not in (None, self._bucket):
                raise SourceError(f"{uri} lists the bucket {printable(one.bucket)[:100]!r}, not {self._bucket!r}")
            if not one.key.startswith(self._prefix):
                continue
            path = one.key[len(self._prefix) :].removesuffix("/")  # a folder's marker is listed without it
            if not path:
                continue
            self.count += 1
            if (why := self._fault(one, path)) is not None:
                if _is_medium(path):
                    self._refused.append((path.encode(errors="surrogateescape"), why))
                    if len(self._refused) >= _ROWS_AT_A_TIME:
                        self._keep_refused()
                continue
            # as a listing gives the time
            mtime_ns = 0 if one.modified_s is None else int(one.modified_s) * 10**9
            yield path, one.size or 0, mtime_ns, one.etag

    def _fault(self, one: Listed, path: str) -> str | None:
        """Return what keeps an object from being read: '' for its name."""
        if _UNREADABLE.search(path):
            return ""
        if one.size is None:
            return "the inventory does not say its size"
        if one.etag is None and self._by in ("auto", "etag"):
            return "the inventory does not say its ETag"
        if one.modified_s is None and self._by == "mtime_size":
            return "the inventory does not say its LastModifiedDate"
        return None

    def _keep_refused(self) -> None:
        self._rows.executemany("INSERT OR REPLACE INTO refused VALUES (?, ?)", self._refused)
        self._refused.clear()

    def refused(self) -> Iterator[Draft]:
        """Yield a bad row for each object that has a known ending and cannot be read."""
        for stored, why in self._rows.execute("SELECT key, why FROM refused ORDER BY key"):
            key = bytes(stored).decode(errors="surrogateescape")
            stem = posixpath.splitext(key)[0]
            if why:
                yield bad_row(key, f"{printable(key)[:200]}: {why}")
            else:
                yield bad_name(stem, f"the key {printable(key)[:200]} cannot be read: rename the object")

    def list(self, prefix_uri: str, *, beginnings: Sequence[str] | None = None) -> Iterator[Stat]:
        """Yield the objects below a folder as `Storage.list` does, from the inventory alone."""
        below = prefix_uri[len(self._root) + 1 :]
        least, most = (f"{below}/", f"{below}0") if below else ("", "\U0010ffff")
        found = self._rows.execute(
            "SELECT path, size, mtime_ns, etag FROM objects WHERE path >= ? AND path < ? ORDER BY path", (least, most)
        )
        for path, *rest in found:
            if beginnings is None or path[len(least) :].startswith(tuple(beginnings)):
                yield Stat(f"{self._root}/{path}", *rest)

    def folders(self, prefix_uri: str) -> Iterator[str]:
        """Yield the names of the first folders, sorted, as `Storage.folders` does for the root."""
        found = self._rows.execute(
            "SELECT DISTINCT substr(path, 1, instr(path, '/') - 1) FROM objects WHERE instr(path, '/') > 0 ORDER BY 1"
        )
        yield from (name for (name,) in found)


def _is_medium(path: str) -> bool:
    hidden = any(part.startswith(".") and part not in (".", "..") for part in path.split("/"))
    return not hidden and posixpath.splitext(path)[1].lower() in MODALITY_OF_ENDING
