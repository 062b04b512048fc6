"""How far a long step is, how fast it goes, and how long it will still take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

EVERY_S = 10.0  # between two reports from within a shard


@dataclass(slots=True)
class Pace:
    """Counts the rows done of `total`; the clock starts when it is made."""

    total: int
    clock: Callable[[], float] = monotonic
    done: int = 0
    _started_s: float = field(init=False)
    _reported_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._started_s = self._reported_s = self.clock()

    def add(self, rows: int) -> None:
        """Count rows as done."""
        self.done += rows

    def report(self) -> dict[str, int | float]:
        """Return rows done and in all, rows a second and the seconds left at this rate, for a log event."""
        self._reported_s = self.clock()
        rate = self.done / max(self._reported_s - self._started_s, 1e-9)
        left_s = (self.total - self.done) / rate if rate else 0.0
        return {"done": self.done, "of": self.total, "rows_per_s": round(rate, 1), "left_s": round(left_s)}

    def due(self) -> bool:
        """Return True where the last report is `EVERY_S` old and rows are left."""
        return self.done < self.total and self.clock() - self._reported_s >= EVERY_S
