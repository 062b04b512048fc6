"""compare: a controlled experiment over fusions, losses and amounts of data, on one split and several seeds.

Every cell of the grid trains a model on the same cached features and is measured on the same validation records. Test
records are not looked at: a figure by which a setting was chosen does not measure it. The lake stores models under
their addresses: a second run trains only new ones, and an interrupted run resumes.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from trichord.infra import log
from trichord.infra.config import Project
from trichord.infra.engines.base import LONG_S, Done
from trichord.infra.engines.failure import partly_failed
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.pipelines.core.exclusions import Exclusions
from trichord.pipelines.core.json_objects import read_object
from trichord.pipelines.core.model_store import TrainedModel, finished
from trichord.pipelines.core.protection import protected_from_gc
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.galleries import MODALITIES
from trichord.pipelines.evaluation.parts import parts_of
from trichord.pipelines.evaluation.report import Evaluation
from trichord.pipelines.model.encode import featurise
from trichord.pipelines.model.train import TrainItem, TrainTask, describe_model
from trichord.pipelines.prepare.job import prepare_lake
from trichord.pipelines.prepare.plan import plan_training

VIEWS = (*MODALITIES, "fused", "mixed", "all_views")
MEASURES = ("recall_at_10", "ndcg_at_10", "retention")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What to compare. `shares` are shares of the training groups, which show how much data a method needs."""

    fusions: Sequence[str]
    losses: Sequence[str]
    shares: Sequence[float] = (1.0,)
    seeds: int = 3

    def cells(self) -> Iterator[Cell]:
        """Iterate over every combination, the seeds of one setting together."""
        for fusion, loss, share in itertools.product(self.fusions, self.losses, self.shares):
            for seed in range(self.seeds):
                yield Cell(fusion=fusion, loss=loss, share=share, seed=seed)

    def settings(self) -> Iterator[tuple[tuple[str, str, float], list[Cell]]]:
        """Iterate over (fusion, loss, share) with the cells of each, one a seed."""
        for setting, cells in itertools.groupby(self.cells(), key=lambda cell: (cell.fusion, cell.loss, cell.share)):
            yield setting, list(cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One training run."""

    fusion: str
    loss: str
    share: float
    seed: int

    def project(self, base: Project) -> Project:
        """Return the project of this run. One worker trains it, because runs share the engine's workers."""
        model = base.model.model_copy(update={"fusion": self.fusion})
        train = base.train.model_copy(update={"loss": self.loss, "seed": self.seed, "workers": 1})
        return base.model_copy(update={"model": model, "train": train})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A cell that must be trained."""

    cell: Cell
    project: Project
    item: TrainItem


@dataclass(frozen=True, slots=True)
class CompareTask:
    """Trains the model of one job and measures the seconds."""

    lake: Lake

    def __call__(self, job: Job) -> tuple[TrainedModel, float]:
        started = time.monotonic()
        model = TrainTask(lake=self.lake, project=job.project)(job.item)
        return model, time.monotonic() - started


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One measure over seeds; `spread` is the standard deviation."""

    mean: float
    spread: float
    values: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One setting in one view; None where there is nothing to measure."""

    fusion: str
    loss: str
    share: float
    view: str
    recall_at_10: Spread | None
    ndcg_at_10: Spread | None
    retention: Spread | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One trained model; `seconds` is None if an earlier comparison trained it."""

    fusion: str
    loss: str
    share: float
    seed: int
    model: str
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Result):
    """What a comparison measured."""

    rows: Sequence[Row]
    runs: Sequence[Run]
    validation: int
    seeds: int


@protected_from_gc("compare")
def compare(workspace: Workspace, grid: Grid) -> Comparison:
    """Run the experiment.

    Raises:
        PartialRun: some run failed; a second run trains what is missing.
    """
    with workspace.open_engine() as engine:
        done = prepare_lake(workspace, engine, plan_training(workspace))
        exclusions = Exclusions.gather(workspace.lake, done.duplicates)
        features = featurise(workspace, engine, done.prepared)
        parts = parts_of(workspace, [item.records for item in done.prepared], done.matches)
        found: dict[Cell, tuple[TrainedModel, float | None]] = {}
        jobs = []
        for cell in grid.cells():
            project = cell.project(workspace.project)
            item = describe_model(Workspace(project), features, exclusions, parts, share=cell.share)
            if (existing := finished(workspace, layout.model_path(item.address))) is not None:
                found[cell] = existing, None
            else:
                jobs.append(Job(cell=cell, project=project, item=item))
        log.event("compare", runs=len(found) + len(jobs), existing=len(found))
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
    stories = {cell: read_object(workspace.lake, model.path, "training.json") for cell, (model, _) in found.items()}
    evaluations = {cell: Evaluation.from_dict(one["after"]) for cell, one in stories.items() if "after" in one}
    return Comparison(
        rows=[
            _compare_setting(setting, [evaluations[cell] for cell in cells if cell in evaluations], view)
            for setting, cells in grid.settings()
            for view in VIEWS
        ],
        runs=[
            Run(**asdict(cell), model=model.path, seconds=None if seconds is None else round(seconds, 2))
            for cell, (model, seconds) in sorted(found.items(), key=lambda entry: tuple(asdict(entry[0]).values()))
        ],
        validation=max((story["validation"] for story in stories.values()), default=0),
        seeds=grid.seeds,
    )


def _compare_setting(setting: tuple[str, str, float], evaluations: Sequence[Evaluation], view: str) -> Row:
    fusion, loss, share = setting
    spreads = {name: _spread([_measure(found, view, name) for found in evaluations]) for name in MEASURES}
    return Row(fusion=fusion, loss=loss, share=share, view=view, **spreads)


def _measure(evaluation: Evaluation, view: str, measure: str) -> float | None:
    """Return a measure of one view as a gallery: the mean over the modalities that can ask it; None where none can."""
    if view == "mixed":
        return evaluation.mixed.retention_overall if measure == "retention" else evaluation.mixed.measures[measure]
    if view == "all_views":
        parts = {query: part.recall for query, part in evaluation.all_views.items() if part}
        cells = [(query, kind, value) for query, part in parts.items() for kind, value in part.items() if kind != query]
        if measure == "recall_at_10":
            return _mean([value for _, _, value in cells])
        if measure == "retention":
            alone = {(query, kind): evaluation.cells[query][kind].measures["recall_at_10"] for query, kind, _ in cells}
            return _mean([v / base for query, kind, v in cells if v is not None and (base := alone[query, kind])])
        return None
    if measure == "retention":
        kept = evaluation.mixed.retention
        return kept.get(view) if view != "fused" else _mean([kept[form] for form in kept if "+" in form])
    return _mean([cells[view].measures[measure] for query, cells in evaluation.cells.items() if query != view])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _spread(values: Sequence[float | None]) -> Spread | None:
    known = [round(value, 6) for value in values if value is not None]
    if not known:
        return None
    spread = statistics.stdev(known) if len(known) > 1 else 0.0
    return Spread(mean=round(statistics.fmean(known), 6), spread=round(spread, 6), values=known)
