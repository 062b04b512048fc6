"""Near hashes without comparing all: multi-index hashing of the 64 coarse bits.

The bits are cut into four chunks. Two hashes that differ in at most `limit` bits differ in at most `limit // 4` bits
of one chunk (pigeonhole; Norouzi et al. 2012, "Fast Search in Hamming Space with Multi-Index Hashing"), so a hash is
compared with those whose chunk has such a value, and none is missed. Where more than `CROWD` agree in a chunk they are
a crowd (`crowds`).

A cell is a range of the values of one chunk, and what one task holds: the hashes in it, and those that differ from one
in it by few of the bits that name the range. Where two hashes meet in several cells of a chunk, one cell compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

from trichord.transforms.dedup.components import Components, Nearest
from trichord.transforms.dedup.crowds import crowd_pairs
from trichord.transforms.dedup.near import BLOCK_PAIRS, Hashes, Ints, Words

CHUNKS, CHUNK_BITS = 4, 16
CROWD = 64  # hashes that agree in a chunk
FIRST = 4  # of a crowd, with which the hashes beside it are compared


@dataclass(frozen=True, slots=True)
class Cell:
    """A range of the values of a chunk: those whose first `range_bits` bits are `part`."""

    chunk: int
    part: int
    range_bits: int

    def parts_of(self, across: int) -> tuple[int, int] | None:
        """Return the two parts that differ in the bits `across` and are compared in this cell; None where none are.

        Of the cells between two parts it is the one that differs from the smaller in the lower half of these bits.
        """
        low, rest = 0, across
        for _ in range(across.bit_count() // 2):
            low, rest = low | (rest & -rest), rest & (rest - 1)
        smaller = self.part ^ low
        return (smaller, smaller ^ across) if not across or smaller < smaller ^ across else None


def reach(limit: int, range_bits: int) -> int:
    """Return in how many cells of a chunk a hash is."""
    return len(_masks(range_bits, -(-(limit // CHUNKS) // 2)))


def divide(rows: int, limit: int, most: int) -> int:
    """Return the `range_bits` by which a cell of a chunk holds about `most` of that many hashes."""
    fits = (bits for bits in range(CHUNK_BITS) if rows * reach(limit, bits) <= most << bits)
    return next(fits, CHUNK_BITS)


def cells(coarse_N: Words, limit: int, range_bits: int) -> tuple[Ints, Ints]:
    """Return rows and the cell that each is in, a row several times: 2 ** `range_bits` ranges of each chunk.

    Two hashes within `limit` bits are in one cell of a chunk in which they differ in at most `limit // CHUNKS` bits.
    """
    rows, found = [], []
    for chunk in range(CHUNKS):
        home = _values(coarse_N, chunk) >> (CHUNK_BITS - range_bits)
        for mask in _masks(range_bits, -(-(limit // CHUNKS) // 2)):
            rows.append(np.arange(len(home)))
            found.append(chunk << range_bits | (home ^ mask))
    return np.concatenate(rows), np.concatenate(found)


def near_in_cell(hashes: Hashes, cell: Cell, *, close: float | None) -> tuple[Ints, Ints]:
    """Return edges (E, 2) that connect the hashes of a cell, distinct and in order, as the near pairs of the cell do.

    The second connect them as the pairs do whose distance is at most `close`.
    """
    near, closer = Components(len(hashes)), Components(len(hashes))
    for i, j in _pairs(hashes, cell, np.zeros(len(hashes), np.int64)):
        distance = hashes.distance(i, j)
        for found, most in ((near, np.inf), (closer, close)):
            if most is not None:
                fits = np.isfinite(distance) & (distance <= most)
                found.add(i[fits], j[fits])
    return near.edges(), closer.edges()


def nearest_in_cell(hashes: Hashes, cell: Cell, group_N: Ints, most: int) -> Ints:
    """Return pairs (P, 2) of a cell's hashes, in order: each with its `most` nearest of the same group."""
    found = Nearest(len(hashes), most)
    for i, j in _pairs(hashes, cell, group_N):
        distance = hashes.distance(i, j)
        near = np.isfinite(distance)
        found.add(i[near], j[near], distance[near])
    return found.pairs()[0]


