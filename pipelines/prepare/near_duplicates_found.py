"""What buckets of near rows found, and how the findings of many are joined at a cost that is linear in their pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from trichord.transforms.dedup.components import PENDING, Components
from trichord.transforms.dedup.near import Ints

_Reduce: TypeAlias = Callable[[Ints], Ints]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What buckets found, as pairs (P, 2) of row numbers.

    `edges` connect rows as those do that are near in a modality; under `words` those of texts alone that say the same;
    under `close/<modality>` those that share a medium by the hash itself. `nearest` is each row with those nearest to
    it, of rows that may be the same record.
    """

    edges: Mapping[str, Ints] = field(default_factory=dict)
    nearest: Mapping[str, Ints] = field(default_factory=dict)

    def rows(self) -> Ints:
        """Return the numbers of all rows."""
        pairs = [*self.edges.values(), *self.nearest.values()]
        return np.unique(np.concatenate([one.ravel() for one in pairs])) if pairs else np.zeros(0, np.int64)


def join(parts: Iterable[Found]) -> Found:
    """Return the findings of many buckets: edges that connect the same rows, fewer than these; other pairs once."""
    edges, nearest = dict[str, _Joined](), dict[str, _Joined]()
    for part in parts:
        for found, all_pairs, reduce in ((edges, part.edges, _forest), (nearest, part.nearest, _once)):
            for name, pairs in all_pairs.items():
                found.setdefault(name, _Joined(reduce)).add(pairs)
    return Found(
        edges={name: one.pairs() for name, one in sorted(edges.items()) if one},
        nearest={name: one.pairs() for name, one in sorted(nearest.items()) if one},
    )


class _Joined:
    """Pairs that come in blocks; they are reduced whenever more have come since than were left the last time."""

    def __init__(self, reduce: _Reduce) -> None:
        self._reduce = reduce
        self._blocks = [np.zeros((0, 2), np.int64)]
        self._waiting = 0

    def __bool__(self) -> bool:
        return self._waiting > 0 or len(self._blocks[0]) > 0

    def add(self, pairs: Ints) -> None:
        self._blocks.append(pairs)
        self._waiting += len(pairs)
        if self._waiting > max(PENDING, len(self._blocks[0])):
            self.pairs()

    def pairs(self) -> Ints:
        """Return all pairs, reduced."""
        if self._waiting:
            self._blocks, self._waiting = [self._reduce(np.concatenate(self._blocks))], 0
        return self._blocks[0]


def _forest(edges: Ints) -> Ints:
    """Return edges from the first row of each component to its others."""
    rows, ends = np.unique(edges, return_inverse=True)
    found = Components(len(rows))
    found.add(*ends.reshape(-1, 2).T)
    return np.asarray(rows[found.edges()])


def _once(pairs: Ints) -> Ints:
    """Return each pair once, in order."""
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return np.asarray(pairs[np.concatenate([[True], (np.diff(pairs, axis=0) != 0).any(axis=1)])])
