"""build: vectors → codes → index shards, and the manifest that names them. Only changed shards are built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from trichord.index_builders.choose import choose
from trichord.index_builders.faiss_sharded import Encoder, FaissBuilder, measure_error, put_quantiser
from trichord.index_builders.hashed_files import FileRef, is_stored
from trichord.index_builders.index_kinds import IndexPlan
from trichord.index_builders.manifest import IndexManifest, IndexShard, Quantiser, write_manifest
from trichord.index_builders.measured import Measured
from trichord.index_builders.tune import ALL
from trichord.infra import log
from trichord.infra.engines.base import Engine
from trichord.infra.errors import ConfigError
from trichord.infra.json_values import JsonObject
from trichord.infra.lake.publication import Publication
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.core.model_store import TrainedModel
from trichord.pipelines.core.workspace import Workspace, run_all, run_alone
from trichord.pipelines.index.measure import measure_vectors
from trichord.pipelines.index.open import FAISS
from trichord.pipelines.index.shards import FAILED, Built, find_existing, live_manifest, live_recall, tune_views
from trichord.pipelines.index.vector_tables import VectorTables, spread

DRIFT_SHARDS, DRIFT_ROWS = 8, 1_000
RECALL_DROP = 0.005  # below the target and the live index's recall: from here on the index is trained again
RETUNED_SHARE = 0.1  # share of new rows from which search parameters are tuned again


@dataclass(frozen=True, kw_only=True)
class EncodeTask:
    """Makes the codes of one vector shard. As an actor it loads the quantiser once, onto a GPU if any."""

    tables: VectorTables
    builder: FaissBuilder

    @cached_property
    def encoder(self) -> Encoder:
        """See `FaissBuilder.encoder`."""
        return self.builder.encoder(self.tables.lake)

    def __call__(self, vectors: str) -> tuple[str, FileRef]:
        [table] = self.tables([vectors])
        return vectors, self.builder.encode(self.tables.lake, vectors, table, self.encoder)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildTask:
    """Merges one index shard."""

    tables: VectorTables
    builder: FaissBuilder

    def __call__(self, item: tuple[tuple[str, ...], dict[str, FileRef]]) -> IndexShard:
        inputs, blocks = item
        tables = self.tables(inputs, self.builder.columns)
        return self.builder.build(self.tables.lake, inputs, tables, blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainQuantiser:
    """Trains the quantiser that all shards share, on a sample over source and view.

    `sampled` maps vectors shards to rows, as chosen by `spread`.
    """

    tables: VectorTables
    model: TrainedModel
    sampled: Mapping[str, int]
    seed: int

    def __call__(self, plan: IndexPlan) -> Quantiser:
        rows = sum(self.sampled.values())
        sample = self.tables.sample(sorted(self.sampled), rows, plan.sample_rows, self.model)
        return put_quantiser(self.tables.lake, sample, plan, self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifted:
    """Tests whether new vectors still suit the live index's quantiser. Reads a few of their shards, not the corpus."""

    train: TrainQuantiser
    rows: int
    new: Mapping[str, int]  # rows of the vector shards that the live index does not hold
    max_error_growth: float

    def __call__(self, item: tuple[IndexPlan, Quantiser]) -> bool:
        plan, live = item
        looked = dict(sorted(self.new.items())[:DRIFT_SHARDS])
        sample = self.train.tables.sample(list(looked), sum(looked.values()), DRIFT_ROWS, self.train.model)
        error = measure_error(self.train.tables.lake, live, plan, sample)
        share = sum(self.new.values()) / self.rows
        return live.error * (1 - share) + error * share > live.error * (1 + self.max_error_growth) + 1e-9


