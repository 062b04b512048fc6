"""What a listing of a bucket's folder says of the objects in it: one request for a thousand, not one for each."""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Iterator
from itertools import islice

from trichord.infra.lake.storage import Stat, Storage

PAGE = 1_000  # objects of a request


class Listing:
    """Stats of the objects below a folder, listed when the first is asked for. Thread-safe.

    The listing ends after a number of objects: what is behind is asked for one by one. What was listed is in a private
    SQLite database that spills to disk, so that memory does not grow with the objects.

    Args:
        storage: reaches the bucket.
        root: URI of the folder.
        most: the largest number of objects that are worth listing.
    """

    def __init__(self, storage: Storage, root: str, most: int) -> None:
        self._storage, self._root, self._most = storage, root.rstrip("/"), most
        self._lock = threading.Lock()
        self._last: str | None = None  # listed up to here; None before, "" if to the end
        self._rows = sqlite3.connect("", check_same_thread=False, isolation_level=None)  # "": a temporary file
        self._rows.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
            "CREATE TABLE listed (uri TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, etag TEXT) WITHOUT ROWID"
        )

    def stat(self, uri: str) -> Stat:
        """Return the stat of an object. Raise as `Storage.stat`."""
        with self._lock:
            if self._last is None:
                self._list()
            found = self._rows.execute("SELECT size, mtime_ns, etag FROM listed WHERE uri = ?", (uri,)).fetchone()
        if found is not None:
            return Stat(uri, *found)
        if uri.startswith(f"{self._root}/") and (self._last == "" or uri <= (self._last or "")):
            raise FileNotFoundError(errno.ENOENT, "no such file", uri)
        return self._storage.stat(uri)

    def _list(self) -> None:
        listed = self._storage.list(self._root)
        self._rows.executemany("INSERT OR REPLACE INTO listed VALUES (?, ?, ?, ?)", self._take(listed))
        if self._last is None:
            self._last = ""

    def _take(self, listed: Iterator[Stat]) -> Iterator[tuple[str, int, int, str | None]]:
        for number, stat in enumerate(islice(listed, self._most), 1):
            yield stat.uri, stat.size, stat.mtime_ns, stat.etag
            if number == self._most:
                self._last = stat.uri
