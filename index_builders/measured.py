"""What a sample of the vectors shows of them, as values: how much must be looked at for a recall. Knows no FAISS."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trichord.index_builders.index_kinds import IndexPlan
from trichord.infra.json_values import JsonObject

K = 10
LEVELS = (0.8, 0.9, 0.95, 0.98, 0.995, 0.999)  # shares of the nearest ten


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Counts taken on a sample, carried over to all vectors, and rounded, so that near ties do not show."""

    rows: int  # vectors there were
    visited: tuple[float, ...]  # share of the rows in the cells that hold `LEVELS` of the nearest ten
    recall: Mapping[str, float] = field(default_factory=dict)  # code -> share of the nearest ten among its first ten
    ranked: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # code -> rows it ranks before `LEVELS` of them
    changed: int = 0  # vectors that came since

    def share_for(self, recall: float) -> float:
        """Return the share of the rows that a search in cells looks at for a recall, 1.0 beyond what was measured."""
        return next((share for level, share in zip(LEVELS, self.visited, strict=True) if level > recall), 1.0)

    def candidates_for(self, code: str, recall: float) -> int | None:
        """Return how many candidates of a code hold the nearest ten to a recall; None beyond what was measured."""
        return next((rank for level, rank in zip(LEVELS, self.ranked[code], strict=True) if level > recall), None)

    def to_json(self) -> JsonObject:
        """Return the figures as a manifest states them."""
        return {
            "rows": self.rows,
            "visited": list(self.visited),
            "recall": dict(self.recall),
            "ranked": {code: list(ranks) for code, ranks in self.ranked.items()},
            "changed": self.changed,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Measured:
        """Read `to_json`'s value. Raise KeyError, TypeError or ValueError where it is something else."""
        ranked = {str(code): tuple(map(int, ranks)) for code, ranks in value["ranked"].items()}
        visited = tuple(map(float, value["visited"]))
        recall = {str(code): float(share) for code, share in value["recall"].items()}
        if (
            any(len(figures) != len(LEVELS) for figures in (visited, *ranked.values()))
            or recall.keys() != ranked.keys()
        ):
            raise ValueError(f"figures of a sample that are not of {len(LEVELS)} levels")
        return cls(
            rows=int(value["rows"]), visited=visited, recall=recall, ranked=ranked, changed=int(value["changed"])
        )


def code_name(plan: IndexPlan, dimension: int) -> str | None:
    """Return the name of a plan's code in `Measured`; None for one that keeps the order of rows, or is not measured.

    `ivf_` goes before codes that hold how far a row is from the centre of its cell.
    """
    if plan.code in ("sq8", "sq4"):
        return plan.code
    if plan.code == "pq_fast":
        return f"{plan.kind}/{dimension // (plan.parts or 1)}"  # values a code of 4 bits
    return f"{plan.kind}/{plan.bits}" if plan.code == "rabitq" else None


def rounded(value: float) -> float:
    """Return a value at two significant digits."""
    return float(f"{value:.1e}")


def carried(figures: Iterable[float], steps: float, least: float, most: float) -> float:
    """Return a figure at more rows from two samples, the larger of four times as many rows as the smaller.

    Args:
        figures: that of the smaller sample, that of the larger.
        steps: how often four times as many rows there are than in the larger.
        least: factor of four times as many rows at least.
        most: and at most.
    """
    small, large = figures
    factor = min(most, max(least, large / small)) if small > 0 else most
    return float(large * math.pow(factor, max(0.0, steps)))
