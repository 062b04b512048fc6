"""Near duplicates: buckets of rows that may be near, edges between those that are, clusters of the same record.

A row is identified by number: its signature shard's place in the order of addresses, then its place in the shard.
Buckets hold the signatures; the driver receives only edges, and one task turns them into the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trichord.infra import digest
from trichord.infra.config import DedupConfig
from trichord.infra.engines.base import Engine
from trichord.infra.lake import schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, ShardWriter, read_shard
from trichord.pipelines.core.workspace import Workspace, run_alone
from trichord.transforms.dedup.clusters import Members, find_matches, find_same_records
from trichord.transforms.dedup.near import LEADS, Ints, Modality, band_keys, bucket_edges, chunk_keys, text_chars
from trichord.transforms.dedup.shingles import BANDS

KEYS_PER_BUCKET = 500_000  # rows times their keys: about 400 MB in the worker that reduces them
SIGNATURE: Mapping[Modality, str] = {"image": "image_hash", "audio": "audio_hash", "text": "text_sketch"}
NEAR_FORMAT = 1  # raise it when the same signatures would give another result
_SHARD_BITS = 32

Edges = dict[Modality, Ints]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearFound:
    """Shards of the results; None where there are none."""

    duplicates: ShardRef | None = None
    matches: ShardRef | None = None


@dataclass(frozen=True, slots=True)
class EmitNear:
    """Signature shard and its number → its rows under every key that a near row may share."""

    lake: Lake
    config: DedupConfig
    dropped: tuple[ShardRef, ...]

    def __call__(self, item: tuple[int, ShardRef]) -> pa.Table:
        number, ref = item
        table = read_shard(self.lake, ref)
        places = pa.array(np.arange(len(table)) + (number << _SHARD_BITS))
        table = survivors(table.append_column("row", places), self.lake, self.dropped)
        keys: list[str] = []
        rows: list[int] = []
        signatures: list[bytes] = []
        for record in table.select(["row", "text_bands", *SIGNATURE.values()]).to_pylist():
            for modality, column in SIGNATURE.items():
                signature = record[column]
                if signature is None or (modality == "text" and text_chars(signature) < self.config.min_text_chars):
                    continue
                text = modality == "text"
                found = band_keys(record["text_bands"]) if text else chunk_keys(modality, signature, self.config)
                keys += found
                rows += [record["row"]] * len(found)
                signatures += [signature] * len(found)
        return pa.table(
            {"group_key": pa.array(keys, pa.string()), "row": pa.array(rows, pa.int64()),
             "signature": pa.array(signatures, pa.binary())}
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReduceNear:
    """A bucket's rows, sorted by key → edges between near rows."""

    config: DedupConfig

    def __call__(self, table: pa.Table) -> Edges:
        keys = table["group_key"].combine_chunks()
        changes = pc.indices_nonzero(pc.not_equal(keys[1:], keys[:-1])).to_numpy().astype(np.int64) + 1
        starts = np.concatenate([[0], changes])
        sizes = np.diff(starts, append=len(keys))
        starts, sizes = starts[sizes > 1], sizes[sizes > 1]
        named = keys.take(pa.array(starts))
        rows_N, signatures = table["row"].to_numpy(), table["signature"].to_pylist()
        found: Edges = {}
        for name in LEADS:
            mine = pc.starts_with(named, f"{name}/").to_numpy(zero_copy_only=False)
            edges = bucket_edges(name, rows_N, signatures, starts[mine], sizes[mine], self.config)
            if len(edges):
                found[name] = np.unique(edges, axis=0)
        return found


