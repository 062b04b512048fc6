"""reindex: the whole line. Reconciles the lake and the live index with what the sources hold now."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from trichord.infra import log
from trichord.infra.engines import open_engine
from trichord.infra.lake import schema
from trichord.infra.lake.publication import Candidate, JsonObject, Publication, RowCounts
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.core.commits import Touched
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.holdout import K
from trichord.pipelines.evaluation.whole import require_figures
from trichord.pipelines.prepare.plan import inputs_digest, make_plan
from trichord.pipelines.publish.pinned import missing_files


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary(Result):
    """What a reindex did.

    Attributes:
        manifest_digest: of the index; equal digests are equal indexes.
        counts: what became of all rows.
        touched: what changed of each table and of the index.
        publication: id of the live publication; None where the candidate was not published.
        fingerprint: of the model.
        unchanged: there was nothing to do.
        evaluation: the figures that the gate looked at.
        timings: seconds of encoding, by table.
        seconds: duration.
    """

    manifest_digest: str
    counts: RowCounts
    touched: tuple[Touched, ...]
    publication: str | None
    fingerprint: str
    unchanged: bool
    evaluation: JsonObject
    timings: JsonObject
    seconds: float

    @property
    def shards_made(self) -> int:
        """Shards that this run made."""
        return sum(len(item.made) for item in self.touched)

    @property
    def shards_reused(self) -> int:
        """Shards that were there already."""
        return sum(item.reused for item in self.touched)

    def to_dict(self) -> JsonObject:
        """JSON-ready; the counts beside the rest."""
        rest = Result.to_dict(self)
        return rest | rest.pop("counts") | {"shards_made": self.shards_made, "shards_reused": self.shards_reused}


def reindex(workspace: Workspace, *, publishing: bool = True) -> RunSummary:
    """Make what is missing, remove what is gone, measure, and publish.

    Args:
        workspace: the project on its lake.
        publishing: False stops after the gate and leaves the candidate to `trichord publish`.

    Raises:
        ConfigError: the gate names a figure that no evaluation has; nothing was touched.
        GateFailed: the candidate was refused; the old index stays live.
        PartialRun: some partitions or shards failed; a rerun resumes.
        CommitConflict: another run committed meanwhile.
    """
    started = time.monotonic()
    require_figures(workspace.project.gate, K)
    plan = make_plan(workspace)
    live = workspace.publications.live()
    wanted = inputs_digest(workspace, plan)
    if live is not None and _nothing_to_do(workspace, live, wanted):
        log.event("unchanged", publication=live.id)
        if "milvus" in workspace.project.index.backends:
            from trichord.pipelines.index.milvus_collections import follow, make_ready

            make_ready(workspace, live)
            follow(workspace, live)
        return _unchanged(workspace, live, time.monotonic() - started)
    # what an unchanged lake never pays for: torch, faiss, the engine
    from trichord.pipelines.core.exclusions import Exclusions
    from trichord.pipelines.core.timings import Timings
    from trichord.pipelines.index.build import build_backends
    from trichord.pipelines.index.partition_map import write_partitions
    from trichord.pipelines.index.vector_tables import VectorTables
    from trichord.pipelines.model.augment import augment
    from trichord.pipelines.model.encode import encode, featurise
    from trichord.pipelines.model.pair_agreement import Disagreement, judge
    from trichord.pipelines.model.train import reuse_live_model, train
    from trichord.pipelines.prepare.job import prepare_lake
    from trichord.pipelines.publish.publish import gate, publish, refuse_rolled_back

    with open_engine(workspace.project.engine) as engine:
        done = prepare_lake(workspace, engine, plan)
        prepared, commit = done.prepared, done.commit
        exclusions = Exclusions.gather(workspace.lake, done.duplicates)
        variants = augment(workspace, engine, prepared, exclusions)
        if variants or workspace.table("augmented").version() is not None:
            commit("augmented", variants, schema.AUGMENTED)
        settings, disagreeing, timings = workspace.project.agreement, list[Disagreement](), Timings()
        model = reuse_live_model(workspace, live)
        features: Mapping[str, ShardRef] = {}
        if model is None or settings.check != "off":
            features = featurise(workspace, engine, prepared, variants, timings=timings)
        if model is None and (settings.check == "off" or not settings.folds):
            model = train(workspace, engine, features, exclusions)
        if settings.check != "off":
            judged, disagreeing = judge(workspace, engine, features, exclusions, model)
            commit("agreement", judged, schema.AGREEMENT)
            log.event("judged", disagreeing=len(disagreeing), check=settings.check)
        elif workspace.table("agreement").version() is not None:
            commit("agreement", [], schema.AGREEMENT)
        left_out = disagreeing if settings.check == "drop" else []
        exclusions = exclusions.with_rows((row.partition, row.row_digest) for row in left_out)
        if model is None:  # judged by other models: this one never sees what was left out
            model = train(workspace, engine, features, exclusions)
        vectors = encode(workspace, engine, prepared, exclusions, features, model, timings=timings)
        commit("vectors", list(vectors.values()), schema.vectors_schema(model.dimension))
        built = build_backends(workspace, engine, vectors, model, live)
        write_partitions(workspace, built.manifest, prepared, plan.shards)
        counts = replace(
            done.counts,
            rows_kept=done.counts.rows_kept - len(left_out),
            rows_disagreeing=len(left_out),
            disagreements=len(disagreeing),
            rows_without_view=sum(ref.counts["without_view"] for ref in vectors.values()),
        )
        candidate = Candidate(
            manifest=built.manifest.path,
            manifest_digest=built.manifest.digest,
            inputs_digest=wanted,
            model=model.path,
            fingerprint=model.fingerprint,
            table_versions=commit.versions,
            counts=counts,
            recipe={"prepare": plan.recipe, "model": workspace.model_settings()},
        )
        verdict = gate(workspace, engine, candidate, live, VectorTables.of(workspace, vectors))
    index = Touched(
        table="index", version=None, made=built.made, reused=len(built.reused), removed=built.no_longer(workspace, live)
    )
    touched = [*commit.touched, index]
    if live is not None and live.manifest_digest == candidate.manifest_digest and live.inputs_digest == wanted:
        row: Publication | None = live  # only files were missing
    elif publishing:
        refuse_rolled_back(workspace, candidate.manifest_digest)
        row = publish(workspace, candidate, verdict)
    else:
        row = None
    return RunSummary(
        manifest_digest=candidate.manifest_digest,
        counts=counts,
        touched=tuple(touched),
        publication=row.id if row else None,
        fingerprint=model.fingerprint,
        unchanged=False,
        evaluation=verdict.evaluation,
        timings=dict(timings.summary()),
        seconds=round(time.monotonic() - started, 3),
    )


def _nothing_to_do(workspace: Workspace, live: Publication, wanted: str) -> bool:
    """Whether the live publication is what is wanted, and all its files stand (`verify` hashes them)."""
    if live.inputs_digest != wanted or workspace.project.train.policy != "reuse":
        return False
    missing = missing_files(workspace, live)
    if missing:
        log.event("files_missing", publication=live.id, files=len(missing), first=missing[0])
    return not missing


def _unchanged(workspace: Workspace, live: Publication, seconds: float) -> RunSummary:
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
        seconds=round(seconds, 3),
    )
