"""backfill: fill the lake for another model or recipe beside the live index, then let one reindex switch to it.

Shards are addressed by what made them, so those of the new settings lie beside those that are live: no table changes,
nights and events go on, and the old index answers queries. When all exist, a reindex commits them, builds
and measures the index, and publishes it if the gate passes. Whatever ends a backfill, another one finds what it made.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from trichord.infra import log
from trichord.infra.errors import ConfigError
from trichord.infra.lake import layout
from trichord.infra.lake.presence import at_work
from trichord.infra.lake.publication import Publication
from trichord.infra.lake.shard import find_finished
from trichord.infra.project import project_digest
from trichord.pipelines.core.commits import Uncommitted
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.runs import RunNote, recorded
from trichord.pipelines.core.stage import Stage
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.observe.observers import observing
from trichord.pipelines.ops.try_models import require_models
from trichord.pipelines.prepare.plan import Plan, WantedShard, plan_training, require_source, source_states
from trichord.pipelines.reindex import RunSummary, reindex
from trichord.pipelines.stages.forecast import Forecast
from trichord.pipelines.stages.inputs import inputs_digest
from trichord.pipelines.stages.run import Run
from trichord.transforms.collect.data_files import PARQUET_ENDINGS, TAR_ENDINGS, root_of


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillSummary(Result):
    """What a backfill did.

    Attributes:
        partitions: of all sources.
        prepared: of these, how many are prepared now.
        made: shards of all tables that this command made before the switch.
        seconds: of making them.
        switch: the reindex that published them; None if only a part was asked for, or partitions are still missing.
    """

    partitions: int
    prepared: int
    made: int
    seconds: float
    switch: RunSummary | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of the partitions: of one source and, of its data files, those last written from `since` until `until`.

    Times are seconds since 1970; None is open. The file at `since` is in it, the one at `until` is not.
    """

    source: str | None = None
    since: float | None = None
    until: float | None = None

    @property
    def whole(self) -> bool:
        """Return True if it is all partitions."""
        return self.source is None and self.since is None and self.until is None


def backfill(
    workspace: Workspace, *, window: Window = Window(), accept: Collection[str] = (), switch: bool = True
) -> BackfillSummary:
    """Make every shard that the project wants beside the live index, then gate and switch to it.

    Args:
        workspace: the project with the new settings, on the lake.
        window: prepare and featurise only these partitions; there is a switch once all partitions are prepared.
        accept: names of the gate's checks that may fail.
        switch: if False, only make shards.

    Raises:
        ConfigError: the window names an unknown source, or one whose rows are not in data files, with times.
        GateFailed, PartialRun, CommitConflict: as `reindex`; what was made is kept.
    """
    started = time.monotonic()
    require_models(workspace.project)
    unfinished = layout.backfill_path(project_digest(workspace.project))
    with at_work(workspace.lake, "backfill"):
        workspace.lake.write_if_absent(unfinished, b"")  # from now on `gc` keeps what is made, between attempts too
        with observing(workspace) as observers, recorded(workspace.lake, "backfill", "backfill", observers) as note:
            live = workspace.publications.live()
            note.publication = live.id if live is not None else None
            plan = plan_training(workspace)
            note.sources = source_states(plan)
            part = replace(plan, shards=tuple(_within(workspace, plan, window)))
            made = _make(workspace, part, live, _stages(window.whole), note)
        prepared = len(find_finished(workspace.lake, "records", plan.wanted))
        seconds = round(time.monotonic() - started, 3)
        log.event("backfill_made", partitions=len(plan.shards), prepared=prepared, made=made, seconds=seconds)
        switched = None
        if switch and prepared == len(plan.wanted):
            switched = reindex(workspace, accept=accept, wait=True, trigger="backfill")
            workspace.lake.delete(unfinished)
    return BackfillSummary(partitions=len(plan.shards), prepared=prepared, made=made, seconds=seconds, switch=switched)


def _stages(whole: bool) -> Sequence[Stage[Run, Forecast]]:
    """Return the stages before the index; of a part those that do not need all partitions, as duplicates do."""
    from trichord.pipelines.stages.model import FeaturesOfPart  # heavy imports
    from trichord.pipelines.stages.order import STAGES
    from trichord.pipelines.stages.prepare import Records

    return STAGES[: [stage.name for stage in STAGES].index("index")] if whole else (Records(), FeaturesOfPart())


def _make(
    workspace: Workspace, plan: Plan, live: Publication | None, stages: Sequence[Stage[Run, Forecast]], note: RunNote
) -> int:
    from trichord.pipelines.stages.order import WORKERS_IMPORT, run_stages

    run = Run(workspace=workspace, plan=plan, live=live, inputs=inputs_digest(workspace, plan))
    run.commit = Uncommitted(workspace, plan.recipe)
    with workspace.open_engine(WORKERS_IMPORT) as engine:
        run.engine = engine
        run_stages(run, stages, note)
    features = run.timings.made[layout.FEATURES]
    return features + sum(len(one.made) for one in run.commit.touched)


def _within(workspace: Workspace, plan: Plan, window: Window) -> Iterator[WantedShard]:
    """Yield the shards of a window."""
    if window.source is not None:
        require_source(workspace.project, window.source)
    since, until = window.since or 0.0, window.until if window.until is not None else math.inf
    timed = window.since is not None or window.until is not None
    written: dict[str, float] = {}
    for shard in plan.shards:
        if window.source not in (None, shard.source.name):
            continue
        if not timed:
            yield shard
            continue
        part = shard.partition.part
        if part is None:
            raise ConfigError(
                f"--since and --until choose data files by when they were written, but the rows of source "
                f"{shard.source.name!r} are divided by their keys, not by files.\n"
                "Leave them out, or name a source of Parquet files, tars or a Delta table by --source."
            )
        endings = TAR_ENDINGS if shard.source.kind == "webdataset" else PARQUET_ENDINGS
        uri = workspace.storage.join(root_of(shard.source.path, endings), part.path)
        if uri not in written:
            written[uri] = workspace.storage.stat(uri).mtime_ns / 1e9
        if since <= written[uri] < until:
            yield shard
