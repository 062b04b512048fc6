"""The index in Milvus: workers make import files, and a collection is loaded from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trichord.index_builders.manifest import IndexManifest, read_manifests, write_manifest
from trichord.infra import log
from trichord.infra.engines.base import Engine
from trichord.infra.lake.publication import Pinned, Publication
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.core.model_store import TrainedModel
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.open import MILVUS, place_of, require_place
from trichord.pipelines.index.shards import Built, live_recall, make_shards, tune_views
from trichord.pipelines.index.vector_tables import VectorTables

if TYPE_CHECKING:
    from trichord.index_builders.milvus.builder import MilvusBuilder


def build_milvus(
    workspace: Workspace,
    engine: Engine,
    vectors: Mapping[str, ShardRef],
    model: TrainedModel,
    live: Publication | None,
) -> Built:
    """Make the missing import files on the engine's workers, then fill the collection."""
    from trichord.index_builders.milvus.builder import MilvusBuilder
    from trichord.index_builders.milvus.load import index_params
    from trichord.index_builders.milvus.search import effort_of

    config = workspace.project.milvus
    builder = MilvusBuilder(
        dimension=model.dimension,
        fingerprint=model.fingerprint,
        views=tuple(sorted(workspace.project.index.views)),
        index_type=config.index_type,
        partitions=config.partitions,
        index_params=index_params(config.index_type, dict(config.index_params)),
        prefix=config.prefix,
        metadata=tuple(sorted(workspace.project.index.metadata)),
    )
    shards, made, reused = make_shards(workspace, engine, builder, vectors, config.rows_per_file)
    manifest = _renew(workspace, builder, builder.manifest(shards), live)
    write_manifest(workspace.lake, manifest)
    load(workspace, manifest)
    place = place_of(workspace)
    target = max(workspace.project.index.recall, workspace.project.gate.min_ann_recall)
    known = manifest.search and live_recall(live, MILVUS) >= target
    if manifest.rows and not known and effort_of(config.index_type) and not config.search_params:
        tables = VectorTables.of(workspace, vectors)
        search, _ = tune_views(workspace, engine, tables, manifest, target, place=place)
        manifest = replace(manifest, search=search)
        write_manifest(workspace.lake, manifest)
        load(workspace, manifest)  # records the manifest that will be published
    log.event("collection_built", rows=manifest.rows, made=len(made), reused=len(reused), index=config.index_type)
    return Built(manifest=manifest, plan=None, made=made, reused=reused)


def load(workspace: Workspace, manifest: IndexManifest) -> bool:
    """Make a manifest's collection hold exactly its rows; return True if it changed. Raises as `Loader.ensure`."""
    from trichord.index_builders.milvus.client import connected
    from trichord.index_builders.milvus.load import Loader

    with connected(require_place(place_of(workspace))) as milvus:
        return Loader(workspace.lake, milvus, manifest).ensure()


def milvus_manifests(workspace: Workspace, row: Pinned) -> list[IndexManifest]:
    """Return the manifests of a publication's collections; none if the project does not use Milvus."""
    if place_of(workspace) is None:
        return []
    manifests = read_manifests(workspace.lake, row.manifest, row.manifest_digest)
    return [manifest for manifest in manifests if manifest.kind == MILVUS]


def _recipe(manifest: IndexManifest) -> tuple[Any, ...]:
    """Return what all rows of a collection have in common."""
    params = {name: manifest.params.get(name) for name in ("index_type", "index_params", "partitions")}
    return manifest.fingerprint, params, manifest.metadata


def _renew(
    workspace: Workspace, builder: MilvusBuilder, manifest: IndexManifest, live: Publication | None
) -> IndexManifest:
    """Return the manifest of a new collection or, by `milvus.refresh`, of the live one changed in place."""
    from trichord.index_builders.hashed_files import open_verified
    from trichord.index_builders.milvus.refresh import count_changed_rows

    config = workspace.project.milvus
    held = milvus_manifests(workspace, live) if config.refresh != "new" and live is not None else []
    for standing in held:
        if _recipe(standing) != _recipe(manifest):
            continue  # rows of another space or another index never share a collection
        if standing.shards == manifest.shards:
            return standing
        changed = count_changed_rows(lambda shard: open_verified(workspace.lake, shard.index), standing, manifest)
        if config.refresh == "in_place" or changed <= config.in_place_share * manifest.rows:
            return builder.manifest(manifest.shards, in_place_of=standing.params["collection"])
    return manifest
