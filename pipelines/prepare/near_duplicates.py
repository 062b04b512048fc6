"""Near duplicates: buckets of rows that may be near, edges between those that are, pairs that are compared themselves.

A row is identified by number: its signature shard's place in the order of addresses, then its place in the shard.
Buckets hold the signatures; the driver receives only edges and candidate pairs. Tasks compare the media of the pairs,
and one task turns what they decided into the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from trichord.infra.config import DedupConfig
from trichord.infra.engines.base import Engine
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.core.workspace import Workspace, run_all, run_alone
from trichord.pipelines.prepare.near_duplicates_buckets import (
    CROWDED,
    ROWS_PER_CELL,
    SAMPLED,
    CountCrowds,
    EmitNear,
    ReduceNear,
    Split,
    batched,
)
from trichord.pipelines.prepare.near_duplicates_compare import Compared, Comparer
from trichord.pipelines.prepare.near_duplicates_found import Found, join
from trichord.pipelines.prepare.near_duplicates_known import KnownPairs
from trichord.pipelines.prepare.near_duplicates_resolve import (
    Decided,
    NearFound,
    Numbered,
    Propose,
    RankMaps,
    Resolve,
    Rows,
    decide,
)
from trichord.transforms.dedup.candidates import Candidates
from trichord.transforms.dedup.clusters import Same, settle
from trichord.transforms.dedup.hamming import CHUNKS, divide, reach
from trichord.transforms.dedup.near import Ints, Modality
from trichord.transforms.dedup.shingles import BANDS

KEYS_PER_BUCKET = 250_000  # rows times their keys: about 300 MB in the worker that reduces them
MOST_ROUNDS = 4  # of comparing rows with the survivors of rows that equal them


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
    found = _meet(workspace, engine, signatures, config, tuple(dropped))
    if not len(found.rows()):
        return NearFound()
    rows = Rows(workspace.lake, config, ranks, signatures)
    decided = None
    if config.verify:
        numbered, candidates = run_alone(engine, Propose(rows), found)
        comparer = Comparer(
            engine=engine, lake=workspace.lake, records=records, signatures=signatures, config=config,
            rate_hz=workspace.project.prepare.audio.rate_hz,
        )  # fmt: skip
        known = KnownPairs.load(workspace, comparer.names)
        by_map = _pair_maps(engine, rows, numbered.numbers, candidates)
        compare = partial(_compare, comparer, numbered, known)
        nearest = np.concatenate([candidates.nearest, by_map])
        decided = _decide(compare, len(numbered.ids), candidates, nearest)
        known.keep()
    return run_alone(engine, Resolve(rows, decided), found)


def _meet(
    workspace: Workspace, engine: Engine, signatures: Sequence[ShardRef], config: DedupConfig,
    dropped: tuple[ShardRef, ...],
) -> Found:  # fmt: skip
    """Return what is near, of rows that meet in a bucket; what is too much for one task is split first."""
    items, total = batched(signatures), sum(ref.rows for ref in signatures)
    limit = max(config.image_coarse, config.audio_coarse)
    range_bits = divide(total, limit, ROWS_PER_CELL)
    keys = total * (3 * CHUNKS * reach(limit, range_bits) + BANDS + 1)
    split: Split = {}
    if total > CROWDED:
        count = EmitNear(workspace.lake, config, dropped, range_bits, sample=True)
        for crowds in engine.group(items, count, CountCrowds(), buckets=max(1, -(-keys // SAMPLED // KEYS_PER_BUCKET))):
            split = {**split, **crowds}
    emit = EmitNear(workspace.lake, config, dropped, range_bits, split)
    buckets = max(1, -(-keys // KEYS_PER_BUCKET))
    return join(engine.group(items, emit, ReduceNear(config, range_bits), buckets=buckets))


def _pair_maps(engine: Engine, rows: Rows, numbers: Ints, candidates: Candidates) -> Ints:
    """Return pairs of drawn pictures whose maps are nearest."""
    batches: list[list[Ints]] = [[]]
    for part in candidates.drawn:
        if sum(map(len, batches[-1])) + len(part) > RankMaps.MOST:
            batches.append([])
        batches[-1].append(part)
    items = [(at, [numbers[part] for part in batch]) for at, batch in enumerate(batches) if batch]
    pairs = [np.zeros((0, 2), np.int64)]
    task = RankMaps(rows.lake, rows.signatures)
    for at, found in run_all(engine, task, items, "Comparing near duplicates failed"):
        pairs += [part[pair] for part, pair in zip(batches[at], found, strict=True)]
    return np.concatenate(pairs)


def _decide(compare: Callable[[Ints], Sequence[Compared]], size: int, candidates: Candidates, nearest: Ints) -> Decided:
    """Compare rows with their pivots, then with the first and then all of those that are nearest.

    A row that is dropped is represented by its survivor, so no row is compared that is joined already, and each that
    equals a dropped one is compared with the survivor too.
    """
    known: dict[tuple[int, int], Compared] = {}
    same = candidates.equal
    unlike: dict[tuple[int, int], tuple[Modality, str]] = {}
    survivor = settle(size, same)
    wanted = np.zeros((0, 2), np.int64)
    for stage in [candidates.pivots, _first_of(nearest), nearest, *[nearest[:0]] * MOST_ROUNDS]:
        wanted = np.concatenate([wanted, stage])
        pairs = np.unique(np.sort(survivor[np.concatenate([wanted, same])], axis=1), axis=0)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        todo = np.array([pair for pair in pairs.tolist() if tuple(pair) not in known], np.int64).reshape(-1, 2)
        if not len(todo):
            continue
        compared = compare(todo)
        known |= {(int(i), int(j)): one for (i, j), one in zip(todo, compared, strict=True)}
        found, differing = decide(todo, compared)
        same, unlike = np.concatenate([same, found]), unlike | differing
        survivor = settle(size, same)
    dropped = np.flatnonzero(survivor != np.arange(size))
    return Decided(
        same=tuple(
            Same(dropped=int(row), survivor=int(survivor[row]),
                 distances=known[pair].distances if (pair := (int(survivor[row]), int(row))) in known else {})
            for row in dropped
        ),
        unlike=unlike,
    )  # fmt: skip


def _compare(comparer: Comparer, rows: Numbered, known: KnownPairs, pairs: Ints) -> list[Compared]:
    """Return how pairs of positions (P, 2) compare; only those that the last run did not know are compared."""
    names = [(rows.ids[i], rows.ids[j]) for i, j in pairs.tolist()]
    found = [known.find(*name) for name in names]
    new = [at for at, one in enumerate(found) if one is None]
    for at, one in zip(new, comparer.compare(rows.numbers[pairs[new]]), strict=True):
        known.add(*names[at], one)
    return [known.used[name] for name in names]


def _first_of(pairs: Ints) -> Ints:
    """Return of each later row the pair with the earliest other."""
    order = np.lexsort((pairs[:, 0], pairs[:, 1]))
    _, first = np.unique(pairs[order, 1], return_index=True)
    return pairs[order[first]]
