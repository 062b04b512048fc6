"""Exclusions: the records that a run leaves out of training, judging, encoding and measuring.

They are duplicates and, on request, records whose modalities disagree. One file in the lake keeps their row digests,
sorted by partition: the driver holds one entry per partition, and a worker reads only its own rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import pyarrow as pa

from trichord.infra import digest
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, ShardWriter, find_finished, iter_shard, take_rows
from trichord.infra.lazy import arrow_compute as pc

SCHEMA = pa.schema(
    [pa.field("partition", pa.string(), nullable=False), pa.field("row_digest", pa.string(), nullable=False)]
)
FORMAT = 1
ROWS = 16_384  # read and written at a time

Row = tuple[str, str]  # partition, row digest


@dataclass(frozen=True, slots=True)
class Mask:
    """The row digests that are excluded from one partition."""

    row_digests: pa.Array

    def keeps(self, rows: pa.Table) -> np.ndarray:
        """Return which rows to keep, judged by their column `row_digest`. bool (N,)."""
        if not len(self.row_digests):
            return np.ones(rows.num_rows, dtype=bool)
        excluded = pc.is_in(rows["row_digest"], value_set=self.row_digests)
        return ~np.asarray(excluded.to_numpy(), dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """What is excluded from one partition, as sent to tasks.

    Attributes:
        digest: digest of the sorted row digests; addresses depend on it. Empty if nothing is excluded.
        rows: number of them.
        path: lake-relative path of the file that holds them, starting at row `start`.
    """

    digest: str = ""
    rows: int = 0
    path: str = ""
    start: int = 0

    def mask(self, lake: Lake) -> Mask:
        """Read the row digests."""
        if not self.rows:
            return Mask(pa.array([], pa.string()))
        places = range(self.start, self.start + self.rows)
        return Mask(take_rows(lake, self.path, places, ["row_digest"])["row_digest"].combine_chunks())


NOTHING = Excluded()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusions:
    """All exclusions of a run.

    Attributes:
        lake: where they are stored.
        by_partition: what is excluded from each partition that loses a row.
        duplicates: the shards of duplicates that they come from.
    """

    lake: Lake
    by_partition: Mapping[str, Excluded] = field(default_factory=dict)
    duplicates: tuple[ShardRef, ...] = ()

    @classmethod
    def gather(cls, lake: Lake, duplicates: Iterable[ShardRef], further: Iterable[Row] = ()) -> Exclusions:
        """Gather the rows that duplicates drop, and other rows, in bounded memory.

        Args:
            lake: holds the duplicates and receives the result.
            duplicates: shards of the table `duplicates`.
            further: (partition, row digest) of other rows to leave out.
        """
        refs, more = tuple(sorted(duplicates, key=lambda ref: ref.address)), sorted(set(further))
        made_of = [[ref.address, ref.sha256] for ref in refs]
        address = digest.address("exclusions", FORMAT, made_of, [list(row) for row in more])
        if not more and not any(ref.rows for ref in refs):
            return cls(lake=lake, duplicates=refs)
        found = find_finished(lake, layout.EXCLUSIONS, [address]).get(address)
        if found is None:
            found = _write(lake, address, refs, more)
        return cls(lake=lake, by_partition=dict(_entries(lake, found)), duplicates=refs)

    def with_rows(self, further: Iterable[Row]) -> Exclusions:
        """Return these exclusions and further rows, each (partition, row digest)."""
        return Exclusions.gather(self.lake, self.duplicates, further)

    def of(self, partition: str) -> Excluded:
        """Return what is excluded from a partition."""
        return self.by_partition.get(partition, NOTHING)


def _write(lake: Lake, address: str, duplicates: Iterable[ShardRef], further: Iterable[Row]) -> ShardRef:
    """Sort all rows by partition, without repeats, in a database that spills to disk; write them as a shard."""
    rows = sqlite3.connect("", isolation_level=None)  # "": a temporary file
    rows.executescript(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
        "CREATE TABLE excluded (partition TEXT, row_digest TEXT, PRIMARY KEY (partition, row_digest)) WITHOUT ROWID;"
    )
    insert = "INSERT OR IGNORE INTO excluded VALUES (?, ?)"
    for ref in duplicates:
        for batch in iter_shard(lake, ref, SCHEMA.names, batch_rows=ROWS):
            rows.executemany(insert, zip(*(batch[name].to_pylist() for name in SCHEMA.names), strict=True))
    rows.executemany(insert, further)
    count = 0
    with ShardWriter(lake, layout.EXCLUSIONS, address, SCHEMA) as writer:
        found = rows.execute("SELECT partition, row_digest FROM excluded ORDER BY partition, row_digest")
        while part := found.fetchmany(ROWS):
            columns = [list(column) for column in zip(*part, strict=True)]
            writer.write(pa.table(columns, schema=SCHEMA))
            count += len(part)
        return writer.finish({"rows": count})


def _entries(lake: Lake, ref: ShardRef) -> Iterator[tuple[str, Excluded]]:
    start = 0
    for partition, rows in groupby(_rows(lake, ref), key=lambda row: row[0]):
        row_digests = [row_digest for _, row_digest in rows]
        known = digest.address("excluded", row_digests)
        yield partition, Excluded(digest=known, rows=len(row_digests), path=ref.path, start=start)
        start += len(row_digests)


def _rows(lake: Lake, ref: ShardRef) -> Iterator[Row]:
    for batch in iter_shard(lake, ref, SCHEMA.names, batch_rows=ROWS):
        yield from zip(*(batch[name].to_pylist() for name in SCHEMA.names), strict=True)
