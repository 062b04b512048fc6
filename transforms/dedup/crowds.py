"""Pairs of rows that meet in one bucket: all of a small one; of a crowd, as many as grow with its rows.

A crowd grows from a pivot. Every row is compared with it; then the rows are halved by their distance from the pivot,
and each half has a pivot of its own, until all pairs of a part can be compared. Rows come in the order of their
content, so pivots and halves depend on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from trichord.infra.config import DedupConfig
from trichord.transforms.dedup.components import Components
from trichord.transforms.dedup.near import BLOCK_PAIRS, Ints, Modality, Signatures, pack

PART = 128  # rows of a crowd's part, of which all pairs are compared
TEXT_CROWD = 256  # texts of a bucket: more are a crowd
SMALL = 32  # rows of a bucket whose pairs are checked together with those of others


def crowd_pairs(packed: Signatures, rows: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Yield the pairs of a crowd that are compared: some N (log N + PART / 2)."""
    parts, whole = [rows], packed.without_limits()
    while parts:
        part = parts.pop()
        if len(part) <= PART:
            i, j = np.triu_indices(len(part), 1)
            yield part[i], part[j]
            continue
        pivot, rest = np.full(len(part) - 1, part[0]), part[1:]
        yield pivot, rest
        parts += halve(whole, pivot, rest)


def halve(whole: Signatures, pivot: Ints, rest: Ints) -> tuple[Ints, Ints]:
    """Return the half of the rows that is nearer to the pivot, and the other, each in its order."""
    order = np.argsort(whole.distance(pivot, rest), kind="stable")
    half = len(rest) // 2
    return np.sort(rest[order[:half]]), np.sort(rest[order[half:]])


def near_edges(modality: Modality, rows: Ints, signatures: Sequence[bytes], config: DedupConfig) -> Ints:
    """Return edges (E, 2) that connect a bucket's rows as its near pairs do: fewer than there are rows.

    Equal signatures are compared once. Of a crowd, rows that a pivot joins are not compared again.
    """
    distinct, of_row = np.unique(np.array(signatures, object), return_inverse=True)
    packed = pack(modality, list(distinct), config)
    found = Components(len(distinct))
    parts = [np.arange(len(distinct))]
    while parts:
        part = parts.pop()
        if len(part) < 2:
            continue
        if len(part) <= (PART if len(part) < len(distinct) else TEXT_CROWD):
            for i, j in packed.select(part).pairs():
                found.add(part[i], part[j])
            continue
        pivot, rest = np.full(len(part) - 1, part[0]), part[1:]
        near = np.isfinite(packed.distance(pivot, rest))
        found.add(pivot[near], rest[near])
        parts += halve(packed.without_limits(), pivot[~near], rest[~near])
    return _among_rows(found, of_row, rows)


def _among_rows(found: Components, of_row: Ints, rows: Ints) -> Ints:
    """Return the edges between rows of joined contents; rows of one content are joined."""
    order = np.argsort(found.labels()[of_row], kind="stable")
    labels = found.labels()[of_row][order]
    root = order[np.searchsorted(labels, labels)]
    other = order != root
    return np.stack([rows[root[other]], rows[order[other]]], axis=1)


def bucket_edges(
    modality: Modality, rows: Ints, signatures: Sequence[bytes], starts: Ints, sizes: Ints, config: DedupConfig
) -> Ints:
    """Return edges (E, 2) of many groups of rows at once, each `sizes` rows from `starts`.

    Pairs of small groups, which are most, are checked together; each large group is checked alone.
    """
    found = [np.zeros((0, 2), np.int64)]
    for start, size in zip(starts[sizes > SMALL].tolist(), sizes[sizes > SMALL].tolist(), strict=True):
        part = slice(start, start + size)
        found.append(near_edges(modality, rows[part], signatures[part], config))
    small, size_of = starts[sizes <= SMALL], sizes[sizes <= SMALL]
    step = BLOCK_PAIRS // SMALL**2
    for first in range(0, len(small), step):
        found.append(_small_edges(modality, rows, signatures, small[first : first + step],
                                  size_of[first : first + step], config))  # fmt: skip
    return np.concatenate(found)


def _small_edges(
    modality: Modality, rows: Ints, signatures: Sequence[bytes], starts: Ints, sizes: Ints, config: DedupConfig
) -> Ints:
    pairs = []
    for size in np.unique(sizes).tolist():
        i, j = np.triu_indices(size, 1)
        at = starts[sizes == size][:, None]
        pairs.append(np.stack([(at + i).ravel(), (at + j).ravel()]))
    if not pairs:
        return np.zeros((0, 2), np.int64)
    i, j = np.concatenate(pairs, axis=1)
    used, places = np.unique(np.concatenate([i, j]), return_inverse=True)
    content: dict[bytes, int] = {}
    content_N = np.array([content.setdefault(signatures[at], len(content)) for at in used.tolist()], np.int64)
    a, b = np.split(content_N[places], 2)
    both, of_pair = np.unique(np.stack([np.minimum(a, b), np.maximum(a, b)]), axis=1, return_inverse=True)
    near = np.isfinite(pack(modality, list(content), config).distance(both[0], both[1]))[of_pair]
    return np.stack([rows[i[near]], rows[j[near]]], axis=1)
