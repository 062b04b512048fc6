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
    """How many units a stage made, and in how many seconds."""

    made: int
    seconds: float


def remember(lake: Lake, started_at: str, stages: Mapping[str, StageTime]) -> None:
    """Store the times of a finished run; `started_at` is ISO 8601, UTC."""
    note = {"started_at": started_at, "stages": {name: asdict(one) for name, one in stages.items()}}
    lake.write(layout.run_path(digest.address("run note", note)), digest.canonical_json(note))


def earlier(lake: Lake) -> list[dict[str, StageTime]]:
    """Return the stages' times of the last runs, newest first, without damaged files."""
    found: list[tuple[str, dict[str, StageTime]]] = []
    for stat in lake.list(layout.RUNS):
        try:
            note = cast(Any, parse_json(lake.storage.read(stat.uri, max_bytes=1 << 20)))
            stages = {name: _time_of(one) for name, one in note["stages"].items()}
            found.append((str(note["started_at"]), stages))
        except (FileNotFoundError, TooLarge, ValueError, KeyError, TypeError, AttributeError):
            continue
    return [stages for _, stages in sorted(found, key=lambda run: run[0], reverse=True)[:RUNS]]


def _time_of(stored: Mapping[str, Any]) -> StageTime:
    made, seconds = stored["made"], stored["seconds"]
    if not isinstance(made, int) or not isinstance(seconds, int | float) or made < 0 or not 0 <= seconds < math.inf:
        raise ValueError("not the time of a stage")
    return StageTime(made=made, seconds=seconds)


def estimate(runs: list[dict[str, StageTime]], stage: str, to_make: int) -> float | None:
    """Return seconds that a stage will take, per unit as in earlier runs that made something; None without any.

    With nothing to make, those of the shortest run that made nothing: a longer one waited, or reused a killed run.
    """
    times = [run[stage] for run in runs if stage in run]
    if not times:
        return None
    idle = [one.seconds for one in times if not one.made][:ALIKE]
    busy = [one.seconds / one.made for one in times if one.made][:ALIKE]
    if not to_make:
        return round(min(idle), 1) if idle else 0.0
    return round(statistics.median(busy) * to_make, 1) if busy else None
