"""Annoy: a forest of random projection trees for each index shard, built once and mapped by every reader.

A static file that many processes share and that needs no memory of its own (https://github.com/spotify/annoy, by
E. Bernhardsson). Vectors are stored as float32, so scores are true inner products. Shape letters: N queries, D
dimension, K neighbours.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from annoy import AnnoyIndex

from trichord.index_builders.base import check_ascending
from trichord.index_builders.exact import exact_topk, near_queries, shared
from trichord.index_builders.hashed_files import put_hashed, write_receipt
from trichord.index_builders.manifest import IndexManifest, IndexShard, find_finished_shards
from trichord.index_builders.row_labels import check_keys, count_keys, keys_schema, label_rows, write_keys
from trichord.index_builders.sharded import ShardSearcher, open_shards
from trichord.index_builders.tune import Settings, Tuned, least
from trichord.index_builders.vectors import vector_matrix
from trichord.infra import digest
from trichord.infra.errors import StorageError
from trichord.infra.lake.lake import Lake
from trichord.infra.scratch import scratch_folder

KIND, ENDING = "annoy", "annoy"
VERSION = 2  # raise it whenever the same vectors would give other bytes
TREES = (8, 16, 32, 64, 128)
GAIN = 0.75  # twice the trees are worth it if they leave at most this share of the candidates
SEARCH_KS = tuple(2**power for power in range(5, 24))
OVER_FETCH = 1.5
CHUNK = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnoyBuilder:
    """An `IndexBuilder` of forests of `trees` trees each; picklable."""

    trees: int
    dimension: int
    fingerprint: str
    views: tuple[str, ...]
    metadata: tuple[str, ...] = ()  # fields of `meta` that rows can be chosen by

    def address(self, inputs: Sequence[str]) -> str:
        """Return the address of the shard made of these vector shards."""
        recipe = (VERSION, self.trees, self.dimension, self.fingerprint, sorted(self.views), list(self.metadata))
        return digest.address("annoy-shard", *recipe, sorted(inputs))

    def finished(self, lake: Lake, wanted: Mapping[str, Sequence[str]]) -> dict[str, IndexShard]:
        """Return those of the wanted shards (address -> inputs) whose receipt and files exist."""
        return find_finished_shards(lake, wanted)

    def build(self, lake: Lake, inputs: Sequence[str], tables: Iterable[pa.Table]) -> IndexShard:
        """Make one shard. Raise as `IndexBuilder.build`."""
        check_ascending(inputs)
        address, named = self.address(inputs), [keys_schema(self.metadata).empty_table()]
        forest = _forest(self.dimension)
        rows = 0
        for table in tables:
            named.append(label_rows(table, self.metadata))
            for vector in vector_matrix(table, dimension=self.dimension, fingerprint=self.fingerprint):
                forest.add_item(rows, vector)
                rows += 1
        keys = pa.concat_tables(named)
        check_keys(keys, self.views)
        forest.build(self.trees, n_jobs=1)  # one job: equal bytes
        shard = IndexShard(
            address=address,
            index=put_hashed(lake, address, ENDING, lambda write: _save(forest, write)),
            keys=write_keys(lake, address, keys),
            rows=rows,
            inputs=tuple(inputs),
            counts=count_keys(keys),
        )
        write_receipt(lake, shard.to_json())
        return shard

    def manifest(
        self, shards: Iterable[IndexShard], *, search: Mapping[str, Mapping[str, int]] | None = None
    ) -> IndexManifest:
        """Bind shards into one index; `search` holds `search_k` of each view, and of `all`."""
        return IndexManifest(
            kind=KIND,
            params={"trees": self.trees},
            dimension=self.dimension,
            fingerprint=self.fingerprint,
            views=self.views,
            metadata=self.metadata,
            shards=tuple(shards),
            search=search or {},
        )


class AnnoySearcher(ShardSearcher):
    """A `Searcher` over forests. Made by `open_annoy`. `search_k` is the candidates looked at in each shard."""

    exact_scores = True
    start = MappingProxyType({"search_k": 2_048})

    def nearest(
        self, index: Any, queries_ND: np.ndarray, k: int, settings: Mapping[str, int], wanted: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `ShardSearcher`."""
        rows_NK = np.full((len(queries_ND), k), -1)
        scores_NK = np.full((len(queries_ND), k), -np.inf, np.float32)
        for place, query in enumerate(queries_ND):
            rows, distances = _nearest(index, query, k, settings["search_k"], wanted)
            rows_NK[place, : len(rows)] = rows
            scores_NK[place, : len(rows)] = 1 - distances**2 / 2  # of unit vectors
        return rows_NK, scores_NK

    def tune(self, measure: Callable[[Settings], float], target: float) -> Tuned:
        """Return the least `search_k` whose measured recall reaches the target."""
        return least("search_k", SEARCH_KS, {}, measure, target)