def _pairs(hashes: Hashes, cell: Cell, group_N: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Yield the pairs of one group that are near by their coarse bits, or of a crowd, and belong to this cell."""
    key_N = group_N << CHUNK_BITS | _values(hashes.coarse_N, cell.chunk)
    order = np.argsort(key_N, kind="stable")
    coarse_N = hashes.coarse_N[order]
    keys, starts, sizes = np.unique(key_N[order], return_index=True, return_counts=True)
    part_of_key = (keys & ((1 << CHUNK_BITS) - 1)) >> (CHUNK_BITS - cell.range_bits)
    home = part_of_key == cell.part
    counts = np.where(home & (sizes <= CROWD), sizes, 0)
    place = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)  # of a row among its equals
    first = np.repeat(starts, counts) + place
    for a, b in _near_spans(coarse_N, hashes.coarse, first, first + 1, np.repeat(counts, counts) - place - 1):
        yield order[a], order[b]
    crowds = home & (sizes > CROWD)
    for start, size in zip(starts[crowds].tolist(), sizes[crowds].tolist(), strict=True):
        yield from crowd_pairs(hashes, order[start : start + size])
    places = _places(keys)
    keys_of_part = {part: np.flatnonzero(part_of_key == part) for part in np.unique(part_of_key).tolist()}
    for mask in _masks(CHUNK_BITS, hashes.coarse // CHUNKS)[1:].tolist():
        parts = cell.parts_of(mask >> (CHUNK_BITS - cell.range_bits))
        if parts is None or parts[0] not in keys_of_part or parts[1] not in keys_of_part:
            continue
        here = keys_of_part[parts[0]]
        there = places(keys[here] ^ mask)
        met = there >= 0
        if parts[0] == parts[1]:
            met &= there > here
        here, there = here[met], there[met]
        # the smaller value's rows with the larger's: with all, or with the first few of a crowd
        swap = sizes[here] > sizes[there]
        here, there = np.where(swap, there, here), np.where(swap, here, there)
        each = np.where(sizes[there] > CROWD, FIRST, sizes[there])
        rows = sizes[here]
        owner = np.repeat(starts[here] - np.cumsum(rows) + rows, rows) + np.arange(int(rows.sum()))
        others, counts = np.repeat(starts[there], rows), np.repeat(each, rows)
        for a, b in _near_spans(coarse_N, hashes.coarse, owner, others, counts):
            yield order[a], order[b]


def _places(keys: Ints) -> Callable[[Ints], Ints]:
    """Return a function that finds the places of values among sorted distinct keys; -1 where there is none."""
    if not len(keys) or keys[-1] < 1 << CHUNK_BITS:
        table = np.full(1 << CHUNK_BITS, -1)
        table[keys] = np.arange(len(keys))
        return table.__getitem__

    def find(wanted: Ints) -> Ints:
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[at] == wanted, at, -1)

    return find


def _near_spans(coarse_N: Words, most: int, owner_N: Ints, first_N: Ints, count_N: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Yield those pairs of `_spans` whose coarse bits differ in at most `most`."""
    for a, b in _spans(owner_N, first_N, count_N):
        near = np.flatnonzero(np.bitwise_count(coarse_N[a] ^ coarse_N[b]) <= most)
        if len(near):
            yield a[near], b[near]


def _spans(owner_N: Ints, first_N: Ints, count_N: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Yield each owner with the `count` places from `first`, in blocks of about `BLOCK_PAIRS`."""
    kept = count_N > 0
    owner_N, first_N, count_N = owner_N[kept], first_N[kept], count_N[kept]
    total = np.cumsum(count_N)
    start = 0
    while start < len(owner_N):
        done = int(total[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(total, done + BLOCK_PAIRS // 8, side="right")))
        counts = count_N[start:stop]
        inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        yield np.repeat(owner_N[start:stop], counts), np.repeat(first_N[start:stop], counts) + inside
        start = stop


def _values(coarse_N: Words, chunk: int) -> Ints:
    return ((coarse_N >> np.uint64(CHUNK_BITS * chunk)) & np.uint64((1 << CHUNK_BITS) - 1)).astype(np.int64)


@lru_cache(maxsize=64)
def _masks(bits: int, most: int) -> npt.NDArray[np.int64]:
    """Return the numbers of `bits` bits of which at most `most` are set, 0 first."""
    chosen = (places for count in range(min(bits, most) + 1) for places in combinations(range(bits), count))
    return np.array([sum(1 << place for place in places) for places in chosen])