def build_faiss(
    workspace: Workspace,
    engine: Engine,
    vectors: Mapping[str, ShardRef],
    model: TrainedModel,
    live: Publication | None,
) -> Built:
    """Build the missing index shards, and write the manifest that names all shards.

    If an index that was chosen by predictions misses the recall, however hard it is searched, the next is built; the
    manifest keeps what missed, so that later runs begin with what reached it.

    Args:
        workspace: the project on its lake.
        engine: where shards are built.
        vectors: vectors shards by partition.
        model: the model of the vectors.
        live: the live publication; its quantiser is kept while it suits the vectors, so that a run changes few shards.

    Raises:
        ConfigError: no index meets the targets of section `index`.
        PartialRun: a shard could not be built; a rerun resumes.
    """
    rows = sum(ref.rows for ref in vectors.values())
    target = max(workspace.project.index.recall, workspace.project.gate.min_ann_recall)
    before = live_manifest(workspace, live, FAISS)
    if before is not None and before.fingerprint != model.fingerprint:
        before = None
    measured = measure_vectors(workspace, engine, vectors, model, before)
    held = _plan_of(before.kind, before.params) if before else None
    missed = [one for one in before.missed if one["recall"] < target] if before else []
    choose_next = partial(_choose, workspace, rows, model, target, measured, held)
    try:
        plan = choose_next(missed)
    except ConfigError:
        if not missed:
            raise
        missed = []
        plan = choose_next(missed)
    tried: list[_Tried] = []
    while True:
        log.event("index_planned", **plan.to_json())
        made = _Making(workspace=workspace, engine=engine, vectors=vectors, model=model, plan=plan, target=target)
        manifest, reused, recall = made.index(before, live_recall(live, FAISS))
        if recall is None or recall >= target:
            break
        tried.append(_Tried(plan=plan, manifest=manifest, reused=reused, recall=recall))
        try:
            plan = choose_next([*missed, *(one.to_json() for one in tried)])
        except ConfigError:  # no other keeps the targets: the gate judges the best of these
            best = max(tried, key=lambda one: one.recall)
            tried.remove(best)
            plan, manifest, reused = best.plan, best.manifest, best.reused
            break
        log.event("recall_missed", target=target, **tried[-1].to_json())
    missed += [one.to_json() for one in tried]
    manifest = replace(manifest, missed=tuple(missed), measured=measured)
    write_manifest(workspace.lake, manifest)
    new = tuple(sorted({shard.address for shard in manifest.shards} - set(reused)))
    log.event("index_built", rows=manifest.rows, made=len(new), reused=len(reused))
    return Built(manifest=manifest, plan=plan, made=new, reused=reused)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """An index that was built and misses the recall."""

    plan: IndexPlan
    manifest: IndexManifest
    reused: tuple[str, ...]
    recall: float

    def to_json(self) -> JsonObject:
        return {"kind": self.plan.kind, "params": self.plan.params, "recall": round(self.recall, 4)}


def _plan_of(kind: Any, params: Mapping[str, Any]) -> IndexPlan:
    return IndexPlan(kind=kind, **params)


