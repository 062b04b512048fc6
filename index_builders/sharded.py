"""Searching index shards that are files of the lake: what every backend without a server shares.

Shape letters: N queries, D dimension, K neighbours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from trichord.index_builders.base import Hits, Scalar, check_asked, check_space, wanted_rows
from trichord.index_builders.hashed_files import open_verified
from trichord.index_builders.manifest import IndexManifest, IndexShard
from trichord.index_builders.row_labels import find_partitions, parse_keys
from trichord.index_builders.tune import ALL
from trichord.infra.lake.lake import Lake

Shard = tuple[Any, pa.Table]  # an index of the backend's own type, and what its row numbers mean


class ShardSearcher(ABC):
    """A `Searcher` over the shards of one manifest, among all rows or some; how a shard is searched, a subclass says.

    `start` are the search parameters until a build has measured what is needed.
    """

    start: Mapping[str, int]
    exact_scores: bool

    def __init__(self, manifest: IndexManifest, shards: Iterable[Shard]) -> None:
        self.fingerprint = manifest.fingerprint
        self.dimension = manifest.dimension
        self.rows = manifest.rows
        self.views = manifest.views
        self.metadata = manifest.metadata
        self.settings = {view: dict(found) for view, found in manifest.search.items()}
        self._shards = [(index, labels) for index, labels in shards if labels.num_rows]

    def search(
        self,
        queries_ND: np.ndarray,
        k: int,
        *,
        collapse: bool = True,
        view: str | None = None,
        source: str | None = None,
        where: Mapping[str, Scalar] | None = None,
        settings: Mapping[str, int] | None = None,
    ) -> Hits:
        """Return the k nearest rows of every query over all shards.

        Args:
            queries_ND: float32 (N, D), L2-normalised.
            k: neighbours wanted.
            collapse: list a record of several indexed views once, in its best view.
            view: search the rows of this view alone, with the search parameters that were measured for it.
            source: search the rows of this source alone.
            where: search the rows alone whose metadata have these values (fields of `index.metadata`).
            settings: search parameters instead of the manifest's.

        Raises:
            ValueError: k or a setting is below 1, the view or a field is not indexed, or the queries are not (N, D) of
                unit length.
        """
        queries = check_asked(self, queries_ND, k, view, where, settings)
        # a record has a row a view, so k records are among these
        width = k * len(self.views) if collapse and view is None else k
        chosen = {**self.start} | self.settings.get(view or ALL, {}) | dict(settings or {})

        def one(shard: Shard) -> Hits:
            index, labels = shard
            wanted = wanted_rows(labels, view, source, where)
            if wanted is not None and not wanted.any():
                return Hits.none(len(queries))
            return Hits.of(labels, *self.nearest(index, queries, min(width, labels.num_rows), chosen, wanted))

        found = self.over_shards(one, self._shards, len(queries))
        merged = found[0].first(width) if len(found) == 1 else Hits.merge([Hits.none(len(queries)), *found], width)
        return merged.best_per_key(k) if collapse else merged

    @abstractmethod
    def nearest(
        self, index: Any, queries_ND: np.ndarray, k: int, settings: Mapping[str, int], wanted: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the k nearest rows of one shard, of those that are `wanted` (bool, a row each) if it is given.

        Returns:
            (row numbers, -1 where there is none; their scores), each (N, K), best first.
        """

    def over_shards(self, one: Callable[[Shard], Hits], shards: Sequence[Shard], queries: int) -> list[Hits]:
        """Return the hits of every shard, in their order."""
        return [one(shard) for shard in shards]

    def partitions_of(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the partition of each of these keys that is in the index."""
        return find_partitions((labels for _, labels in self._shards), keys)


def open_shards(
    lake: Lake,
    manifest: IndexManifest,
    fingerprint: str,
    read: Callable[[BinaryIO, IndexShard], Any],
) -> list[Shard]:
    """Open every shard of an index for a client of the space `fingerprint`; `read` sees no byte before all are checked.

    Raises:
        FingerprintMismatch: the index is of another space.
        StorageError: a file is missing, damaged, or not the index that the manifest describes.
    """
    check_space(manifest, fingerprint)
    with ExitStack() as stack:
        files = [
            tuple(stack.enter_context(open_verified(lake, ref)) for ref in (shard.index, shard.keys))
            for shard in manifest.shards
        ]
        return [
            (read(index_file, shard), parse_keys(keys_file, shard))
            for shard, (index_file, keys_file) in zip(manifest.shards, files, strict=True)
        ]