def choose_trees(sample_ND: np.ndarray, target: float, k: int = 10, queries: int = 100) -> int:
    """Return how many trees to build: doubled while that leaves at most 3/4 of the candidates that the recall needs.

    Args:
        sample_ND: float32 (N, D), unit rows of the corpus.
        target: recall@k wanted.
        k: neighbours.
        queries: rows of the sample that are asked for, each mixed with another.

    Returns:
        One of 8, 16, 32, 64, 128. Equal for equal samples.
    """
    asked = near_queries(sample_ND[:: max(1, len(sample_ND) // queries)][:queries])
    truth, _ = exact_topk(asked, [sample_ND], k)
    best, before = TREES[0], 0
    for trees in TREES:
        forest = _forest(sample_ND.shape[1])
        for row, vector in enumerate(sample_ND):
            forest.add_item(row, vector)
        forest.build(trees, n_jobs=1)

        def measure(settings: Settings, forest: Any = forest) -> float:
            found = [forest.get_nns_by_vector(query, k, settings["search_k"]) for query in asked]
            return shared(found, truth)

        needed = least("search_k", SEARCH_KS, {}, measure, target).settings["search_k"]
        if before and needed > GAIN * before:
            break
        best, before = trees, needed
    return best


def open_annoy(lake: Lake, manifest: IndexManifest, fingerprint: str) -> AnnoySearcher:
    """Open an index for a client of the space `fingerprint`. Annoy sees no byte before every file was verified.

    Raises:
        FingerprintMismatch: the index is of another space.
        StorageError: a file is missing, damaged, or not the index that the manifest describes.
    """
    return AnnoySearcher(manifest, open_shards(lake, manifest, fingerprint, partial(_read, manifest.dimension)))


def _forest(dimension: int) -> Any:
    forest = AnnoyIndex(dimension, "angular")
    forest.set_seed(dimension)
    return forest


def _save(forest: Any, write: Callable[[bytes], int]) -> None:
    with scratch_folder("index") as folder:
        path = os.path.join(folder, "forest")
        forest.save(path)
        with open(path, "rb") as file:
            shutil.copyfileobj(file, _Writer(write), CHUNK)


@dataclass(frozen=True, slots=True)
class _Writer:
    """What `shutil` takes for a file."""

    write: Callable[[bytes], int]


def _read(dimension: int, file: BinaryIO, shard: IndexShard) -> Any:
    forest = AnnoyIndex(dimension, "angular")
    if shard.rows:
        try:
            forest.load(f"/proc/self/fd/{file.fileno()}")  # the file that was hashed; the mapping outlives the handle
        except OSError as wrong:
            raise StorageError(f"Annoy cannot read {shard.index.path}, made by another version? {wrong}") from wrong
    if forest.get_n_items() != shard.rows:
        raise StorageError(f"{shard.index.path} holds {forest.get_n_items()} vectors; the manifest says {shard.rows}.")
    return forest


def _nearest(
    forest: Any, query: np.ndarray, k: int, search_k: int, wanted: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Ask for more rows than wanted, and for all where that is too few: Annoy cannot leave rows out."""
    total = forest.get_n_items()
    share = 1.0 if wanted is None else wanted.mean()
    few = min(total, int(k if wanted is None else OVER_FETCH * k / share + 1))
    for count, looked_at in ((few, int(search_k / share)), (total, total * forest.get_n_trees())):
        found, far = forest.get_nns_by_vector(query, count, looked_at, include_distances=True)
        rows, distances = np.array(found, dtype=np.int64), np.array(far, dtype=np.float32)
        if wanted is None:
            break
        kept = wanted[rows]
        rows, distances = rows[kept][:k], distances[kept][:k]
        if len(rows) == min(k, int(wanted.sum())):
            break
    return rows, distances
