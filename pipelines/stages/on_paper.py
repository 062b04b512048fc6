"""What a first run of a given number of rows would cost, stage by stage, before any source is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trichord.infra.config import Project
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.runs import STAGE_ORDER, RunNote
from trichord.pipelines.index.estimate import plan_on_paper
from trichord.pipelines.prepare.estimate import prepare_on_paper

START_CPU_S = 4.0  # of starting workers and their imports, which `records` counts (tests/bench/RESULTS.md)
LEAST_ROWS = 1_000  # in a smaller run what every run costs outweighs its rows
WORKERS_STAGES = ("records", "duplicates", "variants", "features", "agreement", "vectors")  # their work is divided
FLAT = ("gate", "publish")  # they measure a bounded sample; `model` grows, but its work is not divided


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost(Result):
    """What a stage would cost.

    Attributes:
        stage: its name, or `plan`.
        core_hours: CPU hours of all processes; None if nothing is known of it.
        hours: by the clock, on the given cores.
        measured: True if taken from a run on this lake, False if from typical costs.
    """

    stage: str
    core_hours: float | None
    hours: float | None
    measured: bool


def run_on_paper(
    project: Project, runs: Sequence[RunNote], rows: int, *, dimension: int | None = None, cores: int | None = None
) -> dict[str, Any]:
    """Estimate a first run: of each stage the hours, of preparation and index also requests, memory and bytes.

    Stages are scaled from the largest run of this lake that made everything of at least 1,000 rows. Without one,
    planning, preparation and index go by typical costs, and nothing is said of the others.

    Args:
        project: the project.
        runs: what earlier runs took.
        rows: number of rows.
        dimension: dimension of a vector; the model's if None.
        cores: cores at work; the engine's workers if None.

    Returns:
        JSON-ready: what `plan_on_paper` returns for `rows` times the number of indexed views, with `rows`, `vectors`,
        `preparation` (of `prepare_on_paper`), `stages` (`StageCost`, in order), `measured_rows` (of the run that was
        scaled; 0 without one).

    Raises:
        ConfigError: no index meets the targets of section `index`.
    """
    cores = cores or project.engine.workers
    vectors = rows * len(project.index.views)
    index = plan_on_paper(project, vectors, dimension=dimension, cores=cores)
    preparation = prepare_on_paper(project, rows, cores=cores)
    past = max((run for run in runs if run.whole >= LEAST_ROWS), key=lambda run: run.whole, default=None)
    known = {"plan": (preparation["plan_core_hours"], preparation["plan_hours"])}
    if past is None:
        known["records"] = (preparation["prepare_core_hours"], preparation["prepare_hours"])
    known["index"] = (index["core_hours"], index["build_hours"])
    stages = []
    for stage in ("plan", *STAGE_ORDER):
        core_hours, hours = known.get(stage, (None, None))
        measured = stage not in known and past is not None
        if measured and past is not None and stage in past.stages:
            core_hours, hours = _scaled(past, stage, rows, cores)
        stages.append(StageCost(stage=stage, core_hours=core_hours, hours=hours, measured=measured))
    return index | {
        "rows": rows,
        "vectors": vectors,
        "preparation": preparation,
        "stages": [cost.to_dict() for cost in stages],
        "measured_rows": past.whole if past is not None else 0,
    }


def _scaled(past: RunNote, stage: str, rows: int, cores: int) -> tuple[float, float]:
    """Return core hours and hours of a stage."""
    taken = past.stages[stage]
    growth = 1.0 if stage in FLAT else rows / past.whole
    start_s = min(START_CPU_S, taken.cpu_s) if stage == "records" else 0.0
    core_hours = (start_s + growth * (taken.cpu_s - start_s)) / 3_600
    hours = core_hours / cores if stage in WORKERS_STAGES else growth * taken.seconds / 3_600
    return round(core_hours, 4), round(hours, 4)
