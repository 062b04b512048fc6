"""Rows of older shards, by row digest: what encoders made of a record under strict numerics, they would make again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import pyarrow as pa

from trichord.infra.errors import StorageError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, read_shard
from trichord.infra.lazy import arrow_compute as pc


class OldRows:
    """The rows of some shards, to be put between new ones. A shard that cannot be read has none.

    Args:
        lake: holds the shards.
        shards: of one table.
        schema: of the columns that are copied.
        wanted: records to look for (column `row_digest`); shards with one of them are held in memory.
    """

    def __init__(self, lake: Lake, shards: Sequence[ShardRef], schema: pa.Schema, wanted: pa.Table) -> None:
        self._schema = schema
        names = set(wanted["row_digest"].to_pylist())
        self._tables: list[pa.Table] = []
        self._runs: dict[str, tuple[int, int, int]] = {}  # row digest -> table, first row, rows
        for ref in shards:
            try:
                held: list[str] = read_shard(lake, ref, ["row_digest"])["row_digest"].to_pylist()
                if names.isdisjoint(held):
                    continue
                rows = read_shard(lake, ref, schema.names)
            except (StorageError, FileNotFoundError, ValueError):
                continue
            start = 0
            for name, run in groupby(held):
                count = len(list(run))
                self._runs[name] = (len(self._tables), start, count)
                start += count
            self._tables.append(self._cast(rows))
        self._known = pa.array(list(self._runs), pa.string())

    def has(self, rows: pa.Table) -> np.ndarray:
        """Return which records (column `row_digest`) are known. bool (N,)."""
        if not len(self._known):
            return np.zeros(len(rows), bool)
        return np.asarray(pc.is_in(rows["row_digest"], value_set=self._known).to_numpy(), bool)

    def between(self, wanted: pa.Table, new: pa.Table) -> tuple[pa.Table, np.ndarray]:
        """Return the columns record by record, and how many rows there are of each record, int64 (N,).

        Args:
            wanted: the records in order (column `row_digest`).
            new: the rows of those that are not known, in that order, with the column `row_digest`.
        """
        fresh = {name: len(list(run)) for name, run in groupby(new["row_digest"].to_pylist())}
        runs, at = [], 0
        for name in wanted["row_digest"].to_pylist():
            run = self._runs.get(name)
            if run is None:
                run = (-1, at, fresh.get(name, 0))
                at += run[2]
            runs.append(run)
        new = self._cast(new)
        found = [new.slice(0, 0)]
        found += [(new if table < 0 else self._tables[table]).slice(start, rows) for table, start, rows in _join(runs)]
        return pa.concat_tables(found), np.array([rows for *_, rows in runs], np.int64)

    def _cast(self, rows: pa.Table) -> pa.Table:
        return rows.select(self._schema.names).cast(self._schema)


def _join(runs: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """Join runs that follow each other."""
    held = (-1, 0, 0)
    for table, start, count in runs:
        if not count:
            continue
        if (table, start) == (held[0], held[1] + held[2]):
            held = (table, held[1], held[2] + count)
        else:
            if held[2]:
                yield held
            held = (table, start, count)
    if held[2]:
        yield held
