"""reindex: the whole pipeline. Brings the lake and the live index up to date with the sources."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from trichord.infra import log
from trichord.infra.lake.lease import leased
from trichord.infra.lake.publication import JsonDict, Publication, RowCounts
from trichord.pipelines.core.commits import Touched, keep_copies
from trichord.pipelines.core.planned import Basis
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.runs import RunNote, recorded
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.figures import require_figures
from trichord.pipelines.evaluation.holdout import K
from trichord.pipelines.observe.observers import observing
from trichord.pipelines.ops.try_models import require_models
from trichord.pipelines.prepare.plan import Plan, plan_training, source_states
from trichord.pipelines.publish.pinned import missing_files
from trichord.pipelines.stages.inputs import inputs_digest, is_wanted
from trichord.transforms.collect.scope import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary(Result):
    """What a reindex did.

    Attributes:
        manifest_digest: digest of the index; equal digests mean equal indexes.
        counts: what became of all rows.
        touched: what changed of each table and of the index.
        publication: id of the live publication; None if the candidate was not published.
        fingerprint: the model's.
        unchanged: True if there was nothing to do.
        evaluation: the figures that the gate checked.
        timings: seconds of encoding, by table.
        stages: of each stage, units made, elapsed seconds, and CPU seconds of all processes on this machine.
        ignored_endings: files that are not read, by their ending.
        seconds: duration.
    """

    manifest_digest: str
    counts: RowCounts
    touched: tuple[Touched, ...]
    publication: str | None
    fingerprint: str
    unchanged: bool
    evaluation: JsonDict
    timings: JsonDict
    stages: JsonDict
    ignored_endings: Mapping[str, int]
    seconds: float

    @property
    def shards_made(self) -> int:
        """Shards that this run made."""
        return sum(len(item.made) for item in self.touched)

    @property
    def shards_reused(self) -> int:
        """Shards that existed already."""
        return sum(item.reused for item in self.touched)

    def to_dict(self) -> JsonDict:
        """Return JSON-ready values; the counts are at the top level."""
        rest = Result.to_dict(self)
        return rest | rest.pop("counts") | {"shards_made": self.shards_made, "shards_reused": self.shards_reused}


def reindex(
    workspace: Workspace,
    *,
    publishing: bool = True,
    accept: Collection[str] = (),
    retrain: bool = False,
    scope: Scope | Sequence[Scope] | None = None,
    wait: bool = False,
    trigger: str = "command",
    planned: Basis | None = None,
) -> RunSummary:
    """Make what is missing, remove what was deleted, measure, and publish.

    Args:
        workspace: the project on its lake.
        publishing: if False, stop after the gate; `trichord publish` can then publish the candidate.
        accept: names of the gate's checks that may fail; the publication records those that did.
        retrain: train even if the live model could be kept, as with `train.policy: always`.
        scope: look only at these rows of a source, or of several; all else is as in the last plan.
        wait: wait for another run on the lake to end.
        trigger: what started the run, for its note.
        planned: what a plan rests on; the run is refused if that is no longer so.

    Raises:
        LeaseTaken: another run is at work on the lake, and `wait` is False; nothing was touched.
        ConfigError: the scope names an unknown source, the gate names an unknown figure, or a check cannot be
            accepted, or the lake has moved on since the plan; nothing was touched.
        GateFailed: the candidate failed the gate, or files of the live model are lost; the old index stays live.
        PartialRun: some partitions or shards failed; a rerun resumes.
        CommitConflict: another run committed in the meantime.
    """
    require_figures(workspace.project.gate, K)
    if retrain:
        from trichord.pipelines.stages.live_model import retraining

        workspace = retraining(workspace)
    lake = workspace.lake
    with (
        observing(workspace) as observers,  # sends what it has to after the lease is given back
        leased(lake, "reindex", wait=wait),
        recorded(lake, "reindex", trigger, observers) as note,
    ):
        return _reindex(workspace, publishing, accept, scope, note, planned)


def _reindex(
    workspace: Workspace,
    publishing: bool,
    accept: Collection[str],
    scope: Scope | Sequence[Scope] | None,
    note: RunNote,
    planned: Basis | None,
) -> RunSummary:
    started = time.monotonic()
    keep_copies(workspace)
    plan = plan_training(workspace, scope)
    note.sources = source_states(plan)
    live = workspace.publications.live()
    note.publication = live.id if live is not None else None
    if accept:
        from trichord.pipelines.publish.accept import known_checks, require_acceptable

        require_acceptable(accept, known_checks(workspace, live))
    wanted = inputs_digest(workspace, plan)
    note.inputs = wanted
    if planned is not None:
        planned.require_same(Basis.of(workspace, live, wanted))
    if live is not None and _nothing_to_do(workspace, live, wanted):
        log.event("unchanged", publication=live.id)
        note.unchanged, note.confirmed, note.counts = True, scope is None, asdict(live.counts)
        if "milvus" in workspace.project.index.backends:
            from trichord.pipelines.index.milvus_collections import follow, make_ready

            make_ready(workspace, live)
            follow(workspace, live)
        return _unchanged(workspace, live, plan, time.monotonic() - started)
    from trichord.pipelines.stages.order import carry_out  # heavy imports, which an unchanged lake does not need

    require_models(workspace.project)
    run = carry_out(workspace, plan, live, wanted, publishing=publishing, accept=accept, note=note)
    if run.published is not None:
        note.publication, note.confirmed = run.published.id, scope is None
    built = run.built
    index = Touched(
        table="index",
        version=None,
        made=built.made,
        reused=len(built.reused),
        removed=built.find_unused(workspace, live),
    )
    return RunSummary(
        manifest_digest=run.candidate.manifest_digest,
        counts=run.counts,
        touched=(*run.commit.touched, index),
        publication=run.published.id if run.published is not None else None,
        fingerprint=run.trained.fingerprint,
        unchanged=False,
        evaluation=run.verdict.evaluation,
        timings=dict(run.timings.summary()),
        stages=dict(run.stages),
        ignored_endings=plan.endings,
        seconds=round(time.monotonic() - started, 3),
    )


def _nothing_to_do(workspace: Workspace, live: Publication, wanted: str) -> bool:
    """Return True if the live publication is up to date and all its files have their sizes (`verify` hashes them)."""
    if not is_wanted(workspace, live, wanted):
        return False
    missing = missing_files(workspace, live)
    if missing:
        log.event("files_missing", publication=live.id, files=len(missing), first=missing[0])
    return not missing


def _unchanged(workspace: Workspace, live: Publication, plan: Plan, seconds: float) -> RunSummary:
    touched = []
    for name, version in live.table_versions.items():
        reused = len(workspace.table(name).shards(version))
        touched.append(Touched(table=name, version=version, made=(), reused=reused, removed=()))
    return RunSummary(
        manifest_digest=live.manifest_digest,
        counts=live.counts,
        touched=tuple(touched),
        publication=live.id,
        fingerprint=live.fingerprint,
        unchanged=True,
        evaluation=live.verdict.evaluation,
        timings={},
        stages={},
        ignored_endings=plan.endings,
        seconds=round(seconds, 3),
    )
