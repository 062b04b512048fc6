"""How long the stages of earlier runs took on this lake: one small file per run, from which plans estimate the next."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from trichord.infra import digest
from trichord.infra.json_values import parse_json
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import TooLarge

RUNS = 200  # the last ones are looked at
ALIKE = 10  # of them, this many count for a stage


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTime:
    """How many units a stage made, in how many seconds, and in how many CPU seconds of all processes."""

    made: int
    seconds: float
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """A finished run.

    Attributes:
        started_at: ISO 8601, UTC.
        stages: what each stage took.
        whole: rows of the sources if the run made everything of them; 0 if it kept any shard of an earlier run.
    """

    started_at: str
    stages: Mapping[str, StageTime]
    whole: int = 0


def remember(lake: Lake, run: PastRun) -> None:
    """Store what a finished run took."""
    note = asdict(run)
    lake.write(layout.run_path(digest.address("run note", note)), digest.canonical_json(note))


def earlier(lake: Lake) -> list[PastRun]:
    """Return the last runs, newest first, without damaged files."""
    found = []
    for stat in lake.list(layout.RUNS):
        try:
            note = cast(Any, parse_json(lake.storage.read(stat.uri, max_bytes=1 << 20)))
            stages = {name: _time_of(one) for name, one in note["stages"].items()}
            whole = int(_amount(note.get("whole", 0)))
            found.append(PastRun(started_at=str(note["started_at"]), stages=stages, whole=whole))
        except (FileNotFoundError, TooLarge, ValueError, KeyError, TypeError, AttributeError):
            continue
    return sorted(found, key=lambda run: run.started_at, reverse=True)[:RUNS]


def _time_of(stored: Mapping[str, Any]) -> StageTime:
    made, seconds, cpu_s = (_amount(stored.get(name, 0)) for name in ("made", "seconds", "cpu_s"))
    return StageTime(made=int(made), seconds=seconds, cpu_s=cpu_s)


def _amount(stored: object) -> float:
    if not isinstance(stored, int | float) or not 0 <= stored < math.inf:
        raise ValueError("not an amount")
    return stored


def estimate(runs: list[PastRun], stage: str, to_make: int) -> float | None:
    """Return seconds that a stage will take, per unit as in earlier runs that made something; None without any.

    With nothing to make, those of the shortest run that made nothing: a longer one waited, or reused a killed run.
    """
    times = [run.stages[stage] for run in runs if stage in run.stages]
    if not times:
        return None
    idle = [one.seconds for one in times if not one.made][:ALIKE]
    busy = [one.seconds / one.made for one in times if one.made][:ALIKE]
    if not to_make:
        return round(min(idle), 1) if idle else 0.0
    return round(statistics.median(busy) * to_make, 1) if busy else None
