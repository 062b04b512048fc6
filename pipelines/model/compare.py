"""compare: a controlled experiment over fusions, losses and amounts of data, on one split and several seeds.

Every cell of the grid trains a model on the same cached features and is measured on the same held-out records, as a
model that is to be published would be. Models stand in the lake under their addresses: a second run trains only what
is new, and an interrupted one resumes.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trichord.infra import log
from trichord.infra.config import Project
from trichord.infra.engines import open_engine
from trichord.infra.engines.base import LONG_S, Done
from trichord.infra.engines.failure import partly_failed
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.pipelines.core.exclusions import Exclusions
from trichord.pipelines.core.model_store import TrainedModel, finished
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.galleries import MODALITIES
from trichord.pipelines.model.encode import featurise
from trichord.pipelines.model.train import TrainItem, TrainTask, train_item
from trichord.pipelines.prepare.job import prepare_lake
from trichord.pipelines.prepare.plan import make_plan

VIEWS = (*MODALITIES, "fused", "mixed", "all_views")
MEASURES = ("recall_at_10", "ndcg_at_10", "retention")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What is compared. `shares` are shares of the training groups: what a method needs in data is a question too."""

    fusions: Sequence[str]
    losses: Sequence[str]
    shares: Sequence[float] = (1.0,)
    seeds: int = 3

    def cells(self) -> Iterator[Cell]:
        """Every combination, the seeds of one setting side by side."""
        for fusion, loss, share in itertools.product(self.fusions, self.losses, self.shares):
            for seed in range(self.seeds):
                yield Cell(fusion=fusion, loss=loss, share=share, seed=seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One training run."""

    fusion: str
    loss: str
    share: float
    seed: int

    def project(self, base: Project) -> Project:
        """The project that this run is of: trained by one worker, for runs share the engine's workers."""
        model = base.model.model_copy(update={"fusion": self.fusion})
        train = base.train.model_copy(update={"loss": self.loss, "seed": self.seed, "workers": 1})
        return base.model_copy(update={"model": model, "train": train})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A cell that is still to be trained."""

    cell: Cell
    project: Project
    item: TrainItem


@dataclass(frozen=True, slots=True)
class CompareTask:
    """Trains the model of one job; tells how long that took."""

    lake: Lake

    def __call__(self, job: Job) -> tuple[TrainedModel, float]:
        started = time.monotonic()
        model = TrainTask(lake=self.lake, project=job.project)(job.item)
        return model, time.monotonic() - started


def compare(workspace: Workspace, grid: Grid) -> dict[str, Any]:
    """Run the experiment.

    Returns:
        JSON-ready: `rows` (fusion, loss, share, view, and of each measure `mean`, `spread` (standard deviation over
        seeds) and `values` by seed), `runs` (a training run each, with `seconds` where it was trained now),
        `held_out`, `seeds`.

    Raises:
        PartialRun: some run failed; a second run trains what is missing.
    """
    with open_engine(workspace.project.engine) as engine:
        done = prepare_lake(workspace, engine, make_plan(workspace))
        exclusions = Exclusions.gather(workspace.lake, done.duplicates)
        features = featurise(workspace, engine, done.prepared)
        found: dict[Cell, tuple[TrainedModel, float | None]] = {}
        jobs = []
        for cell in grid.cells():
            project = cell.project(workspace.project)
            item = train_item(Workspace(project), features, exclusions, share=cell.share)
            if (standing := finished(workspace, layout.model_path(item.address))) is not None:
                found[cell] = standing, None
            else:
                jobs.append(Job(cell=cell, project=project, item=item))
        log.event("compare", runs=len(found) + len(jobs), standing=len(found))
        failures = []
        task = CompareTask(workspace.lake)
        for outcome in engine.map(task, jobs, timeout_s=LONG_S) if jobs else ():
            cell = outcome.item.cell
            if isinstance(outcome, Done):
                found[cell] = outcome.result
                log.event("compared", **asdict(cell), seconds=round(outcome.result[1], 1))
            else:
                failures.append((f"{cell.fusion}/{cell.loss}/{cell.seed}", outcome.failure))
        if failures:
            raise partly_failed(failures, len(found) + len(jobs), len(jobs), "models were not trained")
    stories = {cell: _story(workspace, model) for cell, (model, _) in found.items()}
    rows = [
        {"fusion": fusion, "loss": loss, "share": share, "view": view, **_measured(runs, view)}
        for (fusion, loss, share), runs in _by_setting(grid, stories)
        for view in VIEWS
    ]
    runs = [
        asdict(cell) | {"model": model.path, "seconds": None if seconds is None else round(seconds, 2)}
        for cell, (model, seconds) in sorted(found.items(), key=lambda entry: tuple(asdict(entry[0]).values()))
    ]
    held_out = max((story["held_out"] for story in stories.values()), default=0)
    return {
        "rows": rows,
        "runs": runs,
        "held_out": held_out,
        "seeds": grid.seeds,
    }


def _story(workspace: Workspace, model: TrainedModel) -> dict[str, Any]:
    story: dict[str, Any] = json.loads(workspace.lake.read(model.path, "training.json"))
    return story


def _by_setting(
    grid: Grid, stories: Mapping[Cell, dict[str, Any]]
) -> Iterator[tuple[tuple[str, str, float], list[dict[str, Any]]]]:
    def setting(cell: Cell) -> tuple[str, str, float]:
        return cell.fusion, cell.loss, cell.share

    for found, cells in itertools.groupby(grid.cells(), key=setting):
        yield found, [stories[cell] for cell in cells]


def _measured(stories: Sequence[dict[str, Any]], view: str) -> dict[str, Any]:
    evaluations = [story.get("after") for story in stories]
    return {name: _spread([_value(found, view, name) for found in evaluations if found]) for name in MEASURES}


def _value(evaluation: Mapping[str, Any], view: str, measure: str) -> float | None:
    """A measure of one view as a gallery: the mean over the modalities that can ask it; None where none can."""
    if view == "mixed":
        mixed = evaluation["mixed"]
        return mixed["retention_overall"] if measure == "retention" else mixed[measure]
    if view == "all_views":
        parts = {query: part["recall_at_10"] for query, part in evaluation["all_views"].items() if part}
        cells = [(query, kind, value) for query, part in parts.items() for kind, value in part.items() if kind != query]
        alone = evaluation["recall_at_10"]
        if measure == "recall_at_10":
            return _mean([value for _, _, value in cells])
        if measure == "retention":
            return _mean([v / base for q, kind, v in cells if v is not None and (base := alone[q][kind])])
        return None
    if measure == "retention":
        kept = evaluation["mixed"]["retention"]
        return kept.get(view) if view != "fused" else _mean([kept[form] for form in kept if "+" in form])
    return _mean([cells[view] for query, cells in evaluation[measure].items() if query != view])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _spread(values: Sequence[float | None]) -> dict[str, Any] | None:
    known = [round(value, 6) for value in values if value is not None]
    if not known:
        return None
    spread = statistics.stdev(known) if len(known) > 1 else 0.0
    return {"mean": round(statistics.fmean(known), 6), "spread": round(spread, 6), "values": known}
