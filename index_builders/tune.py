"""How hard an index is searched: the least search parameters that reach a recall on held-out queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trichord.index_builders.index_kinds import IndexPlan

DEPTHS = (1, 2, 4, 8, 16, 32, 64, 128)
EF_SEARCHES = (16, 32, 64, 128, 256, 512, 1024, 2048)
AS_CLOSE = 0.005  # more effort that gains less recall is not worth it
Settings = dict[str, int]
ALL = "all"  # what a manifest calls the settings for rows of any view


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """Search parameters, and the recall that was measured with them."""

    settings: Settings
    recall: float


def tune(plan: IndexPlan, measure: Callable[[Settings], float], target: float) -> Tuned:
    """Return the cheapest search parameters whose recall on sample queries reaches a target, or the best if none do.

    Every parameter is found by bisection: searching more cells, more of a graph or more candidates finds what was
    found before, and more.

    Args:
        plan: the kind of index.
        measure: search parameters -> recall of the sample queries.
        target: recall wanted, at most 1.
    """
    if plan.nlist is not None:
        best: Tuned | None = None
        for depth in (8, 32, 128) if plan.refine else (None,):
            fixed: Settings = {} if depth is None else {"depth": depth}
            found = least("nprobe", range(1, plan.nlist + 1), fixed, measure, target)
            best = found if best is None or found.recall > best.recall else best
            if found.recall >= target:
                break
        assert best is not None
        return best
    if plan.kind == "hnsw":
        return least("ef_search", EF_SEARCHES, {}, measure, target)
    if plan.refine:
        return least("depth", DEPTHS, {}, measure, target)
    return Tuned(settings={}, recall=measure({}))


def least(
    name: str,
    values: range | tuple[int, ...],
    fixed: Settings,
    measure: Callable[[Settings], float],
    target: float,
) -> Tuned:
    """Return the first of ascending values that reaches the target; if none does, that comes as close as the last.

    Doubling steps find a bracket cheaply, bisection the value in it. `fixed` are further settings.
    """
    known: dict[int, float] = {}

    def at(place: int) -> float:
        if place not in known:
            known[place] = measure({name: values[place], **fixed})
        return known[place]

    low, high = 0, 0
    while at(high) < target and high < len(values) - 1:
        low, high = high + 1, min(2 * high + 1, len(values) - 1)
    if at(high) < target:
        low, target = 0, at(high) - AS_CLOSE
    while low < high:
        middle = (low + high) // 2
        if at(middle) >= target:
            high = middle
        else:
            low = middle + 1
    return Tuned(settings={name: values[high], **fixed}, recall=at(high))
