"""plan: what every stage of a reindex would do now. Nothing that readers see changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trichord.infra.lake.storage import is_remote
from trichord.pipelines.core.cost import Hours
from trichord.pipelines.core.estimate import SIZE, alike, bytes_of, estimate_stages, outside_stages
from trichord.pipelines.core.planned import Basis
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.runs import RunNote, last_runs
from trichord.pipelines.core.stage import StagePlan
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.figures import require_figures
from trichord.pipelines.evaluation.holdout import K
from trichord.pipelines.ops.languages import find_language_warnings
from trichord.pipelines.ops.try_models import require_models
from trichord.pipelines.prepare.estimate import GETS, HEADS, PUTS
from trichord.pipelines.prepare.plan import find_warnings, plan_training
from trichord.pipelines.publish.pinned import missing_files
from trichord.pipelines.stages.forecast import Forecast, RowChanges
from trichord.pipelines.stages.inputs import inputs_digest, is_wanted
from trichord.pipelines.stages.order import STAGES
from trichord.pipelines.stages.run import Run
from trichord.transforms.collect import FieldCount


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlan(Result):
    """What a source holds now: rows, partitions, how many partitions must be prepared, and how far fields are filled.

    Attributes:
        fields: in how many rows each mapped column is filled; of sources with `fields`, the columns that the data have.
    """

    source: str
    rows: int
    partitions: int
    to_make: int
    kept: int
    fields: tuple[FieldCount, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost(Result):
    """What a reindex would cost, as far as this lake's earlier runs and the project's `rates` allow.

    Attributes:
        bytes: of the shards and index files that it would write; None if no run made about as many.
        core_hours, gpu_hours: None if a stage is unknown.
        requests: to the lake's bucket, `get`, `head` and `put`; empty for a lake in a folder.
        money: in `currency`; None without `rates`.
    """

    bytes: int | None
    core_hours: float | None
    gpu_hours: float | None
    requests: Mapping[str, int]
    money: float | None
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan(Result):
    """What a reindex would do now.

    Attributes:
        unchanged: True if there is nothing to do.
        live: id of the live publication; None before the first.
        sources: what each source holds now.
        rows: rows added, changed and deleted by key, against the live publication.
        stages: in the order in which they run; empty if there is nothing to do.
        seconds: estimated from this lake's earlier runs; None if a stage has none.
        cost: what it would cost.
        basis: what the plan rests on; `reindex --plan` refuses if it is no longer so.
        ignored_files: files of folders and members of tars whose endings are not read.
        ignored_endings: the same by ending, the most frequent first.
        warnings: sources of which nothing can be kept, inventories that are old, what will cost more than it must, and
            settings that do not know a language of the records.
    """

    unchanged: bool
    live: str | None
    sources: tuple[SourcePlan, ...]
    rows: RowChanges
    stages: tuple[StagePlan, ...]
    seconds: float | None
    cost: Cost
    basis: Basis
    ignored_files: int
    ignored_endings: Mapping[str, int]
    warnings: tuple[str, ...] = ()

    @property
    def by_name(self) -> Mapping[str, StagePlan]:
        """The stages by their names."""
        return {stage.stage: stage for stage in self.stages}


def plan_run(workspace: Workspace) -> RunPlan:
    """Ask every stage what it would do.

    Raises:
        ConfigError: a setting does not match the sources or the evaluation's figures.
        SourceError: a source cannot be read.
    """
    require_figures(workspace.project.gate, K)
    plan, live = plan_training(workspace), workspace.publications.live()
    inputs = inputs_digest(workspace, plan)
    forecast = Forecast(workspace, plan, live)
    unchanged = live is not None and is_wanted(workspace, live, inputs) and not missing_files(workspace, live)
    if not unchanged:
        require_models(workspace.project)
    run = Run(workspace=workspace, plan=plan, live=live, inputs=inputs)
    runs = last_runs(workspace.lake)
    planned = () if unchanged else tuple(stage.wanted(run, forecast) for stage in STAGES)
    stages, seconds, cost = _estimated(workspace, planned, runs)
    todo = {shard.address for shard in forecast.to_prepare}
    return RunPlan(
        unchanged=unchanged,
        live=live.id if live is not None else None,
        sources=tuple(
            SourcePlan(
                source=source.name,
                rows=sum(shard.partition.rows for shard in shards),
                partitions=len(shards),
                to_make=sum(shard.address in todo for shard in shards),
                kept=sum(shard.address not in todo for shard in shards),
                fields=found.fields,
            )
            for source, found in zip(workspace.project.sources, plan.sources, strict=True)
            for shards in [[shard for shard in plan.shards if shard.source == source]]
        ),
        rows=forecast.row_changes(),
        stages=stages,
        seconds=seconds,
        cost=cost,
        basis=Basis.of(workspace, live, inputs),
        ignored_files=sum(plan.endings.values()),
        ignored_endings=plan.endings,
        warnings=(*find_warnings(plan, workspace.project), *find_language_warnings(workspace)),
    )


def _estimated(
    workspace: Workspace, planned: Sequence[StagePlan], runs: Sequence[RunNote]
) -> tuple[tuple[StagePlan, ...], float | None, Cost]:
    """Return the stages with their seconds, the seconds of the run, and what it costs."""
    project, to_make = workspace.project, {stage.stage: stage.to_make for stage in planned}
    size = max((to_make.get(name, 0) for name in SIZE), default=0)
    found = estimate_stages(runs, to_make)
    known = {name: one for name, one in found.items() if one is not None}
    whole = len(known) == len(found)
    gpus = max((run.gpus for run in alike(runs, size)), default=0.0)
    hours = Hours.of(known, project.engine, gpus) if whole else None
    requests = _requests(planned) if is_remote(project.lake) else {}
    cost = Cost(
        bytes=bytes_of(runs, size),
        core_hours=round(hours.cores, 4) if hours is not None else None,
        gpu_hours=round(hours.gpus, 4) if hours is not None else None,
        requests=requests,
        money=hours.price(project.rates, sum(requests.values())) if hours is not None else None,
        currency=project.rates.currency,
    )
    stages = tuple(
        replace(stage, seconds=round(one.seconds, 1) if (one := found[stage.stage]) is not None else None)
        for stage in planned
    )
    seconds = round(sum(one.seconds for one in known.values()) + outside_stages(runs, size), 1) if whole else None
    return stages, seconds, cost


def _requests(planned: Sequence[StagePlan]) -> dict[str, int]:
    """Return requests to a bucket: those of preparing partitions, and of every other shard to read, check and write."""
    prepared = sum(stage.to_make for stage in planned if stage.stage == "records")
    others = sum(stage.to_make for stage in planned if stage.unit in ("partitions", "shards")) - prepared
    return {
        "get": GETS * prepared + 2 * others,
        "head": HEADS * prepared + others,
        "put": PUTS * prepared + others,
    }
