"""Open an index on any backend: the one place that knows the backends by name."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from trichord.index_builders.base import TunedSearcher
from trichord.index_builders.manifest import IndexManifest
from trichord.infra.errors import ConfigError, StorageError
from trichord.infra.lake.lake import Lake
from trichord.pipelines.core.workspace import Workspace

if TYPE_CHECKING:
    from trichord.index_builders.milvus.client import MilvusPlace

FAISS, MILVUS, ANNOY = "faiss", "milvus", "annoy"


def place_of(workspace: Workspace) -> MilvusPlace | None:
    """Return where the project's collections are; None if its index has none."""
    if MILVUS not in workspace.project.index.backends:
        return None
    try:
        from trichord.index_builders.milvus.client import MilvusPlace
    except ImportError as missing:
        raise ConfigError(
            f"index.backends names milvus, but its client is not installed ({missing}).\n"
            "Next: pip install 'trichord[milvus]'"
        ) from missing
    return MilvusPlace.of(workspace.project)


def open_backend(lake: Lake, place: MilvusPlace | None, manifest: IndexManifest, fingerprint: str) -> TunedSearcher:
    """Open an index on any backend for a client of the space `fingerprint`. Raises as the backend's opener."""
    if manifest.kind == MILVUS:
        from trichord.index_builders.milvus.builder import collection_of, content_digest
        from trichord.index_builders.milvus.search import MilvusSearcher
        from trichord.index_builders.milvus.state import read_state

        if not read_state(lake, collection_of(manifest)).serves(content_digest(manifest)):
            raise StorageError(
                f"{collection_of(manifest)} was refreshed in place and holds the rows of another publication.\n"
                "Open the live publication, or go back to this one with `trichord rollback`, which fills it again."
            )
        return MilvusSearcher(require_place(place), manifest, fingerprint)
    if manifest.kind == ANNOY:
        return import_annoy().open_annoy(lake, manifest, fingerprint)
    from trichord.index_builders.faiss_search import open_searcher

    return open_searcher(lake, manifest, fingerprint)


def backend_of(manifest: IndexManifest) -> str:
    """Return the name of an index's backend."""
    return manifest.kind if manifest.kind in (MILVUS, ANNOY) else FAISS


def import_annoy() -> ModuleType:
    """Import our Annoy module. Raises ConfigError if Annoy is not installed."""
    try:
        from trichord.index_builders import annoy
    except ImportError as missing:
        raise ConfigError(
            f"The index uses Annoy, which is not installed ({missing}).\nNext: pip install 'trichord[annoy]'"
        ) from missing
    return annoy


def choose_manifest(manifests: tuple[IndexManifest, ...], backend: str | None) -> IndexManifest:
    """Return the manifest of a backend, by default the first one.

    Raises:
        ConfigError: the backend does not hold the publication.
    """
    if backend is None:
        return manifests[0]
    held = {backend_of(manifest): manifest for manifest in manifests}
    if backend not in held:
        raise ConfigError(
            f"The live publication is in {' and '.join(held)}, not in {backend}.\n"
            f"Add {backend} to index.backends and run `trichord reindex`, or search with --backend {next(iter(held))}."
        )
    return held[backend]


def require_place(place: MilvusPlace | None) -> MilvusPlace:
    """Return the place. Raises ConfigError if the project no longer names one."""
    if place is None:
        raise ConfigError(
            "The publication is in Milvus, but index.backends no longer names milvus.\n"
            "Add it again, or go back to a publication without it with `trichord rollback`."
        )
    return place
