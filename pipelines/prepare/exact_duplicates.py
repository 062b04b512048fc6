"""dedup: exact and near duplicates over all partitions, and the survivor of each group.

The survivor is the row of the earliest source, then of the smallest key, whatever the order, engine or run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from trichord.infra import digest, log
from trichord.infra.engines.base import Engine
from trichord.infra.lake import layout, schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, ShardWriter, find_finished, read_shard
from trichord.infra.lazy import arrow_compute as pc
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.near_duplicates import find_near
from trichord.pipelines.prepare.near_duplicates_buckets import survivors
from trichord.pipelines.prepare.near_duplicates_resolve import VERSIONS, NearFound
from trichord.pipelines.prepare.prepared import Prepared

ROWS_PER_BUCKET = 1_000_000
DEDUP_FORMAT = 1
REPEATING = ("parquet", "webdataset", "delta")  # kinds of source that may repeat a key in several partitions
NOTE = pa.schema([pa.field("table", pa.string(), nullable=False), pa.field("address", pa.string(), nullable=False)])

_ROW = ("key", "source", "partition", "row_digest")


@dataclass(frozen=True, slots=True)
class Emit:
    """Signature shard → rows to group by one column."""

    lake: Lake
    by: str  # 'key' or 'content_digest'
    ranks: Mapping[str, int]
    dropped: tuple[ShardRef, ...] = ()  # duplicates found before: never survivors

    def __call__(self, ref: ShardRef) -> pa.Table:
        columns = [self.by, *(name for name in _ROW if name != self.by)]
        table = survivors(read_shard(self.lake, ref, columns), self.lake, self.dropped)
        ranks = pa.array([self.ranks[source] for source in table["source"].to_pylist()], pa.int64())
        return pa.table({"group_key": table[self.by], "rank": ranks} | {name: table[name] for name in _ROW})


@dataclass(frozen=True, slots=True)
class Reduce:
    """Rows sorted by (group_key, rank, key, …) → a duplicates shard, or None where all are unique."""

    lake: Lake
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
                "partition": dropped["partition"],
                "row_digest": dropped["row_digest"],
                "source": dropped["source"],
                "survivor_key": survivors["key"],
                "survivor_source": survivors["source"],
                "evidence": pa.array([self.evidence] * dropped.num_rows),
            }
        ).cast(schema.DUPLICATES)
        # addressed by its content, so that a run that changes no duplicates changes no shard
        address = digest.address("duplicates", DEDUP_FORMAT, table.to_pylist())
        with ShardWriter(self.lake, "duplicates", address, schema.DUPLICATES) as writer:
            writer.write(table)
            return writer.finish({"rows": dropped.num_rows})


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduplicated:
    """Shards of the tables `duplicates` and `matches`, in order of address."""

    duplicates: tuple[ShardRef, ...]
    matches: tuple[ShardRef, ...]


def deduplicate(workspace: Workspace, engine: Engine, prepared: Sequence[Prepared]) -> Deduplicated:
    """Find rows that are the same record as another, over all partitions, and rows that match in part.

    Equal keys come first (between sources, and within those that may repeat them), then equal content, then near
    duplicates. The result depends only on the signatures: if these are unchanged, it is reused.
    """
    shards = sorted(((item.signatures, item.records) for item in prepared), key=lambda refs: refs[0].address)
    signatures = [refs[0] for refs in shards]
    sources = workspace.project.sources
    ranks = {source.name: rank for rank, source in enumerate(sources)}
    config = workspace.project.prepare.dedup
    passes = [("content_digest", "exact_content")]
    if len(ranks) > 1 or any(source.kind in REPEATING for source in sources):
        passes.insert(0, ("key", "same_key"))
    settings = [DEDUP_FORMAT, VERSIONS, list(ranks), passes, config.model_dump(mode="json")]
    address = digest.address("dedup", settings, [[ref.address, ref.sha256] for ref in signatures])
    known = _recall(workspace, address)
    if known is not None:
        log.event("dedup_reused", duplicates=sum(ref.rows for ref in known.duplicates))
        return known
    buckets = max(1, -(-sum(ref.rows for ref in signatures) // ROWS_PER_BUCKET))
    found: list[ShardRef] = []
    for by, evidence in passes:
        emit = Emit(workspace.lake, by, ranks, tuple(found))
        reduced = engine.group(signatures, emit, Reduce(workspace.lake, evidence), buckets=buckets)
        found.extend(ref for ref in reduced if ref is not None)
    near = find_near(workspace, engine, shards, ranks, found) if config.near else NearFound()
    if near.duplicates is not None:
        found.append(near.duplicates)
    result = Deduplicated(
        duplicates=tuple(sorted(found, key=lambda ref: ref.address)),
        matches=() if near.matches is None else (near.matches,),
    )
    _remember(workspace, address, result)
    return result


def _lengths(starts: pa.Array, total: int) -> list[int]:
    ends = [*starts.to_pylist()[1:], total]
    return [end - start for start, end in zip(starts.to_pylist(), ends, strict=True)]


def _remember(workspace: Workspace, address: str, result: Deduplicated) -> None:
    """Store which shards the signatures behind `address` gave."""
    refs = [*result.duplicates, *result.matches]
    rows = pa.table({"table": [ref.table for ref in refs], "address": [ref.address for ref in refs]}, schema=NOTE)
    with ShardWriter(workspace.lake, layout.DEDUP, address, NOTE) as writer:
        writer.write(rows)
        writer.finish({"rows": len(refs)})


def _recall(workspace: Workspace, address: str) -> Deduplicated | None:
    """Return the earlier result for the same signatures; None if there is none or a shard of it is missing."""
    note = find_finished(workspace.lake, layout.DEDUP, [address]).get(address)
    if note is None:
        return None
    named = read_shard(workspace.lake, note).to_pylist()
    found: dict[str, tuple[ShardRef, ...]] = {}
    for name in ("duplicates", "matches"):
        wanted = sorted(row["address"] for row in named if row["table"] == name)
        standing = find_finished(workspace.lake, name, wanted)
        if len(standing) < len(wanted):
            return None
        found[name] = tuple(standing[one] for one in wanted)
    return Deduplicated(duplicates=found["duplicates"], matches=found["matches"])
