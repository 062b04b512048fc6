"""dedup: exact duplicates over all splits, and the survivor that stands for them.

The survivor is the row of the earliest source, then the smallest key: it does not depend on order, engine or night.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from infra import digest
from infra.engines.base import Engine
from infra.lake import schema
from infra.lake.shard import ShardRef, ShardWriter, read_shard
from infra.lake.storage import Storage
from pipelines.prepare import Prepared
from pipelines.workspace import Workspace

ROWS_PER_BUCKET = 1_000_000
DEDUP_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Emit:
    """Signature shard → rows to group by one column."""

    storage: Storage
    lake: str
    by: str  # 'key' or 'content_digest'
    ranks: Mapping[str, int]
    dropped: tuple[ShardRef, ...] = ()  # duplicates found before: they survive nothing

    def __call__(self, ref: ShardRef) -> pa.Table:
        table = read_shard(self.storage, self.lake, ref)
        for found in self.dropped:
            gone = read_shard(self.storage, self.lake, found, ["row_digest"])["row_digest"]
            table = table.filter(pc.invert(pc.is_in(table["row_digest"], value_set=gone.combine_chunks())))
        ranks = pa.array([self.ranks[source] for source in table["source"].to_pylist()], pa.int64())
        columns = {"group_key": table[self.by], "rank": ranks}
        return pa.table(columns | {name: table[name] for name in ("key", "source", "split", "row_digest")})


@dataclass(frozen=True, slots=True)
class Reduce:
    """Rows sorted by (group_key, rank, key, …) → a duplicates shard, or None where all are unique."""

    storage: Storage
    lake: str
    evidence: str

    def __call__(self, rows: pa.Table) -> ShardRef | None:
        keys = rows["group_key"].combine_chunks()
        if len(keys) == 0:
            return None
        starts = pc.indices_nonzero(pa.concat_arrays([pa.array([True]), pc.not_equal(keys[1:], keys[:-1])]))
        first = starts.to_numpy().repeat(_lengths(starts, len(keys)))
        copies = pc.not_equal(pa.array(range(len(keys)), pa.uint64()), pa.array(first, pa.uint64()))
        dropped, survivors = rows.filter(copies), rows.take(pa.array(first)).filter(copies)
        if dropped.num_rows == 0:
            return None
        table = pa.table(
            {
                "key": dropped["key"],
                "split": dropped["split"],
                "row_digest": dropped["row_digest"],
                "source": dropped["source"],
                "survivor_key": survivors["key"],
                "survivor_source": survivors["source"],
                "evidence": pa.array([self.evidence] * dropped.num_rows),
            }
        ).cast(schema.DUPLICATES)
        # addressed by what it found, so that a night that changes no duplicate changes no shard
        address = digest.address("duplicates", DEDUP_FORMAT, table.to_pylist())
        with ShardWriter(self.storage, self.lake, "duplicates", address, schema.DUPLICATES) as writer:
            writer.write(table)
            return writer.finish({"rows": dropped.num_rows})


def dedup(workspace: Workspace, engine: Engine, prepared: Sequence[Prepared]) -> list[ShardRef]:
    """Find rows with equal content (and, between sources, equal keys) over all splits."""
    signatures = [item.signatures for item in prepared]
    ranks = {source.name: rank for rank, source in enumerate(workspace.project.sources)}
    buckets = max(1, -(-sum(ref.rows for ref in signatures) // ROWS_PER_BUCKET))
    found: list[ShardRef] = []
    passes = [("content_digest", "exact_content")]
    if len(ranks) > 1:  # within one source a repeated key is already a reject
        passes.insert(0, ("key", "same_key"))
    for by, evidence in passes:
        emit = Emit(workspace.storage, workspace.lake, by, ranks, tuple(found))
        reduced = engine.group(signatures, emit, Reduce(workspace.storage, workspace.lake, evidence), buckets=buckets)
        found.extend(ref for ref in reduced if ref is not None)
    return sorted(found, key=lambda ref: ref.address)


def dropped_rows(workspace: Workspace, duplicates: Sequence[ShardRef]) -> dict[str, list[str]]:
    """Row digests that duplicates drop, by split."""
    dropped: dict[str, list[str]] = {}
    for ref in duplicates:
        table = read_shard(workspace.storage, workspace.lake, ref, ["split", "row_digest"])
        for split, row in zip(table["split"].to_pylist(), table["row_digest"].to_pylist(), strict=True):
            dropped.setdefault(split, []).append(row)
    return {split: sorted(rows) for split, rows in dropped.items()}


def _lengths(starts: pa.Array, total: int) -> list[int]:
    ends = [*starts.to_pylist()[1:], total]
    return [end - start for start, end in zip(starts.to_pylist(), ends, strict=True)]