@dataclass(frozen=True, slots=True)
class Resolve:
    """Edges → the shards of near duplicates and of matches; reads only rows that an edge names."""

    lake: Lake
    config: DedupConfig
    ranks: Mapping[str, int]
    signatures: tuple[ShardRef, ...]

    def __call__(self, edges: Edges) -> NearFound:
        rows = self._rows(np.unique(np.concatenate([pairs.ravel() for pairs in edges.values()])))
        numbers = rows["row"].to_numpy()
        order = np.argsort(numbers)
        local = {name: order[np.searchsorted(numbers, pairs, sorter=order)] for name, pairs in edges.items()}
        members = Members(
            modalities=rows["modalities"].to_pylist(),
            signatures={name: rows[column].to_pylist() for name, column in SIGNATURE.items()},
        )
        same = find_same_records(members, local, self.config)
        keys, sources = rows["key"].to_pylist(), rows["source"].to_pylist()
        gone = rows.take(pa.array([one.dropped for one in same], pa.int64()))
        duplicates = gone.append_column("survivor_key", pa.array([keys[one.survivor] for one in same], pa.string()))
        for name, values in (
            ("survivor_source", [sources[one.survivor] for one in same]),
            ("evidence", [one.evidence(keys) for one in same]),
        ):
            duplicates = duplicates.append_column(name, pa.array(values, pa.string()))
        alike = find_matches(members, local, [one.dropped for one in same], self.config)
        seen = rows.take(pa.array([one.row for one in alike], pa.int64())).select(["key", "source", "partition"])
        columns = dict(zip(seen.column_names, seen.columns, strict=True)) | {
            "modality": pa.array([one.modality for one in alike], pa.string()),
            "other_key": pa.array([keys[one.other] for one in alike], pa.string()),
            "other_source": pa.array([sources[one.other] for one in alike], pa.string()),
            "distance": pa.array([one.distance for one in alike], pa.float64()),
            "evidence": pa.array([one.evidence() for one in alike], pa.string()),
        }
        return NearFound(
            duplicates=self._write("duplicates", duplicates, schema.DUPLICATES),
            matches=self._write("matches", pa.table(columns), schema.MATCHES),
        )

    def _rows(self, numbers: Ints) -> pa.Table:
        """Return the numbered rows in order of precedence."""
        shards = numbers >> _SHARD_BITS
        parts = []
        for shard in np.unique(shards).tolist():
            here = numbers[shards == shard]
            table = read_shard(self.lake, self.signatures[shard])
            parts.append(table.take(here & ((1 << _SHARD_BITS) - 1)).append_column("row", pa.array(here)))
        rows = pa.concat_tables(parts)
        ranks = pa.array([self.ranks[source] for source in rows["source"].to_pylist()], pa.int64())
        order = [("rank", "ascending")]
        order += [(name, "ascending") for name in ("key", "source", "partition", "row_digest", "row")]
        return rows.append_column("rank", ranks).sort_by(order).combine_chunks()

    def _write(self, name: str, table: pa.Table, table_schema: pa.Schema) -> ShardRef | None:
        if len(table) == 0:
            return None
        table = table.select(table_schema.names).cast(table_schema)
        # addressed by its content, so that a run that changes no duplicates changes no shard
        address = digest.address(name, "near", NEAR_FORMAT, table.to_pylist())
        with ShardWriter(self.lake, name, address, table_schema) as writer:
            writer.write(table)
            return writer.finish({"rows": len(table)})


def find_near(
    workspace: Workspace,
    engine: Engine,
    signatures: Sequence[ShardRef],
    ranks: Mapping[str, int],
    dropped: Sequence[ShardRef],
) -> NearFound:
    """Find near duplicates and matches among the rows that `dropped` leaves, from the signatures alone."""
    config = workspace.project.prepare.dedup
    items = list(enumerate(signatures))
    keys = sum(ref.rows for ref in signatures) * (config.image_coarse + config.audio_coarse + 2 + BANDS)
    emit = EmitNear(workspace.lake, config, tuple(dropped))
    edges: Edges = {}
    for found in engine.group(items, emit, ReduceNear(config), buckets=max(1, -(-keys // KEYS_PER_BUCKET))):
        for name, pairs in found.items():
            edges[name] = np.unique(np.concatenate([edges[name], pairs]), axis=0) if name in edges else pairs
    edges = {name: pairs for name, pairs in edges.items() if len(pairs)}
    if not edges:
        return NearFound()
    task = Resolve(workspace.lake, config, ranks, tuple(signatures))
    return run_alone(engine, task, edges)


def survivors(table: pa.Table, lake: Lake, dropped: Sequence[ShardRef]) -> pa.Table:
    """Return the signature rows that no duplicates shard drops; a key may repeat in another partition."""
    for ref in dropped:
        gone = _names(read_shard(lake, ref, ["partition", "row_digest"]))
        table = table.filter(pc.invert(pc.is_in(_names(table), value_set=gone.combine_chunks())))
    return table


def _names(table: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(table["partition"], table["row_digest"], "\n")
