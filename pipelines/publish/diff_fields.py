"""Which fields of the changed records differ: only records that changed are read, one row group at a time."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trichord.infra.lake.schema import RECORDS
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.publish.diff_rows import AFTER, BEFORE, CHANGED, EXAMPLES, Rows, iter_chosen

MAX_COMPARED = 100_000  # records; of more, those with the smallest row digests, which are a random sample
_FIRST = ("text", "image", "audio", "captions", "meta")
_NAMES = ("key", "source", "partition", "content_digest", "row_digest")  # what a record is called, not what it holds
FIELDS = (*_FIRST, *(name for name in RECORDS.names if name not in (*_FIRST, *_NAMES)))
_BYTES = 8  # of the digest of a field


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Result):
    """A record whose content changed.

    Attributes:
        source: of the record.
        key: of the record.
        fields: those that differ.
        before, after: where it is: lake-relative path of its records shard, and its row digest.
    """

    source: str
    key: str
    fields: tuple[str, ...]
    before: tuple[str, str]
    after: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChanges(Result):
    """Fields that differ in changed records.

    Attributes:
        compared: records that were compared field by field; at most `MAX_COMPARED`.
        fields: field -> records in which it differs.
        first: some of the records, those with another text, picture or sound first.
    """

    compared: int
    fields: dict[str, int]
    first: tuple[Change, ...]


def compare_fields(workspace: Workspace, rows: Rows) -> FieldChanges:
    """Compare the records that changed, field by field."""
    database = rows.db
    database.executescript(
        "CREATE TABLE content (side INT, row_digest TEXT, digests BLOB, PRIMARY KEY (side, row_digest)) WITHOUT ROWID;"
        "CREATE TABLE pair AS SELECT source, key, state0.shard AS shard0, state0.row_digest AS digest0, "
        f"state1.shard AS shard1, state1.row_digest AS digest1 {CHANGED} "
        f"AND state0.shard >= 0 AND state1.shard >= 0 ORDER BY digest1 LIMIT {MAX_COMPARED}"
    )
    for side in (BEFORE, AFTER):
        chosen = database.execute(f"SELECT shard{side}, digest{side} FROM pair ORDER BY 1, 2")
        places = ((rows.shards[shard], row_digest) for shard, row_digest in chosen)
        found = ((side, *row) for row in _digests(workspace, places))
        database.executemany("INSERT OR IGNORE INTO content VALUES (?, ?, ?)", found)
    counts, compared = Counter[str](), 0
    first: list[tuple[int, str, str, Change]] = []
    joined = database.execute(
        "SELECT source, key, shard0, digest0, shard1, digest1, was.digests, now.digests FROM pair "
        "JOIN content AS was ON was.side = 0 AND was.row_digest = digest0 "
        "JOIN content AS now ON now.side = 1 AND now.row_digest = digest1 ORDER BY source, key"
    )
    for source, key, shard0, digest0, shard1, digest1, was, now in joined:
        differing = tuple(name for place, name in enumerate(FIELDS) if _part(was, place) != _part(now, place))
        counts.update(differing)
        compared += 1
        rank = min((FIELDS.index(name) for name in differing), default=len(FIELDS))
        before, after = (rows.shards[shard0], digest0), (rows.shards[shard1], digest1)
        first.append((rank, source, key, Change(source=source, key=key, fields=differing, before=before, after=after)))
        if len(first) > 16 * EXAMPLES:
            first = sorted(first, key=lambda one: one[:3])[:EXAMPLES]
    first.sort(key=lambda one: one[:3])
    return FieldChanges(
        compared=compared,
        fields={name: counts[name] for name in FIELDS if counts[name]},
        first=tuple(change for *_, change in first[:EXAMPLES]),
    )


def _digests(workspace: Workspace, places: Iterator[tuple[str, str]]) -> Iterator[tuple[str, bytes]]:
    for batch in iter_chosen(workspace, places, FIELDS):
        for row in batch.to_pylist():
            yield row["row_digest"], b"".join(_digest(row[name]) for name in FIELDS)


def _digest(value: Any) -> bytes:
    data = value if isinstance(value, bytes) else repr(value).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=_BYTES).digest()


def _part(digests: bytes, place: int) -> bytes:
    return digests[place * _BYTES : (place + 1) * _BYTES]