def _choose(
    workspace: Workspace,
    rows: int,
    model: TrainedModel,
    target: float,
    measured: Measured | None,
    live: IndexPlan | None,
    missed: Sequence[Mapping[str, Any]],
) -> IndexPlan:
    """Choose another index than those that missed the target. Raise ConfigError if the settings allow no other."""
    project = workspace.project
    return choose(
        rows,
        model.dimension,
        project.index,
        cores=project.engine.workers,
        recall=target,
        missed=[_plan_of(one["kind"], one["params"]) for one in missed],
        measured=measured,
        live=live,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Making:
    """An index of one plan."""

    workspace: Workspace
    engine: Engine
    vectors: Mapping[str, ShardRef]
    model: TrainedModel
    plan: IndexPlan
    target: float

    def index(
        self, before: IndexManifest | None, recall_before: float
    ) -> tuple[IndexManifest, tuple[str, ...], float | None]:
        """Build the missing shards and measure how hard to search.

        Args:
            before: the live index of this space.
            recall_before: its recall.

        Returns:
            The manifest, the addresses of the shards that existed before, and the recall (None if it was not measured).
        """
        workspace, engine, plan, model = self.workspace, self.engine, self.plan, self.model
        config, rows = workspace.project.index, sum(ref.rows for ref in self.vectors.values())
        tables = VectorTables.of(workspace, self.vectors)
        fits = before if before is not None and _fits(workspace, before, plan) else None
        known = {address for shard in before.shards for address in shard.inputs} if before else set()
        new = {ref.address: ref.rows for ref in self.vectors.values() if ref.address not in known}
        nprobe = config.nprobe if plan.nlist else None
        sampled = spread(self.vectors, plan.read_rows)
        train = TrainQuantiser(tables=tables, model=model, sampled=sampled, seed=workspace.project.train.seed)
        drifted = Drifted(train=train, rows=rows, new=new, max_error_growth=config.max_error_growth)
        kept = _keep_quantiser(engine, drifted, plan, fits) if rows else None
        holds = recall_before >= self.target and sum(new.values()) <= RETUNED_SHARE * rows
        reused: tuple[str, ...] | None = None  # shards from before this build
        while True:
            quantiser = kept
            if plan.trained and rows and kept is None:
                quantiser = _train(engine, train, plan)
            builder = FaissBuilder(
                plan=plan,
                dimension=model.dimension,
                fingerprint=model.fingerprint,
                views=tuple(sorted(config.views)),
                quantiser=quantiser,
                metadata=tuple(sorted(config.metadata)),
            )
            shards, stood = _merge(workspace, engine, builder, self.vectors)
            reused = stood if reused is None else tuple(address for address in stood if address in reused)
            manifest = builder.manifest(shards)
            steady = holds and fits is not None and fits.quantiser == quantiser
            if fits and steady and (nprobe is None or fits.search.get(ALL, {}).get("nprobe") == nprobe):
                return builder.manifest(shards, search=fits.search), reused, None
            if not rows or plan.kind == "flat" or not (plan.tuned or config.kind == "auto"):
                return manifest, reused, None
            search, recall = tune_views(workspace, engine, tables, manifest, self.target, nprobe=nprobe)
            if not plan.tuned:
                return manifest, reused, recall
            if kept is None or nprobe is not None or recall >= min(self.target, recall_before) - RECALL_DROP:
                return builder.manifest(shards, search=search), reused, recall if nprobe is None else None
            log.event("recall_dropped", address=kept.address, recall=round(recall, 4), before=recall_before)
            kept = None


def _keep_quantiser(engine: Engine, drifted: Drifted, plan: IndexPlan, live: IndexManifest | None) -> Quantiser | None:
    """Return the live index's quantiser, or None if it does not suit today's vectors."""
    if live is None or live.quantiser is None:
        return None
    worn: bool = run_alone(engine, drifted, (plan, live.quantiser)) if drifted.new else False
    if worn:
        log.event("codes_drifted", address=live.quantiser.address)
        return None
    return live.quantiser


def _train(engine: Engine, train: TrainQuantiser, plan: IndexPlan) -> Quantiser:
    if plan.device == "cuda":
        [quantiser] = run_all(engine, train, [plan], "The index could not be trained", actors=True, accelerator=True)
        return quantiser
    return run_alone(engine, train, plan)


def _merge(
    workspace: Workspace, engine: Engine, builder: FaissBuilder, vectors: Mapping[str, ShardRef]
) -> tuple[list[IndexShard], tuple[str, ...]]:
    """Encode what changed and merge it; return all index shards, and the addresses of those that existed."""
    lake, plan = workspace.lake, builder.plan
    tables = VectorTables.of(workspace, vectors)
    shards, todo = find_existing(workspace, builder, vectors, workspace.project.index.rows_per_shard)
    reused = tuple(sorted(shards))
    touched = sorted({address for inputs in todo for address in inputs})
    blocks = builder.blocks(lake, touched)
    missing = [address for address in touched if plan.cached and address not in blocks]
    encode, merge = EncodeTask(tables=tables, builder=builder), BuildTask(tables=tables, builder=builder)
    blocks |= dict(run_all(engine, encode, missing, FAILED, actors=True, accelerator=plan.device == "cuda"))
    if missing:
        log.event("codes_made", vector_shards=len(missing))
    jobs = [(inputs, {a: blocks[a] for a in inputs if a in blocks}) for inputs in todo]
    for shard in run_all(engine, merge, jobs, FAILED):
        shards[shard.address] = shard
        log.event("index_shard_built", address=shard.address, rows=shard.rows)
    return list(shards.values()), reused


def _fits(workspace: Workspace, manifest: IndexManifest, plan: IndexPlan) -> bool:
    """Return True if the live index has this kind, and its quantiser is still stored."""
    if (manifest.kind, dict(manifest.params)) != (plan.kind, plan.params):
        return False
    return manifest.quantiser is None or is_stored(workspace.lake, manifest.quantiser.file)
