"""search: a query of text, picture, sound, or any of them together, against the published index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trichord.encoders.base import AUDIO_RATE_HZ
from trichord.encoders.model import FusionModel
from trichord.encoders.views import MODALITIES
from trichord.index_builders.base import Hits, Scalar, Searcher, check_fields
from trichord.index_builders.manifest import read_manifests
from trichord.infra.config import PrepareConfig, QueryConfig
from trichord.infra.errors import ConfigError
from trichord.infra.lake.shard import read_shard
from trichord.pipelines.core.model_store import load_model
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.open import MILVUS, chosen, open_backend, place_of
from trichord.pipelines.index.partition_map import read_partitions
from trichord.pipelines.search.fanout import FanOutSearcher
from trichord.pipelines.search.fusion import (
    FUSION_DEPTH,
    Hit,
    by_quota,
    by_score,
    listed,
    rank_fusion,
    rescored,
    score_fusion,
)
from trichord.transforms.batch import Batch, Row
from trichord.transforms.chain import prepare_chain
from trichord.transforms.op import Threshold, run_chain
from trichord.transforms.record import batch_of, finish


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveIndex:
    """A publication opened for searching. It stays the one it was, whatever is published meanwhile."""

    publication: str
    manifest: str
    model: FusionModel
    searcher: Searcher


def open_live(workspace: Workspace, model: Path | None = None, backend: str | None = None) -> LiveIndex:
    """Open the live publication after verifying every file of it.

    Args:
        workspace: the project on its lake.
        model: folder of another model to encode queries with.
        backend: what answers: faiss, milvus or annoy; the first of those that hold it if None.

    Raises:
        ConfigError: nothing is published, that backend does not hold it, or the engine has no actors to fan out to.
        FingerprintMismatch: `model` is of another space than the index.
        StorageError: a file is missing or damaged.
    """
    live = workspace.publications.live()
    if live is None:
        raise ConfigError("Nothing is published yet. Run `trichord reindex` first.")
    manifests = read_manifests(workspace.lake, live.manifest, live.manifest_digest)
    if model is None:
        loaded = load_model(workspace.lake, live.model, live.fingerprint, workspace.project.model)
    else:
        loaded = FusionModel.load(str(model), workspace.project.model)
    manifest, actors = chosen(manifests, backend), workspace.project.query.fan_out
    if actors and manifest.kind != MILVUS:
        searcher: Searcher = FanOutSearcher(workspace, manifest, loaded.fingerprint, actors)
    else:
        place = place_of(workspace)
        searcher = open_backend(workspace.lake, place, manifest, loaded.fingerprint)
    return LiveIndex(publication=live.id, manifest=live.manifest, model=loaded, searcher=searcher)


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
) -> dict[str, Any]:
    """Find the k records nearest to a query of one part or several, by the ranking of the project's section `query`.

    `source` and `where` (fields of `index.metadata`) choose the records that are looked among.

    Returns:
        JSON-ready: `publication`, `fingerprint`, `ranking` and `hits`, each with `key`, `score` (cosine), `view`,
        `source`, `text`, and with some rankings what it was ranked by: `calibrated`, or `rank_score`.

    Raises:
        ConfigError: there is no query, a part of it cannot be read, the ranking does not fit the index, or it does not
            hold a field of `where`.
    """
    if text is None and image is None and audio is None:
        raise ConfigError("A query needs --text, --image or --audio (or several of them).")
    query = read_query(workspace.project.prepare, text, read_media(image), read_media(audio))
    index, ranking = open_live(workspace, model, backend), workspace.project.query.ranking
    if source is not None or where:
        index = replace(index, searcher=Chosen(index.searcher, source, where or {}))
    found = nearest(index, query, workspace.project.query, k)
    texts = record_texts(workspace, index, [hit.key for hit in found])
    hits = [_told(hit, ranking) | {"text": words} for hit, words in zip(found, texts, strict=True)]
    return {"publication": index.publication, "fingerprint": index.model.fingerprint, "ranking": ranking, "hits": hits}


class Chosen:
    """A searcher among the records of a source, or of certain metadata."""

    def __init__(self, searcher: Searcher, source: str | None, where: Mapping[str, Scalar]) -> None:
        """Raises ConfigError where the index does not hold a field of `where`."""
        try:
            check_fields(searcher.metadata, where)
        except ValueError as unknown:
            raise ConfigError(str(unknown)[0].upper() + str(unknown)[1:] + ".") from unknown
        self._searcher, self._source, self._where = searcher, source, where

    def __getattr__(self, name: str) -> Any:
        return getattr(self._searcher, name)

    def search(self, queries_ND: np.ndarray, k: int, **given: Any) -> Hits:
        """See `Searcher`."""
        return self._searcher.search(queries_ND, k, source=self._source, where=self._where, **given)


def nearest(index: LiveIndex, query: Batch, config: QueryConfig, k: int) -> list[Hit]:
    """The k records that a query of one row finds under the ranking, each once, in the view that ranked it best.

    Raises:
        ConfigError: a quota is of a view that is not indexed, or the model has no calibration of a pair that is asked.
    """
    searcher, features = index.searcher, index.model.featurise(query)
    if config.ranking in ("plain", "quota"):
        vector_1D, _ = index.model.embed(features, "fused")
        if config.ranking == "plain":
            return listed(searcher.search(vector_1D, k))
        shares = _shares(config.quotas, searcher.views)
        return by_quota({view: listed(searcher.search(vector_1D, k, view=view)) for view in searcher.views}, k, shares)
    present = [name for m, name in enumerate(MODALITIES) if features.present[0, m]]
    parts: dict[str, np.ndarray] = {name: index.model.embed(features, name)[0] for name in present}
    if config.ranking == "calibrated":
        return by_score(_calibrated(index, parts, config.weights, k), k)
    depth = max(k, FUSION_DEPTH)
    asked = [(name, view) for name in parts for view in searcher.views]
    return rank_fusion(
        [listed(searcher.search(parts[name], depth, view=view)) for name, view in asked],
        k,
        constant=config.rank_constant,
        weights=[config.weights.get(name, 1.0) for name, _ in asked],
    )


def _shares(quotas: Mapping[str, float], views: Sequence[str]) -> Mapping[str, float]:
    if missing := sorted(set(quotas) - set(views)):
        raise ConfigError(
            f"query.quotas gives a share to {missing[0]!r}, but the live index holds only {', '.join(views)}.\n"
            "Take it out of query.quotas, or index that view: index.views, then `trichord reindex`."
        )
    return quotas or dict.fromkeys(views, 1 / len(views))


def _calibrated(
    index: LiveIndex, parts: Mapping[str, np.ndarray], weights: Mapping[str, float], k: int
) -> list[list[Hit]]:
    lines = {} if index.model.calibration is None else index.model.calibration.lines
    lists = []
    for view in index.searcher.views:
        if unknown := [name for name in parts if (name, view) not in lines]:
            if index.searcher.search(parts[unknown[0]], 1, view=view).keys[0, 0] is None:
                continue  # no record has this view, so none was held out either
            raise ConfigError(
                f"The live model has no calibration of {unknown[0]} queries against the view {view!r}: too few records "
                "of both were held out from training.\nChoose another ranking (query.ranking), or hold out more "
                "(train.held_out, train.held_out_subsets) and run `trichord reindex`."
            )
        probe = score_fusion(parts, {name: lines[name, view] for name in parts}, weights)
        hits = listed(index.searcher.search(probe.vector_1D, k, view=view))
        lists.append(rescored(hits, probe.scale, probe.offset))
    return lists


def _told(hit: Hit, ranking: str) -> dict[str, Any]:
    told = {"key": hit.key, "score": round(hit.cosine, 6), "view": hit.view, "source": hit.source}
    ranked_by = {"calibrated": "calibrated", "rank_fusion": "rank_score"}.get(ranking)
    return told | ({ranked_by: round(hit.score, 6)} if ranked_by else {})


def read_query(config: PrepareConfig, text: str | None, image: bytes | None, audio: bytes | None) -> Batch:
    """Take a query the way a record goes: same decoding, same canonical form, but no threshold.

    Raises:
        ConfigError: a part of it cannot be decoded.
    """
    row = Row(key="query", source="query", text=text)
    raw = Batch(rows=(row,), raw_images=(image,), raw_audios=(audio,))
    batch, _ = run_chain(raw, [op for op in prepare_chain(config) if not isinstance(op, Threshold)])
    for reject in batch.rejects:
        raise ConfigError(f"The query cannot be used: {reject.reason} ({reject.detail}).")
    if not any((batch.rows[0].text, batch.images[0] is not None, batch.waves[0] is not None)):
        raise ConfigError("The query is empty: its text holds no visible character.")
    return batch_of(finish(batch, config), AUDIO_RATE_HZ)


def record_texts(workspace: Workspace, index: LiveIndex, keys: Sequence[str]) -> list[str | None]:
    """The texts of records in the index, in the order of `keys`."""
    partitions = index.searcher.partitions_of(keys)
    paths = read_partitions(workspace, index.manifest)
    found: dict[str, str | None] = {}
    for partition in set(partitions.values()):
        rows = read_shard(workspace.lake, paths[partition], ["key", "text"])
        wanted = [
            key for key in keys if partitions[key] == partition
        ]  # another source's row of this key is another record
        rows = rows.filter(pc.is_in(rows["key"], value_set=pa.array(wanted, pa.string())))
        found |= dict(zip(rows["key"].to_pylist(), rows["text"].to_pylist(), strict=True))
    return [found.get(key) for key in keys]


def read_media(path: Path | None) -> bytes | None:
    """The bytes of a picture or sound that a query holds.

    Raises:
        ConfigError: the file cannot be read.
    """
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
