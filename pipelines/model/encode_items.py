"""What encoding workers are given: records shards, or parts of them where a worker would wait for another."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from trichord.infra import digest
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.core.exclusions import NOTHING, Excluded

LEAST_ROWS = 64  # of a part: to hand out fewer costs more than it saves
MOST_PARTS = 8  # of a shard: each part reads all of it
UNEVEN = 1.05  # times the work of each worker, if all had the same, that the busiest may have


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeItem:
    """A records shard to encode. Features may be made in parts, which are then put together.

    Attributes:
        address: of the shard to make.
        partition: of the records.
        records: the records.
        features: their cached features.
        excluded: which records are left out.
        bases: older shards that some are already in.
        changed: about how many are not.
        span: of a part, its rows, [start, stop); None: all.
        parts: of a shard that was made in parts, all of them.
    """

    address: str
    partition: str
    records: ShardRef
    features: ShardRef | None = None
    excluded: Excluded = NOTHING
    bases: tuple[ShardRef, ...] = ()
    changed: int = 0
    span: tuple[int, int] | None = None
    parts: tuple[ShardRef, ...] = ()

    @property
    def rows(self) -> int:
        """Rows that go in."""
        return self.records.rows if self.span is None else self.span[1] - self.span[0]


def divide(
    items: Sequence[EncodeItem], workers: int
) -> tuple[list[EncodeItem], list[tuple[EncodeItem, list[EncodeItem]]]]:
    """Return the items that are made at once, and the others with their parts. Those with bases are never divided."""
    counts = count_parts([0 if item.bases else item.rows for item in items], workers)
    at_once, divided = list[EncodeItem](), list[tuple[EncodeItem, list[EncodeItem]]]()
    for item, count in zip(items, counts, strict=True):
        if count == 1:
            at_once.append(item)
            continue
        spans = itertools.pairwise(item.rows * part // count for part in range(count + 1))
        parts = [replace(item, address=digest.address("part", item.address, *span), span=span) for span in spans]
        divided.append((item, parts))
    return at_once, divided


def count_parts(rows: Sequence[int], workers: int) -> list[int]:
    """Return in how many parts each shard is made.

    Args:
        rows: of each shard; 0 for one that is never divided.
        workers: that make them, each the largest piece that is left.
    """
    parts, most = [1] * len(rows), min(workers, MOST_PARTS)
    while most > 1:
        busiest, shards = _busiest(rows, parts, workers)
        able = [shard for shard in shards if parts[shard] == 1 and rows[shard] >= most * LEAST_ROWS]
        if not able or busiest <= UNEVEN * sum(rows) / workers:
            break
        parts[max(able, key=lambda shard: rows[shard])] = most
    return parts


def _busiest(rows: Sequence[int], parts: Sequence[int], workers: int) -> tuple[float, list[int]]:
    """Return how many rows the busiest worker has, and of which shards."""
    pieces = [(rows[shard] / count, shard) for shard, count in enumerate(parts) for _ in range(count)]
    loads, held = [(0.0, worker) for worker in range(workers)], list[list[int]]([] for _ in range(workers))
    for size, shard in sorted(pieces, reverse=True):
        load, worker = loads[0]
        held[worker].append(shard)
        heapq.heapreplace(loads, (load + size, worker))
    load, worker = max(loads)
    return load, held[worker]


def keep_span(span: tuple[int, int]) -> Callable[[pa.Table], np.ndarray]:
    """Return a function that marks the rows of a span, bool (N,), when it is given a shard's rows in order."""
    seen = 0

    def keep(rows: pa.Table) -> np.ndarray:
        nonlocal seen
        at = np.arange(seen, seen + rows.num_rows)
        seen += rows.num_rows
        return (at >= span[0]) & (at < span[1])

    return keep
