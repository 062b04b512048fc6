"""Find the records nearest to queries under the project's ranking, in one pass through model and index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from trichord.encoders.query_model import Embedder
from trichord.encoders.views import MODALITIES, Features
from trichord.index_builders.base import Hits, Scalar, Searcher, check_fields
from trichord.infra.config import QueryConfig
from trichord.infra.errors import ConfigError
from trichord.pipelines.search.fusion import (
    FUSION_DEPTH,
    RankedHit,
    by_quota,
    by_score,
    list_hits,
    rank_fusion,
    rescore,
    score_fusion,
)
from trichord.transforms.batch import Batch


class Opened(Protocol):
    """A model, and the index that was built with it."""

    @property
    def model(self) -> Embedder:
        """Encodes queries."""

    @property
    def searcher(self) -> Searcher:
        """Answers them."""


class Chosen:
    """A searcher restricted to the records of a source or with certain metadata."""

    def __init__(self, searcher: Searcher, source: str | None, where: Mapping[str, Scalar]) -> None:
        """Raises ConfigError if the index lacks a field of `where`."""
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


def nearest(index: Opened, query: Batch, config: QueryConfig, k: int) -> list[RankedHit]:
    """Return `nearest_many` of a single query."""
    return nearest_many(index, query, config, k)[0]


def nearest_many(index: Opened, queries: Batch, config: QueryConfig, k: int) -> list[list[RankedHit]]:
    """Return each of N queries' k best records under the ranking, each once, in the view that ranked it best.

    Raises:
        ConfigError: a quota is for a view that is not indexed, or the model lacks a calibration that the ranking needs.
    """
    return nearest_features(index, index.model.featurise(queries), config, k)


def nearest_features(index: Opened, features: Features, config: QueryConfig, k: int) -> list[list[RankedHit]]:
    """Do as `nearest_many` with what the model's encoders made of N queries."""
    searcher, count = index.searcher, len(features)
    if config.ranking in ("plain", "quota"):
        vectors_ND, _ = index.model.embed(features, "fused")
        if config.ranking == "plain":
            found = searcher.search(vectors_ND, k)
            return [list_hits(found, query) for query in range(count)]
        shares = _shares(config.quotas, searcher.views)
        by_view = {view: searcher.search(vectors_ND, k, view=view) for view in searcher.views}
        return [
            by_quota({view: list_hits(hits, query) for view, hits in by_view.items()}, k, shares)
            for query in range(count)
        ]
    parts = _parts(index.model, features)
    if config.ranking == "calibrated":
        return [by_score(lists, k) for lists in _calibrated(index, parts, config.weights, k)]
    depth = max(k, FUSION_DEPTH)
    lists: list[list[list[RankedHit]]] = [[] for _ in range(count)]
    weights: list[list[float]] = [[] for _ in range(count)]
    for name in MODALITIES:
        asking = [query for query in range(count) if name in parts[query]]
        if not asking:
            continue
        vectors_ND = np.stack([parts[query][name] for query in asking])
        for view in searcher.views:
            hits = searcher.search(vectors_ND, depth, view=view)
            for place, query in enumerate(asking):
                lists[query].append(list_hits(hits, place))
                weights[query].append(config.weights.get(name, 1.0))
    return [
        rank_fusion(of_query, k, constant=config.rank_constant, weights=shares)
        for of_query, shares in zip(lists, weights, strict=True)
    ]


def _parts(model: Embedder, features: Features) -> list[dict[str, np.ndarray]]:
    """Return each query's vectors by part, each (D,)."""
    parts: list[dict[str, np.ndarray]] = [{} for _ in range(len(features))]
    for m, name in enumerate(MODALITIES):
        if features.present[:, m].any():
            vectors_ND, _ = model.embed(features, name)
            for query in np.flatnonzero(features.present[:, m]).tolist():
                parts[query][name] = vectors_ND[query]
    return parts


def _shares(quotas: Mapping[str, float], views: Sequence[str]) -> Mapping[str, float]:
    if missing := sorted(set(quotas) - set(views)):
        raise ConfigError(
            f"query.quotas gives a share to {missing[0]!r}, but the live index holds only {', '.join(views)}.\n"
            "Remove it from query.quotas, or add the view to index.views and run `trichord reindex`."
        )
    return quotas or dict.fromkeys(views, 1 / len(views))


def _calibrated(
    index: Opened, parts: Sequence[Mapping[str, np.ndarray]], weights: Mapping[str, float], k: int
) -> list[list[list[RankedHit]]]:
    """Return each query's hits of each view, scored by the calibration of its parts against the view."""
    lines = {} if index.model.calibration is None else index.model.calibration.lines
    lists: list[list[list[RankedHit]]] = [[] for _ in parts]
    for view in index.searcher.views:
        if unknown := {name: part[name] for part in parts for name in part if (name, view) not in lines}:
            name, vector_D = next(iter(unknown.items()))
            if index.searcher.search(vector_D[None], 1, view=view).keys[0, 0] is None:
                continue  # no record has this view, so no validation record does
            raise ConfigError(
                f"The live model has no calibration of {name} queries against the view {view!r}: too few "
                "validation records have both.\nChoose another ranking (query.ranking), or raise the share "
                "train.validation and run `trichord reindex`."
            )
        probes = [
            score_fusion({name: vector_D[None] for name, vector_D in part.items()},
                         {name: lines[name, view] for name in part}, weights)
            for part in parts
        ]  # fmt: skip
        hits = index.searcher.search(np.concatenate([probe.vector_1D for probe in probes]), k, view=view)
        for query, probe in enumerate(probes):
            lists[query].append(rescore(list_hits(hits, query), probe.scale, probe.offset))
    return lists
