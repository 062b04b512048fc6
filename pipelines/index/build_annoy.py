"""build for Annoy: vectors → one forest per index shard, and the manifest that names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trichord.index_builders.manifest import write_manifest
from trichord.infra import log
from trichord.infra.engines.base import Engine
from trichord.infra.lake.publication import Publication
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.core.model_store import TrainedModel
from trichord.pipelines.core.workspace import Workspace, run_alone
from trichord.pipelines.index.open import ANNOY, import_annoy
from trichord.pipelines.index.shards import Built, live_manifest, make_shards, tune_views
from trichord.pipelines.index.vector_tables import VectorTables

SAMPLE_ROWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseTrees:
    """Chooses the number of trees on a sample."""

    tables: VectorTables
    model: TrainedModel
    rows: int

    def __call__(self, target: float) -> int:
        sample = self.tables.sample(sorted(self.tables.paths), self.rows, SAMPLE_ROWS, self.model)
        return int(import_annoy().choose_trees(sample, target))


def build_annoy(
    workspace: Workspace,
    engine: Engine,
    vectors: Mapping[str, ShardRef],
    model: TrainedModel,
    live: Publication | None,
) -> Built:
    """Build the missing forests, and find how many candidates a search must examine.

    The live index's number of trees is kept while the model is the same, so that a run builds only what changed.

    Raises:
        ConfigError: Annoy is not installed.
        PartialRun: a shard could not be built; a rerun resumes.
    """
    config = workspace.project.index
    rows = sum(ref.rows for ref in vectors.values())
    target = max(config.recall, workspace.project.gate.min_ann_recall)
    tables = VectorTables.of(workspace, vectors)
    held = live_manifest(workspace, live, ANNOY)
    trees = config.trees or (held and held.fingerprint == model.fingerprint and held.params["trees"])
    if not trees:
        trees = run_alone(engine, ChooseTrees(tables=tables, model=model, rows=rows), target) if rows else 1
        log.event("trees_chosen", trees=trees)
    builder = import_annoy().AnnoyBuilder(
        trees=trees,
        dimension=model.dimension,
        fingerprint=model.fingerprint,
        views=tuple(sorted(config.views)),
        metadata=tuple(sorted(config.metadata)),
    )
    shards, made, reused = make_shards(workspace, engine, builder, vectors, config.rows_per_shard)
    manifest = builder.manifest(shards)
    if rows:
        search, _ = tune_views(workspace, engine, tables, manifest, target)
        manifest = builder.manifest(shards, search=search)
    write_manifest(workspace.lake, manifest)
    log.event("forests_built", rows=manifest.rows, trees=trees, made=len(made), reused=len(reused))
    return Built(manifest=manifest, plan=None, made=made, reused=reused)
