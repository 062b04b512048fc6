"""What listings of a bucket say of many objects whose names are known: one request for a thousand, not one for each.

A listing can begin at any name. So names are looked up in their order: each request lists from the first that is not
yet known, and says what there is of a thousand objects from there on. However many others lie between, no request is in
vain. Where a request says too little (the names are a few among very many objects), objects are asked for one by one.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from trichord.infra.lake.bucket import PAGE
from trichord.infra.lake.storage import Stat, Storage

WORTH = 10  # objects asked for one by one cost as much as a listing of a thousand: time, and five times that in money
_TRIAL = 100  # objects that are asked for one by one earn another listing
_FIRST = 10  # listings before any is known to be worth it
_LEAST = 4  # names: fewer are asked for one by one
_PER_ROW = 2  # objects that are kept, or that may be listed before listings prove worth it
_KEPT = 100_000  # besides these
_LAST = chr(0x10FFFF)


class Listing:
    """Looks up objects below a folder of a bucket by listings, as long as these are worth it.

    What was listed is kept in a private SQLite database that spills to disk, so that memory does not grow with the
    objects: names may come in any order.

    Args:
        storage: reaches the bucket.
        root: URI of the folder.
        rows: about how many names will be looked up, if that is known: one listing for each 500 of them is made before
            it is known to be worth it.
    """

    def __init__(self, storage: Storage, root: str, rows: int = 0) -> None:
        self._storage, self._root = storage, root.rstrip("/")
        self._room = _PER_ROW * rows + _KEPT  # for objects that are kept
        self._most = self._credit = _FIRST + _PER_ROW * rows / PAGE  # listings that may be made
        self._starts: list[str] = []  # of ranges that were listed: first URI, and the last one of each
        self._ends: list[str] = []
        self._rows = sqlite3.connect("", check_same_thread=False, isolation_level=None)  # "": a temporary file
        self._rows.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
            "CREATE TABLE listed (uri TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, etag TEXT) WITHOUT ROWID"
        )

    def look_up(self, uris: Iterable[str]) -> dict[str, Stat | None]:
        """Return what listings say of objects: None where there is no such object.

        What is left out must be asked for one by one.

        Raises:
            FileNotFoundError: there is no such bucket.
            StorageError: the bucket cannot be listed.
        """
        names = sorted({uri for uri in uris if uri.startswith(f"{self._root}/") and _is_plain(uri)})
        found: dict[str, Stat | None] = {uri: self._kept(uri) for uri in names if self._is_listed(uri)}
        todo = [uri for uri in names if uri not in found]
        self._earn(len(found) / WORTH)
        self._room += _PER_ROW * len(names)
        at, after, said = 0, "", 0
        while at < len(todo) and self._credit >= 1 and (len(todo) - at >= _LEAST or said >= WORTH):
            listed, last = self._list(after or _before(todo[at]))
            stop = bisect_right(todo, last, at)
            found.update((uri, listed.get(uri)) for uri in todo[at:stop])
            said = stop - at
            self._earn(said / WORTH - 1)
            at = stop if said or after else at + 1
            # without a gap as long as listings say something: names that come later may be in it
            after = last if said >= 2 else ""
        found = {uri: stat for uri, stat in found.items() if stat is None or stat.etag is not None}
        self._earn((len(names) - len(found)) / _TRIAL)
        return found

    def _earn(self, listings: float) -> None:
        self._credit = min(self._most, self._credit + listings)

    def _list(self, after: str) -> tuple[dict[str, Stat], str]:
        """Return the objects that follow a name, by URI, and the last URI of which this says whether it is there."""
        stats, whole = self._storage.page(self._root, after)
        uris = [stat.uri for stat in stats]
        if uris != sorted([after, *uris])[1:] or not (uris or whole):  # a store that does not list by name
            self._most = self._credit = 0
            return {}, ""
        last = f"{self._root}/{_LAST}" if whole else uris[-1]
        if len(stats) <= self._room:
            self._room -= len(stats)
            rows = [(stat.uri, stat.size, stat.mtime_ns, stat.etag) for stat in stats]
            self._rows.executemany("INSERT OR REPLACE INTO listed VALUES (?, ?, ?, ?)", rows)
            self._keep_range(after, last)
        return dict(zip(uris, stats, strict=True)), last

    def _keep_range(self, first: str, last: str) -> None:
        """Take note that a range was listed; it is joined with those that it meets."""
        start, stop = bisect_left(self._ends, first), bisect_right(self._starts, last)
        first, last = min([first, *self._starts[start:stop]]), max([last, *self._ends[start:stop]])
        self._starts[start:stop], self._ends[start:stop] = [first], [last]

    def _is_listed(self, uri: str) -> bool:
        place = bisect_right(self._starts, uri) - 1
        return place >= 0 and uri <= self._ends[place]

    def _kept(self, uri: str) -> Stat | None:
        row: Sequence[int | str | None] | None = self._rows.execute(
            "SELECT size, mtime_ns, etag FROM listed WHERE uri = ?", (uri,)
        ).fetchone()
        return None if row is None else Stat(uri, *row)  # type: ignore[arg-type]  # the table's types


def _before(uri: str) -> str:
    """Return a name that sorts before an object, behind all that do."""
    before = chr(ord(uri[-1]) - 1)
    return f"{uri[:-1]}{'.' if before == '/' and uri[-2] == '/' else before}{_LAST}"  # the client refuses "//"


def _is_plain(uri: str) -> bool:
    """Return True if a listing can begin at an object: other names are asked for."""
    return uri.isprintable() and "!" < uri[-1] < "\x7f" and not uri.endswith("/") and "//" not in uri[5:]
