"""Estimate what a run will take from the notes of runs on the same lake."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trichord.pipelines.core.runs import RunNote, StageTime

ALIKE = 10  # this many runs count for a stage
SIZE = ("records", "features", "vectors")  # how many shards a run made of these says how large it was
_TIMES = 3.0  # a run that made up to this many times more, or fewer, is alike


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """Seconds by the clock, and CPU seconds of all processes."""

    seconds: float
    cpu_s: float


def estimate_stages(runs: Sequence[RunNote], to_make: Mapping[str, int]) -> dict[str, Estimated | None]:
    """Return what each stage will take per unit as in the last runs of about this size; None where nothing is known.

    Runs of another size count where there are no others: a night copies most rows of the shards that it makes, and a
    backfill none. With nothing to make, a stage takes what it took in the shortest run that made nothing.

    Args:
        runs: notes of earlier runs, newest first.
        to_make: units that each stage will make.
    """
    near = alike(runs, max((to_make.get(name, 0) for name in SIZE), default=0))
    return {stage: _stage(near, runs, stage, units) for stage, units in to_make.items()}


def alike(runs: Sequence[RunNote], size: int) -> list[RunNote]:
    """Return the runs that made about as many shards."""
    sizes = [(run, max((run.stages[name].made for name in SIZE if name in run.stages), default=0)) for run in runs]
    return [run for run, made in sizes if size / _TIMES <= made <= size * _TIMES]


def outside_stages(runs: Sequence[RunNote], size: int) -> float:
    """Return the seconds that a run of this size takes besides its stages: to look at the sources, mostly."""
    rest = [run.seconds - sum(one.seconds for one in run.stages.values()) for run in alike(runs, size) if run.stages]
    return max(0.0, statistics.median(rest[:ALIKE])) if rest else 0.0


def bytes_of(runs: Sequence[RunNote], size: int) -> int | None:
    """Return how many bytes of shards and index files a run of this size writes; None where nothing is known."""
    if not size:
        return 0
    written = [
        run.bytes_written / max(run.stages[name].made for name in SIZE if name in run.stages)
        for run in alike(runs, size)
        if run.bytes_written and run.stages
    ]
    return round(statistics.median(written[:ALIKE]) * size) if written else None


def _stage(near: Sequence[RunNote], runs: Sequence[RunNote], stage: str, units: int) -> Estimated | None:
    if not units:
        idle = [one for one in _times(near, stage) + _times(runs, stage) if not one.made][:ALIKE]
        least = min(idle, key=lambda one: one.seconds, default=StageTime(made=0, seconds=0.0))
        known = bool(_times(runs, stage))
        return Estimated(seconds=least.seconds, cpu_s=least.cpu_s) if known else None
    busy = [one for one in _times(near, stage) if one.made] or [one for one in _times(runs, stage) if one.made]
    if not busy:
        return None
    a_unit = [(one.seconds / one.made, one.cpu_s / one.made) for one in busy[:ALIKE]]
    seconds, cpu_s = (statistics.median(column) * units for column in zip(*a_unit, strict=True))
    return Estimated(seconds=seconds, cpu_s=cpu_s)


def _times(runs: Sequence[RunNote], stage: str) -> list[StageTime]:
    return [run.stages[stage] for run in runs if stage in run.stages]
