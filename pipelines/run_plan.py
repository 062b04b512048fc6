"""plan: what every stage of a reindex would do now. Nothing that readers see changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trichord.pipelines.core.result import Result
from trichord.pipelines.core.runs import RunNote, estimate, last_runs
from trichord.pipelines.core.stage import StagePlan
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.figures import require_figures
from trichord.pipelines.evaluation.holdout import K
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
class RunPlan(Result):
    """What a reindex would do now.

    Attributes:
        unchanged: True if there is nothing to do.
        live: id of the live publication; None before the first.
        sources: what each source holds now.
        rows: rows added, changed and deleted by key, against the live publication.
        stages: in the order in which they run; empty if there is nothing to do.
        seconds: estimated from this lake's earlier runs; None if a stage has none.
        ignored_files: files in folder sources whose extension belongs to no modality.
        warnings: sources of which nothing can be kept, inventories that are old, and what will cost more than it must.
    """

    unchanged: bool
    live: str | None
    sources: tuple[SourcePlan, ...]
    rows: RowChanges
    stages: tuple[StagePlan, ...]
    seconds: float | None
    ignored_files: int
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
    run = Run(workspace=workspace, plan=plan, live=live, inputs=inputs)
    runs = last_runs(workspace.lake)
    stages = () if unchanged else tuple(_timed(stage.wanted(run, forecast), runs) for stage in STAGES)
    seconds = [stage.seconds for stage in stages]
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
        seconds=None if None in seconds else round(sum(one for one in seconds if one is not None), 1),
        ignored_files=plan.ignored,
        warnings=tuple(find_warnings(plan, workspace.project)),
    )


def _timed(plan: StagePlan, runs: Sequence[RunNote]) -> StagePlan:
    return replace(plan, seconds=estimate(runs, plan.stage, plan.to_make))
