"""Build one index on all its backends, which a single commit publishes.

A publication pins the manifest of the first backend, which names the manifests of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from trichord.index_builders.manifest import write_manifest
from trichord.infra.engines.base import Engine
from trichord.infra.lake.publication import Publication
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.core.model_store import TrainedModel
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.build_annoy import build_annoy
from trichord.pipelines.index.build_faiss import build_faiss
from trichord.pipelines.index.build_milvus import build_milvus
from trichord.pipelines.index.open import ANNOY, MILVUS
from trichord.pipelines.index.shards import Built


def build_backends(
    workspace: Workspace,
    engine: Engine,
    vectors: Mapping[str, ShardRef],
    model: TrainedModel,
    live: Publication | None,
) -> Built:
    """Build the index for every backend of `index.backends`, and name their manifests in the first one's.

    Raises:
        PartialRun: a shard could not be built, or an import is stuck; a rerun resumes.
        ServiceError: a service failed; a rerun resumes.
    """
    makers = {"faiss": build_faiss, MILVUS: build_milvus, ANNOY: build_annoy}
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
