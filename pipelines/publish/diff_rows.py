"""The rows in which two sides differ: what became of each, before and after, joined by source and key.

Only shards that one side has and the other lacks are read, and the rows of the table `duplicates` that concern them.
The rows go to a private SQLite database that spills to disk, so memory does not grow with the lake. A key of several
rows has the best of their fates.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from trichord.infra.lake.shard import ShardRef, iter_shard
from trichord.infra.lazy import arrow_compute as pc
from trichord.infra.plain_arrow import strings
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.model.pair_agreement import pinned_disagreements
from trichord.pipelines.prepare.job import reason_name
from trichord.pipelines.publish.diff_sides import Side

EXAMPLES = 10
FATES = ("kept", "duplicate", "disagreeing", "cut", "rejected")  # the best first; `cut`: replaced by its parts
KEPT, DUPLICATE, DISAGREEING, CUT, REJECTED = range(len(FATES))
BEFORE, AFTER = 0, 1
_ROWS = 16_384  # read at a time
_LABELS = ("source", "key", "partition", "row_digest")
_SAME_KEY = "same_key"  # evidence of a duplicate: its survivor is another row of its key
_SCHEMA = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
CREATE TABLE row (side INT, source TEXT, key TEXT, partition TEXT, row_digest TEXT, fate INT, reason TEXT, shard INT);
CREATE TABLE left_out (side INT, source TEXT, key TEXT, partition TEXT, row_digest TEXT, fate INT, reason TEXT);
"""
# Of rows in a shard that both sides have, only what is left out on one side alone is read: they are on both sides.
_SHARED = """
INSERT INTO row
SELECT sides.side, found.source, found.key, found.partition, found.row_digest, 0, '', -1
FROM (SELECT DISTINCT source, key, partition, row_digest FROM left_out AS one WHERE NOT EXISTS (
    SELECT 1 FROM row WHERE row.side = one.side AND row.partition = one.partition AND row.row_digest = one.row_digest
)) AS found, (SELECT 0 AS side UNION SELECT 1) AS sides
"""
_LEAVE_OUT = """
UPDATE row SET fate = found.fate, reason = found.reason
FROM (SELECT side, partition, row_digest, MIN(fate) AS fate, reason FROM left_out GROUP BY 1, 2, 3) AS found
WHERE row.fate = 0 AND row.side = found.side AND row.partition = found.partition AND row.row_digest = found.row_digest
"""
_STATE = """
CREATE TABLE state{side} AS SELECT source, key, MIN(fate) AS fate, reason, row_digest, shard
FROM (SELECT * FROM row WHERE side = {side} ORDER BY row_digest) GROUP BY source, key;
CREATE UNIQUE INDEX of_state{side} ON state{side} (source, key);
"""
_HALF_SEEN = """
SELECT DISTINCT key FROM left_out WHERE reason = 'same_key' AND key IN (
    SELECT key FROM row GROUP BY source, key, row_digest HAVING COUNT(DISTINCT side) = 1
)
"""


