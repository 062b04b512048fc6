"""Searching sharded FAISS: all shards of one manifest, filtered by view, source or any set of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from types import MappingProxyType
from typing import Any, BinaryIO

import faiss
import numpy as np

from trichord.index_builders.base import Hits
from trichord.index_builders.faiss_kinds import search_params
from trichord.index_builders.faiss_read import plan_of, read_shard_index
from trichord.index_builders.manifest import IndexManifest, IndexShard
from trichord.index_builders.sharded import Shard, ShardSearcher, open_shards
from trichord.index_builders.tune import Settings, Tuned, tune
from trichord.infra.lake.lake import Lake

FEW_QUERIES = 4  # so few are spread over shards, more over the threads inside FAISS
OVER_FETCH = 1.5
FETCHED_A_TIME = 2**24  # candidates of one filtered call of the flat fast scan


class FaissSearcher(ShardSearcher):
    """A `Searcher` over FAISS shards. Made by `open_searcher`. Settings: `nprobe`, `ef_search` or `depth`."""

    start = MappingProxyType({"nprobe": 1, "ef_search": 64, "depth": 8})

    def __init__(self, manifest: IndexManifest, shards: Iterable[Shard]) -> None:
        super().__init__(manifest, shards)
        self.plan = plan_of(manifest)
        self.exact_scores = self.plan.exact_scores

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        """Threads for few queries, kept: starting them takes longer than most searches."""
        return ThreadPoolExecutor(max(1, min(len(self._shards), faiss.omp_get_max_threads())))

    def over_shards(self, one: Callable[[Shard], Hits], shards: Sequence[Shard], queries: int) -> list[Hits]:
        """See `ShardSearcher`; few queries have a thread a shard."""
        if queries <= FEW_QUERIES < 2 * len(shards):
            return list(self._pool.map(one, shards))
        return super().over_shards(one, shards, queries)

    def tune(self, measure: Callable[[Settings], float], target: float) -> Tuned:
        """Return the cheapest search parameters whose measured recall reaches the target."""
        return tune(self.plan, measure, target)

    def nearest(
        self, index: Any, queries_ND: np.ndarray, k: int, settings: Mapping[str, int], wanted: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `ShardSearcher`."""
        if wanted is not None and not self.plan.selects:
            return self._over_fetched(index, queries_ND, k, settings, wanted)
        selected = None
        if wanted is not None:
            bits = np.packbits(wanted, bitorder="little")
            selected = faiss.IDSelectorBitmap(bits)  # type: ignore[arg-type, call-arg] # its stubs are of C
        params, _alive = search_params(self.plan, settings, selected)
        scores_NK, rows_NK = index.search(queries_ND, k, params=params)
        return rows_NK, scores_NK

    def _over_fetched(
        self, index: Any, queries: np.ndarray, k: int, settings: Mapping[str, int], wanted: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ask for more rows than wanted, and for all where that is too few: flat fast scan cannot leave rows out."""
        k = min(k, int(wanted.sum()))
        width = min(len(wanted), int(OVER_FETCH * k * len(wanted) / wanted.sum()) + 1)
        step = max(1, FETCHED_A_TIME // (width * settings["depth"]))
        parts = []
        for start in range(0, len(queries), step):
            part = queries[start : start + step]
            params, _alive = search_params(self.plan, settings, None)
            scores_NW, rows_NW = index.search(part, width, params=params)
            kept = (rows_NW >= 0) & wanted[rows_NW]
            if width < len(wanted) and (kept.sum(axis=1) < k).any():
                parts.append(self._over_fetched_whole(index, part, k, wanted))
            else:
                parts.append(_first(rows_NW, scores_NW, kept, k))
        return _joined(parts)

    def _over_fetched_whole(
        self, index: Any, queries: np.ndarray, k: int, wanted: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        parts = []
        for query in queries:
            params, _alive = search_params(self.plan, {**self.start, "depth": 1}, None)
            scores_1W, rows_1W = index.search(query[None], len(wanted), params=params)
            parts.append(_first(rows_1W, scores_1W, (rows_1W >= 0) & wanted[rows_1W], k))
        return _joined(parts)


def _joined(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([scores for _, scores in parts])


def _first(rows_NW: np.ndarray, scores_NW: np.ndarray, kept_NW: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    places = np.argsort(~kept_NW, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(kept_NW, places, axis=1)
    rows = np.where(kept, np.take_along_axis(rows_NW, places, axis=1), -1)
    return rows, np.take_along_axis(scores_NW, places, axis=1)


def open_searcher(lake: Lake, manifest: IndexManifest, fingerprint: str) -> FaissSearcher:
    """Open an index for a client of the space `fingerprint`. FAISS sees no byte before every file was verified.

    Raises:
        FingerprintMismatch: the index is of another space.
        StorageError: a file is missing, damaged, or not the index that the manifest describes.
    """

    def read(file: BinaryIO, shard: IndexShard) -> Any:
        return read_shard_index(file, shard.index, manifest, shard.rows)

    return FaissSearcher(manifest, open_shards(lake, manifest, fingerprint, read))
