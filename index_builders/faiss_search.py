"""Searching sharded FAISS: all shards of one manifest, filtered by view, source or any set of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import faiss
import numpy as np
import pyarrow as pa

from index_builders.base import Hits, check_queries, check_space, wanted_rows
from index_builders.faiss_kinds import search_params
from index_builders.faiss_read import plan_of, read_shard_index
from index_builders.files import opened
from index_builders.keys import parse_keys, splits_among
from index_builders.manifest import IndexManifest
from index_builders.tune import ALL, Settings, Tuned, tune
from infra.lake.storage import Storage

START = {"nprobe": 1, "ef_search": 64, "depth": 8}  # until a build has measured what is needed
FEW_QUERIES = 4  # so few are spread over shards, more over the threads inside FAISS
OVER_FETCH = 1.5
FETCHED_A_TIME = 2**24  # candidates of one filtered call of the flat fast scan


class FaissSearcher:
    """A `Searcher` over the shards of one manifest. Made by `open_searcher`."""

    def __init__(self, manifest: IndexManifest, indexes: Sequence[Any], keys: Sequence[pa.Table]) -> None:
        self.fingerprint = manifest.fingerprint
        self.dimension = manifest.dimension
        self.rows = manifest.rows
        self.views = manifest.views
        self.plan = plan_of(manifest)
        self.exact_scores = self.plan.exact_scores
        self.settings = {view: dict(found) for view, found in manifest.search.items()}
        self._shards = [(index, labels) for index, labels in zip(indexes, keys, strict=True) if labels.num_rows]

    def search(
        self,
        queries_ND: np.ndarray,
        k: int,
        *,
        collapse: bool = True,
        view: str | None = None,
        source: str | None = None,
        settings: Mapping[str, int] | None = None,
    ) -> Hits:
        """The k nearest rows of every query over all shards.

        Args:
            queries_ND: float32 (N, D), L2-normalised.
            k: neighbours wanted.
            collapse: a record that is indexed in several views stands once, in its best view.
            view: search the rows of this view alone, with the search parameters that were measured for it.
            source: search the rows of this source alone.
            settings: `nprobe`, `ef_search` or `depth` instead of the manifest's.

        Raises:
            ValueError: k or a setting is below 1, the view is not indexed, or the queries are not (N, D) of unit
                length.
        """
        queries = check_queries(queries_ND, self.dimension)
        if k < 1 or any(value < 1 for value in (settings or {}).values()):
            raise ValueError(f"k is {k}, settings {dict(settings or {})}")
        if view is not None and view not in self.views:
            raise ValueError(f"the index holds the views {', '.join(self.views)}, not {view!r}")
        # a record has a row a view, so k records are among these
        width = k * len(self.views) if collapse and view is None else k
        chosen = START | self.settings.get(view or ALL, {}) | dict(settings or {})

        def one(shard: tuple[Any, pa.Table]) -> Hits:
            index, labels = shard
            wanted = wanted_rows(labels, view, source)
            if wanted is not None and not wanted.any():
                return Hits.none(len(queries))
            scores_NK, rows_NK = self._found(index, queries, min(width, labels.num_rows), chosen, wanted)
            return Hits.of(labels, rows_NK, scores_NK)

        if len(queries) <= FEW_QUERIES < 2 * len(self._shards):
            with ThreadPoolExecutor(min(len(self._shards), faiss.omp_get_max_threads())) as pool:
                parts = list(pool.map(one, self._shards))
        else:
            parts = [one(shard) for shard in self._shards]
        merged = Hits.merge([Hits.none(len(queries)), *parts], width)
        return merged.best_per_key(k) if collapse else merged

    def splits_of(self, keys: Iterable[str]) -> dict[str, str]:
        """The split of each of these keys that is in the index."""
        return splits_among((labels for _, labels in self._shards), keys)

    def tune(self, measure: Callable[[Settings], float], target: float) -> Tuned:
        """The cheapest search parameters whose measured recall reaches the target."""
        return tune(self.plan, measure, target)

    def _found(
        self, index: Any, queries: np.ndarray, k: int, settings: Mapping[str, int], wanted: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        if wanted is None:
            params, _alive = search_params(self.plan, settings, None)
            return index.search(queries, k, params=params)
        if self.plan.selects:
            bits = np.packbits(wanted, bitorder="little")
            selected = faiss.IDSelectorBitmap(bits)  # type: ignore[arg-type, call-arg] # its stubs are of C
            params, _alive = search_params(self.plan, settings, selected)
            return index.search(queries, k, params=params)
        return self._over_fetched(index, queries, k, settings, wanted)

    def _over_fetched(
        self, index: Any, queries: np.ndarray, k: int, settings: Mapping[str, int], wanted: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The flat fast scan leaves no row out while it scans: ask for more, and for all where that is too few."""
        k = min(k, int(wanted.sum()))
        width = min(len(wanted), int(OVER_FETCH * k * len(wanted) / wanted.sum()) + 1)
        step = max(1, FETCHED_A_TIME // (width * settings["depth"]))
        scores, rows = [], []
        for start in range(0, len(queries), step):
            part = queries[start : start + step]
            params, _alive = search_params(self.plan, settings, None)
            scores_NW, rows_NW = index.search(part, width, params=params)
            kept = (rows_NW >= 0) & wanted[rows_NW]
            if width < len(wanted) and (kept.sum(axis=1) < k).any():
                found = self._over_fetched_whole(index, part, k, wanted)
            else:
                found = _first(scores_NW, rows_NW, kept, k)
            scores.append(found[0])
            rows.append(found[1])
        return np.concatenate(scores), np.concatenate(rows)

    def _over_fetched_whole(
        self, index: Any, queries: np.ndarray, k: int, wanted: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        parts = []
        for query in queries:
            params, _alive = search_params(self.plan, START | {"depth": 1}, None)
            scores_1W, rows_1W = index.search(query[None], len(wanted), params=params)
            parts.append(_first(scores_1W, rows_1W, (rows_1W >= 0) & wanted[rows_1W], k))
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _first(scores_NW: np.ndarray, rows_NW: np.ndarray, kept_NW: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    places = np.argsort(~kept_NW, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(kept_NW, places, axis=1)
    rows = np.where(kept, np.take_along_axis(rows_NW, places, axis=1), -1)
    return np.take_along_axis(scores_NW, places, axis=1), rows


def open_searcher(storage: Storage, lake_uri: str, manifest: IndexManifest, fingerprint: str) -> FaissSearcher:
    """Open an index for a client of the space `fingerprint`. FAISS sees no byte before every file was verified.

    Raises:
        FingerprintMismatch: the index is of another space.
        StorageError: a file is missing, damaged, or not the index that the manifest describes.
    """
    check_space(manifest, fingerprint)
    with ExitStack() as stack:
        files = [
            tuple(stack.enter_context(opened(storage, lake_uri, ref)) for ref in (shard.index, shard.keys))
            for shard in manifest.shards
        ]
        indexes, keys = [], []
        for shard, (index_file, keys_file) in zip(manifest.shards, files, strict=True):
            keys.append(parse_keys(keys_file, shard))
            indexes.append(read_shard_index(index_file, shard.index, manifest, shard.rows))
    return FaissSearcher(manifest, indexes, keys)
