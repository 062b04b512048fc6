"""What plans a source besides the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

I = TypeVar("I")  # noqa: E741 - the item's type
R = TypeVar("R")

LEAST_BYTES = 8 << 20  # of a manifest that workers scan: starting them takes as long as 20,000 rows


class RunTasks(Protocol):
    """Runs a task on workers."""

    def __call__(self, task: Callable[[I], R], items: Iterable[I]) -> Iterable[R]:
        """Yield the results, in any order. Raise what a worker raised."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Workers, and what they are worth.

    Attributes:
        run: starts them when it is first called.
        lazy: they pull items one by one; otherwise all items are held before they start.
        least_bytes: of a manifest that is worth starting them.
    """

    run: RunTasks
    lazy: bool = True
    least_bytes: int = LEAST_BYTES

    @property
    def least_rows(self) -> int:
        """How many rows are worth starting them."""
        return self.least_bytes * 20_000 // LEAST_BYTES