_IN_RECORDS = f"({KEPT}, {DUPLICATE}, {DISAGREEING})"
CHANGED = f"""FROM state1 JOIN state0 USING (source, key) WHERE state0.row_digest <> state1.row_digest
AND state0.fate IN {_IN_RECORDS} AND state1.fate IN {_IN_RECORDS}"""
_CHOSEN = {
    "added": ("FROM state1 LEFT JOIN state0 USING (source, key) WHERE state0.key IS NULL", "state1.fate"),
    "removed": ("FROM state0 LEFT JOIN state1 USING (source, key) WHERE state1.key IS NULL", "state0.fate"),
    "changed": (CHANGED, "state1.fate"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes(Result):
    """Keys that changed: how many, the first ones as `source/key`, and how many of each fate."""

    count: int
    first: tuple[str, ...]
    fates: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved(Result):
    """Keys that are on both sides with another fate, or left out for another reason.

    Attributes:
        before, after: the fates; of a rejected key with its op and reason, of a duplicate with its evidence.
        count: of the keys.
        first: the first ones as `source/key`.
    """

    before: str
    after: str
    count: int
    first: tuple[str, ...]


class Rows:
    """The rows of two sides that may differ."""

    def __init__(self, workspace: Workspace, before: Side, after: Side) -> None:
        """Read them. Raises StorageError or FileNotFoundError where a shard is damaged or gone."""
        self._workspace, self._sides = workspace, (before, after)
        self.shards: list[str] = []  # paths, by the number in the column `shard`
        self.db = sqlite3.connect("", isolation_level=None)  # "": a temporary file
        self.db.executescript(_SCHEMA)
        records = [side.shards(workspace, "records") for side in self._sides]
        for side in (BEFORE, AFTER):
            self._add_records(side, (ref for address, ref in records[side].items() if address not in records[1 - side]))
        self._add_rejects()
        self.db.executescript("CREATE INDEX of_row ON row (side, partition, row_digest)")
        self._add_left_out()
        self._add_half_seen([ref for address, ref in records[AFTER].items() if address in records[BEFORE]])
        self.db.executescript(f"{_SHARED}; {_LEAVE_OUT}")
        for side in (BEFORE, AFTER):
            self.db.executescript(_STATE.format(side=side))

    def _add_records(self, side: int, refs: Iterable[ShardRef], keys: pa.Array | None = None) -> None:
        for ref in refs:
            self.shards.append(ref.path)
            for batch in iter_shard(self._workspace.lake, ref, _LABELS, batch_rows=_ROWS):
                rows = batch if keys is None else batch.filter(pc.is_in(batch["key"], value_set=keys))
                columns = (rows[name].to_pylist() for name in _LABELS)
                self.db.executemany(
                    f"INSERT INTO row VALUES ({side}, ?, ?, ?, ?, {KEPT}, '', {len(self.shards) - 1})",
                    zip(*columns, strict=True),
                )

    def _add_rejects(self) -> None:
        shards = [side.shards(self._workspace, "rejects") for side in self._sides]
        names = ("source", "key", "partition", "input_digest", "op", "reason")
        for side in (BEFORE, AFTER):
            for ref in (ref for address, ref in shards[side].items() if address not in shards[1 - side]):
                for batch in iter_shard(self._workspace.lake, ref, names, batch_rows=_ROWS):
                    columns = (batch[name].to_pylist() for name in names)
                    self.db.executemany(
                        f"INSERT INTO row VALUES ({side}, ?, ?, ?, ?, ?, ?, -1)",
                        (_rejected(*row) for row in zip(*columns, strict=True)),
                    )

    def _add_left_out(self) -> None:
        """Add duplicates and disagreeing rows: all that one side alone says, and else those of the rows read so far."""
        lake = self._workspace.lake
        shards = [side.shards(self._workspace, "duplicates") for side in self._sides]
        affected = strings([name for (name,) in self.db.execute("SELECT DISTINCT partition FROM row ORDER BY 1")])
        for side in (BEFORE, AFTER):
            for address, ref in shards[side].items():
                for batch in iter_shard(lake, ref, (*_LABELS, "evidence"), batch_rows=_ROWS):
                    if address in shards[1 - side]:
                        batch = batch.filter(pc.is_in(batch["partition"], value_set=affected))
                    columns = (batch[name].to_pylist() for name in (*_LABELS, "evidence"))
                    self._leave_out(side, ((*row, kind.partition(":")[0]) for *row, kind in zip(*columns, strict=True)))
            publication = self._sides[side].publication
            if publication is not None and publication.counts.rows_disagreeing:
                found = pinned_disagreements(self._workspace, publication)
                named = ((one.source, one.key, one.partition, one.row_digest, one.modality) for one in found)
                self._leave_out(side, named, fate=DISAGREEING)
        self.db.executescript("CREATE INDEX of_left_out ON left_out (side, partition, row_digest)")

    def _leave_out(self, side: int, rows: Iterable[Sequence[str]], fate: int = DUPLICATE) -> None:
        self.db.executemany(f"INSERT INTO left_out VALUES ({side}, ?, ?, ?, ?, {fate}, ?)", rows)

    def _add_half_seen(self, common: Sequence[ShardRef]) -> None:
        """Add rows of shards that both sides have, if another row of their key came or went: rare, so all are read."""
        keys = [key for (key,) in self.db.execute(_HALF_SEEN)]
        for side in (BEFORE, AFTER) if keys else ():
            self._add_records(side, common, strings(sorted(keys)))

    def changes(self, kind: str) -> Changes:
        """Return the keys that only the later side has (`added`), only the earlier (`removed`), or both with other
        content (`changed`)."""
        chosen, fate = _CHOSEN[kind]
        fates = self.db.execute(f"SELECT {fate}, COUNT(*) {chosen} GROUP BY 1 ORDER BY 1").fetchall()
        first = self.db.execute(f"SELECT source, key {chosen} ORDER BY 1, 2 LIMIT {EXAMPLES}")
        return Changes(
            count=sum(count for _, count in fates),
            first=tuple(f"{source}/{key}" for source, key in first),
            fates={FATES[fate]: count for fate, count in fates},
        )

    def places(self, kind: str, most: int) -> list[tuple[str, str]]:
        """Return where the first records of a kind of change are: path of the shard, and row digest."""
        chosen, _ = _CHOSEN[kind]
        side = BEFORE if kind == "removed" else AFTER
        found = self.db.execute(
            f"SELECT state{side}.shard, state{side}.row_digest {chosen} AND state{side}.shard >= 0 "
            f"ORDER BY source, key LIMIT {most}"
        )
        return [(self.shards[shard], row_digest) for shard, row_digest in found]

    def change_of(self, source: str, key: str) -> str | None:
        """Return what became of a key: added, removed, changed, or `<fate> → <fate>`; None where nothing did."""
        was, now = (
            self.db.execute(f"SELECT fate, row_digest FROM state{side} WHERE source = ? AND key = ?", (source, key))
            .fetchone()
            for side in (BEFORE, AFTER)
        )  # fmt: skip
        if was is None or now is None:
            return "added" if now is not None else "removed" if was is not None else None
        if was[0] != now[0]:
            return f"{FATES[was[0]]} → {FATES[now[0]]}"
        return "changed" if was[1] != now[1] else None

    def sources(self) -> list[str]:
        """Return the sources of all rows that were read."""
        return [source for (source,) in self.db.execute("SELECT DISTINCT source FROM row ORDER BY 1")]

    def draw_added(self, source: str, most: int) -> list[tuple[str, str]]:
        """Return where records that only the later side has are: path and row digest, at most this many at random."""
        found = self.db.execute(
            "SELECT state1.shard, state1.row_digest FROM state1 LEFT JOIN state0 USING (source, key) WHERE source = ? "
            f"AND state0.key IS NULL AND state1.fate IN {_IN_RECORDS} AND state1.shard >= 0 ORDER BY 2 LIMIT {most}",
            (source,),
        )
        return [(self.shards[shard], row_digest) for shard, row_digest in found]

    def draw_changed(self, source: str, most: int) -> list[tuple[tuple[str, str], tuple[str, str]]]:
        """Return where changed records were and are, at most this many at random."""
        found = self.db.execute(
            f"SELECT state0.shard, state0.row_digest, state1.shard, state1.row_digest {CHANGED} AND source = ? "
            f"AND state0.shard >= 0 AND state1.shard >= 0 ORDER BY 4 LIMIT {most}",
            (source,),
        )
        return [((self.shards[old], was), (self.shards[new], now)) for old, was, new, now in found]

    def moved(self) -> tuple[Moved, ...]:
        """Return the moves between fates, by fate and reason, the most frequent first."""
        chosen = f"""FROM state1 JOIN state0 USING (source, key) WHERE (state0.fate <> state1.fate
OR (state0.fate = {REJECTED} AND state0.reason <> state1.reason))"""
        names = "state0.fate, state0.reason, state1.fate, state1.reason"
        groups = self.db.execute(f"SELECT {names}, COUNT(*) {chosen} GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1, 2, 3, 4")
        found = []
        for fate, reason, new_fate, new_reason, count in groups.fetchall():
            rows = self.db.execute(
                f"SELECT source, key {chosen} AND state0.fate = ? AND state0.reason = ? AND state1.fate = ? "
                f"AND state1.reason = ? ORDER BY 1, 2 LIMIT {EXAMPLES}",
                (fate, reason, new_fate, new_reason),
            )
            first = tuple(f"{source}/{key}" for source, key in rows)
            before, after = _named(fate, reason), _named(new_fate, new_reason)
            found.append(Moved(before=before, after=after, count=count, first=first))
        return tuple(found)


def _rejected(*row: str) -> tuple[str | int, ...]:
    *labels, op, reason = row
    if reason == "replaced_by_parts":
        return (*labels, CUT, "")
    return (*labels, REJECTED, reason_name(op, reason))


def _named(fate: int, reason: str) -> str:
    return f"{FATES[fate]} ({reason})" if reason else FATES[fate]


def iter_chosen(
    workspace: Workspace, places: Iterable[tuple[str, str]], columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yield rows of records shards by (path, row digest), ascending, without reading a shard twice.

    The column `row_digest` is added.
    """
    path, digests = "", list[str]()

    def read() -> Iterator[pa.RecordBatch]:
        wanted = strings(digests)
        for batch in iter_shard(workspace.lake, path, list(dict.fromkeys(["row_digest", *columns]))):
            chosen = batch.filter(pc.is_in(batch["row_digest"], value_set=wanted))
            if len(chosen):
                yield chosen

    for place, row_digest in places:
        if place != path and digests:
            yield from read()
            digests = []
        path = place
        digests.append(row_digest)
    if digests:
        yield from read()
