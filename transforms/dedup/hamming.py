"""Near hashes without comparing all: multi-index hashing of the 64 coarse bits.

The bits are cut into four chunks. Two hashes that differ in at most `limit` bits differ in at most `limit // 4` bits
of one chunk (pigeonhole; Norouzi et al. 2012, "Fast Search in Hamming Space with Multi-Index Hashing"), so a hash is
compared with those whose chunk has such a value, and none is missed. Where more than `CROWD` agree in a chunk they are
a crowd (`crowds`).

A cell is a range of the values of one chunk, and what one task holds: the hashes in it, and those that differ from one
in it by few of the bits that name the range.
"""

from __future__ import annotations

from collections.abc import Iterator
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


def near_in_cell(hashes: Hashes, chunk: int, *, close: float | None) -> tuple[Ints, Ints]:
    """Return edges (E, 2) that connect the hashes of a cell, distinct and in order, as their near pairs do.

    The second connect them as the pairs do whose distance is at most `close`.
    """
    near, closer = Components(len(hashes)), Components(len(hashes))
    for i, j in _pairs(hashes, chunk, np.zeros(len(hashes), np.int64)):
        distance = hashes.distance(i, j)
        for found, most in ((near, np.inf), (closer, close)):
            if most is not None:
                fits = np.isfinite(distance) & (distance <= most)
                found.add(i[fits], j[fits])
    return near.edges(), closer.edges()


def nearest_in_cell(hashes: Hashes, chunk: int, group_N: Ints, most: int) -> Ints:
    """Return pairs (P, 2) of a cell's hashes, in order: each with its `most` nearest of the same group."""
    found = Nearest(len(hashes), most)
    for i, j in _pairs(hashes, chunk, group_N):
        distance = hashes.distance(i, j)
        near = np.isfinite(distance)
        found.add(i[near], j[near], distance[near])
    return found.pairs()[0]


def _pairs(hashes: Hashes, chunk: int, group_N: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Yield the pairs of one group that may be near, in blocks."""
    key_N = group_N << CHUNK_BITS | _values(hashes.coarse_N, chunk)
    order = np.argsort(key_N, kind="stable")
    keys, starts, sizes = np.unique(key_N[order], return_index=True, return_counts=True)
    place = np.arange(len(order))
    of_place = np.repeat(np.arange(len(keys)), sizes)
    ends = np.where(sizes > CROWD, 0, starts + sizes)[of_place]
    for a, b in _spans(place, place + 1, ends - place - 1):
        yield order[a], order[b]
    for start, size in zip(starts[sizes > CROWD].tolist(), sizes[sizes > CROWD].tolist(), strict=True):
        yield from crowd_pairs(hashes, order[start : start + size])
    for mask in _masks(CHUNK_BITS, hashes.coarse // CHUNKS)[1:]:
        at = np.minimum(np.searchsorted(keys, keys ^ mask), len(keys) - 1)
        met = keys[at] == keys ^ mask
        many = met & (np.maximum(sizes, sizes[at]) > CROWD)
        # each pair of values once, but of crowds the first few of either side with all of the other
        whole = met & ~many & (at > np.arange(len(keys)))
        counts = np.where(whole, sizes[at], np.where(many, np.minimum(sizes[at], FIRST), 0))
        used = np.flatnonzero(counts[of_place])
        first, count = starts[at][of_place[used]], counts[of_place[used]]
        for a, b in _spans(place[used], first, count):
            yield order[a], order[b]


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
