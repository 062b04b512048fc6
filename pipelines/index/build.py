"""The backends of one index: built together, opened alike, and switched by the one commit that publishes.

The manifest that a publication pins is that of the first backend; it names those of the others. Milvus holds a
collection for each manifest of its own. Our readers follow the publication to the collection it names; the alias is for
other readers, and is moved right after the commit. A process that dies between the two leaves the alias on the old
collection, which stands until `gc`; `reindex`, `rollback`, `publish` and `verify` all put it right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trichord.index_builders.manifest import IndexManifest, read_manifests, write_manifest
from trichord.infra import log
from trichord.infra.engines.base import Engine
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.core.model_store import TrainedModel
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.build_annoy import build_annoy
from trichord.pipelines.index.build_faiss import build
from trichord.pipelines.index.open import ANNOY, MILVUS, needed, place_of
from trichord.pipelines.index.shards import Built, live_recall, make_shards, tuned
from trichord.pipelines.index.vector_tables import VectorTables

if TYPE_CHECKING:
    from trichord.index_builders.milvus.builder import MilvusBuilder


def build_backends(
    workspace: Workspace,
    engine: Engine,
    vectors: Mapping[str, ShardRef],
    model: TrainedModel,
    live: dict[str, Any] | None,
) -> Built:
    """Build the index for every backend of `index.backends`, and bind their manifests to the first one's.

    Raises:
        PartialRun: some shard could not be built, or an import is stuck; a rerun resumes.
        ServiceError: a service failed; a rerun resumes.
    """
    makers = {"faiss": build, MILVUS: build_milvus, ANNOY: build_annoy}
    first, *others = [
        makers[name](workspace, engine, vectors, model, live) for name in workspace.project.index.backends
    ]
    if not others:
        return first
    manifest = replace(first.manifest, also=tuple(other.manifest.path for other in others))
    write_manifest(workspace.lake, manifest)
    made, reused = (
        tuple(sorted({address for built in (first, *others) for address in getattr(built, name)}))
        for name in ("made", "reused")
    )
    return replace(first, manifest=manifest, made=made, reused=reused)


def build_milvus(
    workspace: Workspace,
    engine: Engine,
    vectors: Mapping[str, ShardRef],
    model: TrainedModel,
    live: dict[str, Any] | None,
) -> Built:
    """Make the import files that do not stand yet, by the engine's workers, and fill the collection from here."""
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
    manifest = _renewed(workspace, builder, builder.manifest(shards), live)
    write_manifest(workspace.lake, manifest)
    load(workspace, manifest)
    place = place_of(workspace)
    target = max(workspace.project.index.recall, workspace.project.gate.min_ann_recall)
    known = manifest.search and live_recall(live, MILVUS) >= target
    if manifest.rows and not known and effort_of(config.index_type) and not config.search_params:
        tables = VectorTables.of(workspace, vectors)
        search, _ = tuned(workspace, engine, tables, manifest, target, place=place)
        manifest = replace(manifest, search=search)
        write_manifest(workspace.lake, manifest)
        load(workspace, manifest)  # notes the manifest that is published
    log.event("collection_built", rows=manifest.rows, made=len(made), reused=len(reused), index=config.index_type)
    return Built(manifest=manifest, plan=None, made=made, reused=reused)


def _recipe(manifest: IndexManifest) -> tuple[Any, ...]:
    """What all rows of a collection have in common."""
    params = {name: manifest.params.get(name) for name in ("index_type", "index_params", "partitions")}
    return manifest.fingerprint, params, manifest.metadata


def _renewed(
    workspace: Workspace, builder: MilvusBuilder, manifest: IndexManifest, live: dict[str, Any] | None
) -> IndexManifest:
    """The manifest of a collection of its own, or of the live collection changed in place, by `milvus.refresh`."""
    from trichord.index_builders.hashed_files import opened
    from trichord.index_builders.milvus.refresh import changed_rows

    config = workspace.project.milvus
    held = _milvus_manifests(workspace, live) if config.refresh != "new" and live is not None else []
    for standing in held:
        if _recipe(standing) != _recipe(manifest):
            continue  # rows of another space or another index never share a collection
        if standing.shards == manifest.shards:
            return standing
        changed = changed_rows(lambda shard: opened(workspace.lake, shard.index), standing, manifest)
        if config.refresh == "in_place" or changed <= config.in_place_share * manifest.rows:
            return builder.manifest(manifest.shards, in_place_of=standing.params["collection"])
    return manifest


def load(workspace: Workspace, manifest: IndexManifest) -> bool:
    """Make the collection of a manifest hold its rows alone; whether anything was to do. Raises as `Loader.ensure`."""
    from trichord.index_builders.milvus.client import connected
    from trichord.index_builders.milvus.load import Loader

    with connected(needed(place_of(workspace))) as milvus:
        return Loader(workspace.lake, milvus, manifest).ensure()


def make_ready(workspace: Workspace, row: Mapping[str, Any]) -> None:
    """Before the commit: every backend of a publication must hold it. A collection that was dropped is filled again."""
    for manifest in _milvus_manifests(workspace, row):
        load(workspace, manifest)


def follow(workspace: Workspace, row: Mapping[str, Any] | None) -> None:
    """After the commit: let the alias stand for the live publication's collection, and ask through it.

    Where the live publication has no collection the alias is taken away: its readers get an error, not old rows.

    Raises:
        ServiceError: the server fails; the publication is live all the same.
    """
    place = place_of(workspace)
    if place is None or row is None:
        return
    from trichord.index_builders.milvus.builder import collection_of
    from trichord.index_builders.milvus.client import connected
    from trichord.index_builders.milvus.load import Loader

    manifests = _milvus_manifests(workspace, row)
    with connected(place) as milvus:
        standing = milvus.alias_target()
        if not manifests and standing is not None:
            milvus.drop_alias()
            log.event("alias_dropped", alias=place.alias, collection=standing)
        for manifest in manifests:
            collection = collection_of(manifest)
            if standing != collection:
                milvus.set_alias(collection)
                Loader(workspace.lake, milvus, manifest).verify_alias()
                log.event("alias_moved", alias=place.alias, collection=collection)


def _milvus_manifests(workspace: Workspace, row: Mapping[str, Any]) -> list[IndexManifest]:
    if place_of(workspace) is None:
        return []
    manifests = read_manifests(workspace.lake, row["manifest"], row["manifest_digest"])
    return [manifest for manifest in manifests if manifest.kind == MILVUS]
