"""build: vectors → codes → index shards and the manifest that binds them. Only what changed is encoded and merged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from index_builders.choose import choose, group_shards
from index_builders.exact import recall_at_k
from index_builders.faiss_search import ALL, open_searcher
from index_builders.faiss_sharded import FaissBuilder, measured_error, put_quantiser
from index_builders.files import FileRef, stands
from index_builders.kinds import IndexPlan
from index_builders.manifest import IndexManifest, IndexShard, Quantiser, read_manifest, write_manifest
from index_builders.tune import Settings, tune
from index_builders.vectors import stratified_sample
from infra import log
from infra.engines.base import Done, Engine
from infra.errors import PartialRun, StorageError, told
from infra.lake.shard import ShardRef, read_shard
from infra.lake.storage import Storage
from pipelines.train import TrainedModel
from pipelines.truth import K, exact_probes
from pipelines.workspace import Workspace, run_alone

TUNING_QUERIES = 200
DRIFT_SHARDS, DRIFT_ROWS = 8, 1_000
RETUNED_SHARE = 0.1  # of new rows from which a night looks again how hard it must search
FAILED = "An index shard could not be built"
SPARE = 0.01  # what tuning aims at above the target: the gate asks other queries


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A candidate index. `made` and `reused` hold addresses of index shards; a Milvus collection has no plan."""

    manifest: IndexManifest
    plan: IndexPlan | None
    made: tuple[str, ...]
    reused: tuple[str, ...]

    def no_longer(self, workspace: Workspace, live: dict[str, Any] | None) -> tuple[str, ...]:
        """Addresses of the live index's shards that this one does without."""
        before = _live_manifest(workspace, live)
        gone = {shard.address for shard in before.shards} if before else set()
        return tuple(sorted(gone - {shard.address for shard in self.manifest.shards}))


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorTables:
    """Reads vectors shards by address, one table at a time; travels to workers as paths."""

    storage: Storage
    lake: str
    paths: Mapping[str, str]

    def __call__(self, addresses: Sequence[str], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        for address in addresses:
            yield read_shard(self.storage, self.lake, self.paths[address], columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeTask:
    """Makes the codes of one vector shard."""

    tables: VectorTables
    builder: FaissBuilder

    def __call__(self, vectors: str) -> tuple[str, FileRef]:
        [table] = self.tables([vectors])
        return vectors, self.builder.encode(self.tables.storage, self.tables.lake, vectors, table)


@dataclass(frozen=True, slots=True)
class Ready:
    """The factory of an actor that needs no making."""

    task: Any

    def __call__(self) -> Any:
        return self.task


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildTask:
    """Merges one index shard."""

    tables: VectorTables
    builder: FaissBuilder

    def __call__(self, item: tuple[tuple[str, ...], dict[str, FileRef]]) -> IndexShard:
        inputs, blocks = item
        tables = self.tables(inputs, self.builder.columns)
        return self.builder.build(self.tables.storage, self.tables.lake, inputs, tables, blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainQuantiser:
    """Trains what all shards start from, on a sample over source and view."""

    tables: VectorTables
    model: TrainedModel
    rows: int
    seed: int

    def __call__(self, plan: IndexPlan) -> Quantiser:
        sample = self.sample(sorted(self.tables.paths), self.rows, plan.sample_rows)
        return put_quantiser(self.tables.storage, self.tables.lake, sample, plan, self.seed)

    def sample(self, addresses: Sequence[str], rows: int, wanted: int) -> np.ndarray:
        """Float32 (N, D) of these vector shards."""
        return stratified_sample(
            self.tables(addresses),
            rows=rows,
            wanted=wanted,
            dimension=self.model.dimension,
            fingerprint=self.model.fingerprint,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifted:
    """Whether new vectors fit what the live index was trained with: reads a few of their shards, not the corpus."""

    train: TrainQuantiser
    new: Mapping[str, int]  # rows of the vector shards that the live index does not hold
    max_error_growth: float

    def __call__(self, item: tuple[IndexPlan, Quantiser]) -> bool:
        plan, live = item
        looked = dict(sorted(self.new.items())[:DRIFT_SHARDS])
        sample = self.train.sample(list(looked), sum(looked.values()), DRIFT_ROWS)
        error = measured_error(self.train.tables.storage, self.train.tables.lake, live, plan, sample)
        share = sum(self.new.values()) / self.train.rows
        return live.error * (1 - share) + error * share > live.error * (1 + self.max_error_growth) + 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneSearch:
    """Finds for each view the least effort that reaches the recall wanted, with a little to spare."""

    tables: VectorTables
    target: float
    nprobe: int | None

    def __call__(self, manifest: IndexManifest) -> dict[str, Settings]:
        storage, lake = self.tables.storage, self.tables.lake
        searcher = open_searcher(storage, lake, manifest, manifest.fingerprint)
        found: dict[str, Settings] = {}
        for view in (None, *(manifest.views if len(manifest.views) > 1 else ())):
            if view is not None and not manifest.counts.get(f"view:{view}"):
                continue
            probes = exact_probes(storage, lake, self.tables, manifest, TUNING_QUERIES, view)

            def measure(settings: Settings, view: str | None = view, probes: Any = probes) -> float:
                fixed = settings | ({"nprobe": self.nprobe} if self.nprobe else {})
                hits = searcher.search(probes.queries_ND, K, collapse=False, view=view, settings=fixed)
                return recall_at_k(hits, probes.truth, exact_scores=searcher.plan.exact_scores)

            tuned = tune(searcher.plan, measure, min(1.0, self.target + SPARE))
            found[view or ALL] = tuned.settings | ({"nprobe": self.nprobe} if self.nprobe else {})
            log.event("search_tuned", view=view or ALL, recall=round(tuned.recall, 4), **found[view or ALL])
        return found


def build(
    workspace: Workspace,
    engine: Engine,
    vectors: Mapping[str, ShardRef],
    model: TrainedModel,
    live: dict[str, Any] | None,
) -> Built:
    """Build the index shards that do not stand yet and bind all of them into a manifest.

    Args:
        workspace: the project on its lake.
        engine: where shards are built.
        vectors: vectors shards by split.
        model: the space.
        live: the live publication; what it was trained with is kept while it fits, so that a night touches few shards.

    Raises:
        ConfigError: no index keeps the targets of section `index`.
        PartialRun: some shard could not be built; a rerun resumes.
    """
    config, storage, lake = workspace.project.index, workspace.storage, workspace.lake
    rows = sum(ref.rows for ref in vectors.values())
    target = max(config.recall, workspace.project.gate.min_ann_recall)
    before = _live_manifest(workspace, live)
    plan = choose(rows, model.dimension, config, cores=workspace.project.engine.workers, recall=target)
    log.event("index_planned", **plan.to_json())
    tables = VectorTables(storage=storage, lake=lake, paths={ref.address: ref.path for ref in vectors.values()})
    fits = _fits(workspace, before, plan, model)
    known = {address for shard in before.shards for address in shard.inputs} if before else set()
    new = {ref.address: ref.rows for ref in vectors.values() if ref.address not in known}
    quantiser = None
    if plan.trained and rows:
        train = TrainQuantiser(tables=tables, model=model, rows=rows, seed=workspace.project.train.seed)
        if fits and before is not None and before.quantiser is not None:
            drifted = Drifted(train=train, new=new, max_error_growth=config.max_error_growth)
            if not new or not run_alone(engine, drifted, (plan, before.quantiser)):
                quantiser = before.quantiser
            else:
                log.event("codes_drifted", address=before.quantiser.address)
        if quantiser is None and plan.device == "cuda":
            [quantiser] = made_by(engine, train, [plan], "The index could not be trained", accelerator=True)
        quantiser = quantiser or run_alone(engine, train, plan)
    builder = FaissBuilder(
        plan=plan,
        dimension=model.dimension,
        fingerprint=model.fingerprint,
        views=tuple(sorted(config.views)),
        quantiser=quantiser,
    )
    groups = group_shards(((split, ref.rows, ref.address) for split, ref in vectors.items()), config.rows_per_shard)
    wanted = {builder.address(inputs): tuple(sorted(inputs)) for inputs in groups.values()}
    shards = builder.finished(storage, lake, wanted)
    reused = tuple(sorted(shards))
    todo = [inputs for address, inputs in wanted.items() if address not in shards]
    touched = sorted({address for inputs in todo for address in inputs})
    blocks = builder.blocks(storage, lake, touched)
    missing = [address for address in touched if plan.cached and address not in blocks]
    encode, merge = EncodeTask(tables=tables, builder=builder), BuildTask(tables=tables, builder=builder)
    blocks |= dict(made_by(engine, encode, missing, FAILED, accelerator=plan.device == "cuda"))
    jobs = [(inputs, {a: blocks[a] for a in inputs if a in blocks}) for inputs in todo]
    for shard in made_by(engine, merge, jobs, FAILED):
        shards[shard.address] = shard
        log.event("index_shard_built", address=shard.address, rows=shard.rows)
    manifest = builder.manifest(shards.values())
    steady = fits and before is not None and before.quantiser == quantiser and _recall_of(live) >= target
    if steady and before is not None and sum(new.values()) <= RETUNED_SHARE * rows:
        manifest = builder.manifest(shards.values(), search=before.search)
    elif rows and (plan.nlist or plan.refine or plan.kind == "hnsw"):
        tuning = TuneSearch(tables=tables, target=target, nprobe=config.nprobe if plan.nlist else None)
        manifest = builder.manifest(shards.values(), search=run_alone(engine, tuning, manifest))
    write_manifest(storage, lake, manifest)
    log.event("index_built", rows=manifest.rows, made=len(todo), reused=len(reused), encoded=len(missing))
    return Built(manifest=manifest, plan=plan, made=tuple(sorted(set(shards) - set(reused))), reused=reused)


def made_by(
    engine: Engine, task: Any, items: Sequence[Any], failed: str, *, accelerator: bool = False
) -> Iterator[Any]:
    """What workers, on a GPU if `accelerator`, make of the items.

    Raises:
        TrichordError: the error of ours that a worker met; PartialRun, which begins with `failed`, for any other.
    """
    if not items:
        return
    for outcome in engine.map_actors(Ready(task), items, accelerator=True) if accelerator else engine.map(task, items):
        if not isinstance(outcome, Done):
            partial = PartialRun(
                f"{failed} ({outcome.kind}): {outcome.detail}\n"
                "Mend the cause and run `trichord reindex` again: it resumes."
            )
            raise told(outcome.detail, partial)
        yield outcome.result


def _fits(workspace: Workspace, manifest: IndexManifest | None, plan: IndexPlan, model: TrainedModel) -> bool:
    """Whether the live index is of the kind and space that this one will be, and what it was trained with stands."""
    if manifest is None or manifest.fingerprint != model.fingerprint:
        return False
    if (manifest.kind, dict(manifest.params)) != (plan.kind, plan.params):
        return False
    return manifest.quantiser is None or stands(workspace.storage, workspace.lake, manifest.quantiser.file)


def _recall_of(live: dict[str, Any] | None) -> float:
    """What the gate measured of the live index; 1 where nothing is known, for then nothing speaks against it."""
    checks = json.loads(live["verdict"])["checks"] if live and "verdict" in live else ()
    return next((check["value"] for check in checks if check["name"] == "ann_recall_at_10"), 1.0)


def _live_manifest(workspace: Workspace, live: dict[str, Any] | None) -> IndexManifest | None:
    """The live index's manifest; None where it was lost, which a rebuild mends."""
    if live is None:
        return None
    try:
        return read_manifest(workspace.storage, workspace.lake, live["manifest"], live["manifest_digest"])
    except StorageError as lost:
        log.event("live_manifest_lost", detail=str(lost))
        return None
