"""Near duplicates: buckets of rows that may be near, edges between those that are, pairs that are compared themselves.

A row is identified by number: its signature shard's place in the order of addresses, then its place in the shard.
Buckets hold the signatures; the driver receives only edges and candidate pairs. Tasks compare the media of the pairs,
and one task turns what they decided into the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from trichord.infra.config import DedupConfig
from trichord.infra.engines.base import Engine
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, read_shard
from trichord.infra.lazy import arrow_compute as pc
from trichord.pipelines.core.workspace import Workspace, run_alone
from trichord.pipelines.prepare.near_duplicates_compare import SHARD_BITS, Compared, Comparer
from trichord.pipelines.prepare.near_duplicates_resolve import (
    SIGNATURE,
    Decided,
    Edges,
    NearFound,
    Propose,
    Resolve,
    Rows,
    decide,
)
from trichord.transforms.dedup.clusters import Candidates, Same, settle
from trichord.transforms.dedup.near import LEADS, Ints, Modality, band_keys, bucket_edges, chunk_keys, text_chars
from trichord.transforms.dedup.shingles import BANDS

KEYS_PER_BUCKET = 500_000  # rows times their keys: about 400 MB in the worker that reduces them
MOST_ROUNDS = 4  # of comparing rows with the survivors of rows that equal them
INNER = "inner"  # keys of drawn pictures without their ground: a bucket name beside the modalities
_EMITTED = ("partition", "row_digest", "text_bands", "image_inner", *SIGNATURE.values())


@dataclass(frozen=True, slots=True)
class EmitNear:
    """Signature shard and its number → its rows under every key that a near row may share."""

    lake: Lake
    config: DedupConfig
    dropped: tuple[ShardRef, ...]

    def __call__(self, item: tuple[int, ShardRef]) -> pa.Table:
        number, ref = item
        table = read_shard(self.lake, ref, _EMITTED)
        places = pa.array(np.arange(len(table)) + (number << SHARD_BITS))
        table = survivors(table.append_column("row", places), self.lake, self.dropped)
        keys: list[str] = []
        rows: list[int] = []
        signatures: list[bytes] = []
        for record in table.select(["row", "text_bands", "image_inner", *SIGNATURE.values()]).to_pylist():
            if (inner := record["image_inner"]) is not None and self.config.verify:
                found = [f"{INNER}/{key}" for key in chunk_keys("image", inner, self.config)]
                keys += found
                rows += [record["row"]] * len(found)
                signatures += [inner] * len(found)
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
        for prefix, name in (*((name, name) for name in LEADS), (INNER, "image")):
            mine = pc.starts_with(named, f"{prefix}/").to_numpy(zero_copy_only=False)
            edges = bucket_edges(name, rows_N, signatures, starts[mine], sizes[mine], self.config)
            if len(edges):
                found[name] = np.unique(np.concatenate([edges, *([found[name]] if name in found else [])]), axis=0)
        return found


def find_near(
    workspace: Workspace,
    engine: Engine,
    shards: Sequence[tuple[ShardRef, ShardRef]],
    ranks: Mapping[str, int],
    dropped: Sequence[ShardRef],
) -> NearFound:
    """Find near duplicates and matches among the rows that `dropped` leaves.

    Args:
        workspace: the project on its lake.
        engine: runs the tasks.
        shards: signatures and records of every partition, row for row the same, in order of the signatures' address.
        ranks: of the sources; the earlier one's row survives.
        dropped: duplicates found before.

    Raises:
        StorageError: a stored medium cannot be read.
        PartialRun: a worker failed; a rerun resumes.
    """
    config = workspace.project.prepare.dedup
    signatures, records = (tuple(refs) for refs in zip(*shards, strict=True)) if shards else ((), ())
    keys = sum(ref.rows for ref in signatures) * (2 * config.image_coarse + config.audio_coarse + 3 + BANDS)
    emit = EmitNear(workspace.lake, config, tuple(dropped))
    edges: Edges = {}
    items = list(enumerate(signatures))
    for found in engine.group(items, emit, ReduceNear(config), buckets=max(1, -(-keys // KEYS_PER_BUCKET))):
        for name, pairs in found.items():
            edges[name] = np.unique(np.concatenate([edges[name], pairs]), axis=0) if name in edges else pairs
    edges = {name: pairs for name, pairs in edges.items() if len(pairs)}
    if not edges:
        return NearFound()
    rows = Rows(workspace.lake, config, ranks, signatures)
    decided = None
    if config.verify:
        numbers, candidates = run_alone(engine, Propose(rows), edges)
        comparer = Comparer(
            engine=engine, lake=workspace.lake, records=records, signatures=signatures, config=config,
            rate_hz=workspace.project.prepare.audio.rate_hz,
        )  # fmt: skip
        decided = _decide(comparer, numbers, candidates)
    return run_alone(engine, Resolve(rows, decided), edges)


def _decide(comparer: Comparer, numbers: Ints, candidates: Candidates) -> Decided:
    """Compare the candidates, and then each row with the survivor of a row that it equals."""
    known: dict[tuple[int, int], Compared] = {}
    todo = candidates.compared
    same = candidates.equal
    unlike: dict[tuple[int, int], tuple[Modality, str]] = {}
    for _ in range(MOST_ROUNDS):
        compared = comparer.compare(numbers[todo])
        known |= {(int(i), int(j)): one for (i, j), one in zip(todo, compared, strict=True)}
        found, differing = decide(todo, compared)
        same, unlike = np.concatenate([same, found]), unlike | differing
        survivor = settle(len(numbers), same)
        # a row equals one that is dropped: does it equal the survivor too?
        reached = np.unique(np.stack([survivor[same[:, 0]], same[:, 1]], axis=1), axis=0)
        media = np.isin(reached[:, 1], candidates.equal[:, 1], invert=True)
        fresh = [pair for pair in reached[media].tolist() if pair[0] < pair[1] and tuple(pair) not in known]
        open_ = [pair for pair in fresh if survivor[pair[1]] == pair[1]]
        if not open_:
            break
        todo = np.array(open_, np.int64)
    dropped = np.flatnonzero(survivor != np.arange(len(numbers)))
    return Decided(
        same=tuple(
            Same(dropped=int(row), survivor=int(survivor[row]),
                 distances=known[pair].distances if (pair := (int(survivor[row]), int(row))) in known else {})
            for row in dropped
        ),
        unlike=unlike,
    )  # fmt: skip


def survivors(table: pa.Table, lake: Lake, dropped: Sequence[ShardRef]) -> pa.Table:
    """Return the signature rows that no duplicates shard drops; a key may repeat in another partition."""
    for ref in dropped:
        gone = _names(read_shard(lake, ref, ["partition", "row_digest"]))
        table = table.filter(pc.invert(pc.is_in(_names(table), value_set=gone.combine_chunks())))
    return table


def _names(table: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(table["partition"], table["row_digest"], "\n")
