"""A sample that depends on neither order nor engine: the rows with the smallest key digests."""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

from trichord.infra.digest import hash64

T = TypeVar("T")


class Smallest(Generic[T]):
    """Keeps the `size` items whose names have the smallest digests, in constant memory."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[int, str, int, T]] = []  # negated, so that the heap's first is the largest digest
        self._offered = 0

    def offer(self, name: str, item: T) -> None:
        """Keep an item if its digest is small enough; of equal names the earlier stays."""
        self._offered += 1
        digest = -hash64(name)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, (digest, name, -self._offered, item))
        elif self._heap and digest > self._heap[0][0]:
            heapq.heapreplace(self._heap, (digest, name, -self._offered, item))

    def wants(self, name: str) -> bool:
        """Return True if an item of this name would be kept. Ask before making a costly item."""
        return len(self._heap) < self._size or bool(self._heap and -hash64(name) > self._heap[0][0])

    def items(self) -> list[T]:
        """Return the kept items, smallest digest first."""
        return [entry[3] for entry in sorted(self._heap, key=lambda entry: (-entry[0], entry[1], -entry[2]))]
