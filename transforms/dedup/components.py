"""What is kept of near pairs that come in blocks: which rows are joined, and the nearest of each row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from trichord.transforms.dedup.near import Ints

PENDING = 1 << 19  # pairs that are held before they are merged


class Components:
    """Components of `size` nodes; pairs whose nodes are joined already are skipped."""

    def __init__(self, size: int) -> None:
        self._labels = np.arange(size)
        self._pending: list[Ints] = []
        self._waiting = 0

    def add(self, i: Ints, j: Ints) -> None:
        """Join i and j, pair by pair."""
        fresh = self._labels[i] != self._labels[j]
        if fresh.any():
            self._pending.append(np.stack([i[fresh], j[fresh]]))
            self._waiting += int(fresh.sum())
            if self._waiting > PENDING:
                self._merge()

    def labels(self) -> Ints:
        """Return the component of each node, numbered from 0 by first node."""
        self._merge()
        size = len(self._labels)
        first = np.full(self._labels.max(initial=-1) + 1, size)
        np.minimum.at(first, self._labels, np.arange(size))
        rank: Ints = np.argsort(np.argsort(first))
        return rank[self._labels]

    def edges(self) -> Ints:
        """Return edges (E, 2) from the first node of each component to its others."""
        labels = self.labels()
        first = np.full(labels.max(initial=-1) + 1, len(labels))
        np.minimum.at(first, labels, np.arange(len(labels)))
        others = np.flatnonzero(first[labels] != np.arange(len(labels)))
        return np.stack([first[labels[others]], others], axis=1)

    def _merge(self) -> None:
        if self._pending:
            i, j = self._labels[np.concatenate(self._pending, axis=1)]
            graph = coo_array((np.ones(len(i), np.int8), (i, j)), shape=(len(self._labels),) * 2)
            self._labels = connected_components(graph, directed=False)[1].astype(np.int64)[self._labels]
            self._pending, self._waiting = [], 0


class Nearest:
    """The near pairs of which one is among the `most` nearest of the other; of equally near ones the first."""

    def __init__(self, size: int, most: int) -> None:
        self._size, self._most = size, most
        self._worst_N = np.full(size, np.inf)  # of each row's `most` nearest
        self._pairs = [np.zeros(0, np.int64)]  # i * size + j
        self._distances: list[npt.NDArray[np.float64]] = [np.zeros(0)]
        self._waiting = 0

    def add(self, i: Ints, j: Ints, distance: npt.NDArray[np.float64]) -> None:
        """Take pairs, in any order."""
        wanted = distance <= np.maximum(self._worst_N[i], self._worst_N[j])
        i, j = i[wanted], j[wanted]
        self._pairs.append(np.minimum(i, j) * self._size + np.maximum(i, j))
        self._distances.append(distance[wanted])
        self._waiting += len(i)
        if self._waiting > PENDING:
            self._merge()

    def pairs(self) -> tuple[Ints, npt.NDArray[np.float64]]:
        """Return the pairs (P, 2), i < j, in order, and their distances."""
        self._merge()
        return np.stack(np.divmod(self._pairs[0], self._size), axis=1), self._distances[0]

    def _merge(self) -> None:
        pairs, at = np.unique(np.concatenate(self._pairs), return_index=True)
        distance = np.concatenate(self._distances)[at]
        i, j = np.divmod(pairs, self._size)
        own, far, pair = np.concatenate([i, j]), np.tile(distance, 2), np.tile(np.arange(len(pairs)), 2)
        order = np.lexsort((np.concatenate([j, i]), far, own))
        own, far, pair = own[order], far[order], pair[order]
        place = np.arange(len(own)) - np.searchsorted(own, own)
        last = place == self._most - 1
        self._worst_N[own[last]] = far[last]
        kept = np.unique(pair[place < self._most])
        self._pairs, self._distances, self._waiting = [pairs[kept]], [distance[kept]], 0


def label_components(size: int, blocks: Iterator[tuple[Ints, Ints]]) -> Ints:
    """Return the component of each of `size` nodes, numbered from 0 by first node; edges come in blocks."""
    found = Components(size)
    for i, j in blocks:
        found.add(i, j)
    return found.labels()
