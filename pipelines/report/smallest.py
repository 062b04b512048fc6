"""A sample that no order, engine or night changes: the rows of the smallest key digests."""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

from trichord.infra.digest import hash64

T = TypeVar("T")


class Smallest(Generic[T]):
    """Keeps `size` items, those whose names have the smallest digests; memory does not grow with what is offered."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[int, str, int, T]] = []  # negated: the heap's first is the largest kept
        self._offered = 0

    def offer(self, name: str, item: T) -> None:
        """Take an item in if its name is small enough; of equal names the earlier stays."""
        self._offered += 1
        digest = -hash64(name)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, (digest, name, -self._offered, item))
        elif self._heap and digest > self._heap[0][0]:
            heapq.heapreplace(self._heap, (digest, name, -self._offered, item))

    def wants(self, name: str) -> bool:
        """Whether an item of this name would be taken in: for items that cost something to make."""
        return len(self._heap) < self._size or bool(self._heap and -hash64(name) > self._heap[0][0])

    def items(self) -> list[T]:
        """What is kept, smallest digest first."""
        return [entry[3] for entry in sorted(self._heap, key=lambda entry: (-entry[0], entry[1], -entry[2]))]
