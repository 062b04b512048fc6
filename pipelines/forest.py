"""build for Annoy: vectors → a forest for each index shard and the manifest that binds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from index_builders.manifest import IndexManifest, read_manifests, write_manifest
from index_builders.vectors import stratified_sample
from infra import log
from infra.engines.base import Engine
from infra.lake.shard import ShardRef
from pipelines.indexing import Built, TuneSearch, VectorTables, make_shards
from pipelines.opening import ANNOY, forests
from pipelines.train import TrainedModel
from pipelines.workspace import Workspace, run_alone

SAMPLE_ROWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseTrees:
    """Finds on a sample how many trees are worth their time."""

    tables: VectorTables
    model: TrainedModel
    rows: int

    def __call__(self, target: float) -> int:
        sample = stratified_sample(
            self.tables(sorted(self.tables.paths)),
            rows=self.rows,
            wanted=SAMPLE_ROWS,
            dimension=self.model.dimension,
            fingerprint=self.model.fingerprint,
        )
        return int(forests().choose_trees(sample, target))


def build_annoy(
    workspace: Workspace,
    engine: Engine,
    vectors: Mapping[str, ShardRef],
    model: TrainedModel,
    live: dict[str, Any] | None,
) -> Built:
    """Build the forests that do not stand yet, and find how many candidates a search must look at.

    The live index's number of trees is kept as long as its space lives, so a night builds only what changed.

    Raises:
        ConfigError: Annoy is not installed.
        PartialRun: some shard could not be built; a rerun resumes.
    """
    config = workspace.project.index
    rows = sum(ref.rows for ref in vectors.values())
    target = max(config.recall, workspace.project.gate.min_ann_recall)
    tables = VectorTables.of(workspace, vectors)
    held = _live_forests(workspace, live, model)
    trees = config.trees or (held and held.params["trees"])
    if not trees:
        trees = run_alone(engine, ChooseTrees(tables=tables, model=model, rows=rows), target) if rows else 1
        log.event("trees_chosen", trees=trees)
    builder = forests().AnnoyBuilder(
        trees=trees, dimension=model.dimension, fingerprint=model.fingerprint, views=tuple(sorted(config.views))
    )
    shards, made, reused = make_shards(workspace, engine, builder, vectors, config.rows_per_shard)
    manifest = builder.manifest(shards)
    if held is not None and (held.shards, held.params) == (manifest.shards, manifest.params):
        manifest = replace(manifest, search=held.search)
    elif rows:
        found = run_alone(engine, TuneSearch(tables=tables, target=target), manifest)
        manifest = builder.manifest(shards, search=found)
    write_manifest(workspace.storage, workspace.lake, manifest)
    log.event("forests_built", rows=manifest.rows, trees=trees, made=len(made), reused=len(reused))
    return Built(manifest=manifest, plan=None, made=made, reused=reused)


def _live_forests(workspace: Workspace, live: dict[str, Any] | None, model: TrainedModel) -> IndexManifest | None:
    if live is None:
        return None
    held = read_manifests(workspace.storage, workspace.lake, live["manifest"], live["manifest_digest"])
    return next((one for one in held if one.kind == ANNOY and one.fingerprint == model.fingerprint), None)
