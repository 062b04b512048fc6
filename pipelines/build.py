"""build: vectors → index shards and the manifest that binds them. Only shards whose vectors changed are built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from index_builders.base import IndexBuilder
from index_builders.choose import IndexPlan, choose, choose_nprobe, group_shards
from index_builders.faiss_sharded import FaissBuilder, open_searcher, put_quantiser
from index_builders.files import stands
from index_builders.manifest import IndexManifest, IndexShard, Quantiser, read_manifest, write_manifest
from index_builders.vectors import stratified_sample
from infra import log
from infra.engines.base import Done, Engine
from infra.errors import PartialRun, StorageError
from infra.lake.shard import ShardRef, read_shard
from infra.lake.storage import Storage
from pipelines.measure import exact_probes
from pipelines.train import TrainedModel
from pipelines.workspace import Workspace, run_alone

NPROBE_QUERIES = 200


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

    def __call__(self, addresses: Sequence[str]) -> Iterator[pa.Table]:
        for address in addresses:
            yield read_shard(self.storage, self.lake, self.paths[address])


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildTask:
    """Makes one index shard."""

    tables: VectorTables
    builder: IndexBuilder

    def __call__(self, inputs: tuple[str, ...]) -> IndexShard:
        return self.builder.build(self.tables.storage, self.tables.lake, inputs, self.tables(inputs))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainQuantiser:
    """Trains the cells that all shards share, on a sample over source and view."""

    tables: VectorTables
    model: TrainedModel
    rows: int
    seed: int

    def __call__(self, plan: IndexPlan) -> Quantiser:
        assert plan.nlist is not None
        sample = stratified_sample(
            self.tables(sorted(self.tables.paths)),
            rows=self.rows,
            wanted=plan.sample_rows,
            dimension=self.model.dimension,
            fingerprint=self.model.fingerprint,
        )
        return put_quantiser(self.tables.storage, self.tables.lake, sample, plan.nlist, self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseNprobe:
    """Finds the fewest cells to search that reach the recall the gate asks for, with a little to spare."""

    tables: VectorTables
    target: float

    def __call__(self, manifest: IndexManifest) -> int:
        probes, truth = exact_probes(self.tables, manifest, NPROBE_QUERIES)
        searcher = open_searcher(self.tables.storage, self.tables.lake, manifest, manifest.fingerprint)
        return choose_nprobe(
            lambda nprobe: searcher.search(probes, 10, collapse=False, nprobe=nprobe),
            truth,
            nlist=manifest.params["nlist"],
            target=min(1.0, self.target + 0.01),
        ).nprobe


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
        live: the live publication; its trained cells are kept while they fit, so that a night touches few shards.

    Raises:
        PartialRun: some shard could not be built; a rerun resumes.
    """
    config = workspace.project.index
    rows = sum(ref.rows for ref in vectors.values())
    plan = choose(rows, model.dimension, config)
    paths = {ref.address: ref.path for ref in vectors.values()}
    tables = VectorTables(storage=workspace.storage, lake=workspace.lake, paths=paths)
    quantiser = None
    if plan.nlist is not None:
        quantiser = _live_quantiser(workspace, plan, model, live)
        if quantiser is None:
            train = TrainQuantiser(tables=tables, model=model, rows=rows, seed=workspace.project.train.seed)
            quantiser = run_alone(engine, train, plan)
    builder = FaissBuilder(
        plan=plan,
        dimension=model.dimension,
        fingerprint=model.fingerprint,
        views=tuple(sorted(config.views)),
        quantiser=quantiser,
    )
    groups = group_shards(((split, ref.rows, ref.address) for split, ref in vectors.items()), config.rows_per_shard)
    wanted = {builder.address(inputs): tuple(sorted(inputs)) for inputs in groups.values()}
    shards = builder.finished(workspace.storage, workspace.lake, wanted)
    reused = tuple(sorted(shards))
    todo = [inputs for address, inputs in wanted.items() if address not in shards]
    for outcome in engine.map(BuildTask(tables=tables, builder=builder), todo) if todo else ():
        if not isinstance(outcome, Done):
            raise PartialRun(
                f"An index shard could not be built ({outcome.kind}): {outcome.detail}\n"
                "Mend the cause and run `trichord reindex` again: it resumes."
            )
        shards[outcome.result.address] = outcome.result
        log.event("index_shard_built", address=outcome.result.address, rows=outcome.result.rows)
    manifest = builder.manifest(shards.values(), nprobe=config.nprobe)
    if quantiser is not None and config.nprobe is None:
        chosen = run_alone(engine, ChooseNprobe(tables=tables, target=workspace.project.gate.min_ann_recall), manifest)
        manifest = builder.manifest(shards.values(), nprobe=chosen)
    write_manifest(workspace.storage, workspace.lake, manifest)
    log.event("index_built", rows=manifest.rows, made=len(todo), reused=len(reused), reason=plan.reason)
    return Built(manifest=manifest, plan=plan, made=tuple(sorted(set(shards) - set(reused))), reused=reused)


def _live_quantiser(
    workspace: Workspace, plan: IndexPlan, model: TrainedModel, live: dict[str, Any] | None
) -> Quantiser | None:
    manifest = _live_manifest(workspace, live)
    if manifest is None or manifest.quantiser is None or manifest.fingerprint != model.fingerprint:
        return None
    same = manifest.params.get("nlist") == plan.nlist
    return manifest.quantiser if same and stands(workspace.storage, workspace.lake, manifest.quantiser.file) else None


def _live_manifest(workspace: Workspace, live: dict[str, Any] | None) -> IndexManifest | None:
    """The live index's manifest; None where it was lost, which a rebuild mends."""
    if live is None:
        return None
    try:
        return read_manifest(workspace.storage, workspace.lake, live["manifest"], live["manifest_digest"])
    except StorageError as lost:
        log.event("live_manifest_lost", detail=str(lost))
        return None
