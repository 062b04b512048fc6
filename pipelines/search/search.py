"""search: search the published index by text, picture, sound, or any combination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trichord.encoders.query_model import Embedder, load_embedder
from trichord.index_builders.base import Scalar, Searcher
from trichord.index_builders.manifest import read_manifests
from trichord.infra.config import PrepareConfig
from trichord.infra.lake.publication import JsonDict, Publication
from trichord.pipelines.core.model_store import load_for_queries, require_sealed
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.open import MILVUS, choose_manifest, open_backend, place_of
from trichord.pipelines.search import records
from trichord.pipelines.search.fanout import FanOutSearcher
from trichord.pipelines.search.fusion import RankedHit
from trichord.pipelines.search.nearest import Chosen, nearest
from trichord.pipelines.search.query import Query, read_queries
from trichord.transforms.batch import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveIndex:
    """A publication opened for searching. Later publications do not change it."""

    publication: str
    manifest: str
    model: Embedder
    searcher: Searcher

    def only(self, source: str | None, where: Mapping[str, Scalar] | None) -> LiveIndex:
        """Return this index restricted to the records of a source or with certain metadata; itself without either.

        Raises:
            ConfigError: the index lacks a field of `where`.
        """
        if source is None and not where:
            return self
        return replace(self, searcher=Chosen(self.searcher, source, where or {}))


def open_live(workspace: Workspace, model: Path | None = None, backend: str | None = None) -> LiveIndex:
    """Verify every file of the live publication, and open it.

    Args:
        workspace: the project on its lake.
        model: folder of another model to encode queries with, of the same space.
        backend: faiss, milvus or annoy; by default the first in the publication.

    Raises:
        ConfigError: nothing is published, the backend does not hold it, or the engine cannot fan out.
        FingerprintMismatch: `model` is of another space than the index.
        StorageError: a file is missing or damaged.
    """
    return open_publication(workspace, workspace.publications.require_live(), model, backend)


def open_publication(
    workspace: Workspace, publication: Publication, model: Path | None = None, backend: str | None = None
) -> LiveIndex:
    """Open a publication as `open_live` opens the live one, and raise the same errors."""
    manifests = read_manifests(workspace.lake, publication.manifest, publication.manifest_digest)
    if model is None:
        require_sealed(workspace.lake, publication)
        loaded = load_for_queries(workspace.lake, publication.model, publication.fingerprint, workspace.project.model)
    else:
        loaded = load_embedder(str(model), workspace.project.model, expected=publication.fingerprint)
    manifest, actors = choose_manifest(manifests, backend), workspace.project.query.fan_out
    if actors and manifest.kind != MILVUS:
        searcher: Searcher = FanOutSearcher(workspace, manifest, loaded.fingerprint, actors)
    else:
        searcher = open_backend(workspace.lake, place_of(workspace), manifest, loaded.fingerprint)
    return LiveIndex(publication=publication.id, manifest=publication.manifest, model=loaded, searcher=searcher)


def search(
    workspace: Workspace,
    *,
    text: str | None,
    image: Path | None,
    audio: Path | None,
    k: int,
    model: Path | None = None,
    backend: str | None = None,
    source: str | None = None,
    where: Mapping[str, Scalar] | None = None,
) -> JsonDict:
    """Find the k records nearest to a query of one part or several, by the project's `query.ranking`.

    Opens the index for this query alone; `Searcher` keeps it open. `source` and `where` (fields of `index.metadata`)
    restrict the search to matching records.

    Returns:
        JSON-ready: `publication`, `fingerprint`, `ranking` and `hits`, each with `key`, `score` (cosine), `view`,
        `source`, `text` and, with some rankings, the score that ranked it: `calibrated` or `rank_score`.

    Raises:
        ConfigError: there is no query, a part of it cannot be read, the ranking does not suit the index, or the index
            lacks a field of `where`.
    """
    query = read_queries(workspace.project.prepare, [Query(text=text, image=image, audio=audio)])
    index, ranking = open_live(workspace, model, backend), workspace.project.query.ranking
    found = nearest(index.only(source, where), query, workspace.project.query, k)
    texts = record_texts(workspace, index, [hit.key for hit in found])
    hits = [_plain(hit, ranking) | {"text": words} for hit, words in zip(found, texts, strict=True)]
    return {"publication": index.publication, "fingerprint": index.model.fingerprint, "ranking": ranking, "hits": hits}


def read_query(config: PrepareConfig, text: str | None, image: bytes | None, audio: bytes | None) -> Batch:
    """Return `read_queries` of a single query."""
    return read_queries(config, [Query(text=text, image=image, audio=audio)])


def record_texts(workspace: Workspace, index: LiveIndex, keys: Sequence[str]) -> list[str | None]:
    """Return the texts of records in the index, in the order of `keys`."""
    return records.record_texts(workspace, index.searcher, index.manifest, keys)


def _plain(hit: RankedHit, ranking: str) -> dict[str, Any]:
    told = {"key": hit.key, "score": round(hit.cosine, 6), "view": hit.view, "source": hit.source}
    name = ranked_by(ranking)
    return told | ({name: round(hit.score, 6)} if name else {})


def ranked_by(ranking: str) -> str | None:
    """Return what a ranking sorts by; None if it is the cosine."""
    return {"calibrated": "calibrated", "rank_fusion": "rank_score"}.get(ranking)
