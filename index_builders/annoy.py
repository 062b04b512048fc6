"""Annoy: a forest of random projection trees for each index shard, built once and mapped by every reader.

A static file that many processes share and that needs no memory of its own (https://github.com/spotify/annoy, by
E. Bernhardsson). Vectors are stored as float32, so scores are true inner products. Shape letters: N queries, D
dimension, K neighbours.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from annoy import AnnoyIndex

from index_builders.base import Hits, check_queries, check_space, wanted_rows
from index_builders.exact import exact_topk
from index_builders.files import FileRef, opened, put_hashed, write_receipt
from index_builders.keys import KEYS, check_keys, count_keys, parse_keys, splits_among, write_keys
from index_builders.manifest import IndexManifest, IndexShard, finished_shards
from index_builders.tune import ALL, Settings, Tuned, least
from index_builders.vectors import vector_matrix
from infra import digest
from infra.errors import StorageError
from infra.lake.storage import Storage

KIND, ENDING = "annoy", "annoy"
VERSION = 1  # raise it whenever the same vectors would give other bytes
TREES = (8, 16, 32, 64, 128)
GAIN = 0.75  # twice the trees are worth it if they leave so much of the candidates to be looked at
SEARCH_KS = tuple(2**power for power in range(5, 24))
START_SEARCH_K = 2_048  # until a build has measured what is needed
MIX = np.float32(0.3)
OVER_FETCH = 1.5
CHUNK = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnoyBuilder:
    """An `IndexBuilder` of forests of so many trees; picklable."""

    trees: int
    dimension: int
    fingerprint: str
    views: tuple[str, ...]

    def address(self, inputs: Sequence[str]) -> str:
        """Address of the shard made of these vector shards."""
        recipe = (VERSION, self.trees, self.dimension, self.fingerprint, sorted(self.views))
        return digest.address("annoy-shard", *recipe, sorted(inputs))

    def finished(self, storage: Storage, lake_uri: str, wanted: Mapping[str, Sequence[str]]) -> dict[str, IndexShard]:
        """Wanted shards (address -> inputs) whose receipt and files stand."""
        return finished_shards(storage, lake_uri, wanted)

    def build(self, storage: Storage, lake_uri: str, inputs: Sequence[str], tables: Iterable[pa.Table]) -> IndexShard:
        """Make one shard. Raises as `IndexBuilder.build`."""
        if list(inputs) != sorted(inputs):
            raise ValueError("the vector shards of an index shard are read in ascending order of their addresses")
        address, named = self.address(inputs), [KEYS.empty_table()]
        forest = _forest(self.dimension)
        rows = 0
        for table in tables:
            named.append(table.select(KEYS.names).cast(KEYS))
            for vector in vector_matrix(table, dimension=self.dimension, fingerprint=self.fingerprint):
                forest.add_item(rows, vector)
                rows += 1
        keys = pa.concat_tables(named)
        check_keys(keys, self.views)
        forest.build(self.trees, n_jobs=1)  # one job: equal bytes
        shard = IndexShard(
            address=address,
            index=put_hashed(storage, lake_uri, address, ENDING, lambda write: _save(forest, write)),
            keys=write_keys(storage, lake_uri, address, keys),
            rows=rows,
            inputs=tuple(inputs),
            counts=count_keys(keys),
        )
        write_receipt(storage, lake_uri, shard.to_json())
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
            shards=tuple(shards),
            search=search or {},
        )


class AnnoySearcher:
    """A `Searcher` over the forests of one manifest. Made by `open_annoy`."""

    exact_scores = True

    def __init__(self, manifest: IndexManifest, forests: Sequence[Any], keys: Sequence[pa.Table]) -> None:
        self.fingerprint = manifest.fingerprint
        self.dimension = manifest.dimension
        self.rows = manifest.rows
        self.views = manifest.views
        self.settings = {view: dict(found) for view, found in manifest.search.items()}
        self._shards = [(forest, labels) for forest, labels in zip(forests, keys, strict=True) if labels.num_rows]

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
        """As `FaissSearcher.search`; the one setting is `search_k`, the candidates looked at in each shard."""
        queries = check_queries(queries_ND, self.dimension)
        if k < 1 or any(value < 1 for value in (settings or {}).values()):
            raise ValueError(f"k is {k}, settings {dict(settings or {})}")
        if view is not None and view not in self.views:
            raise ValueError(f"the index holds the views {', '.join(self.views)}, not {view!r}")
        width = k * len(self.views) if collapse and view is None else k
        chosen = {"search_k": START_SEARCH_K} | self.settings.get(view or ALL, {}) | dict(settings or {})
        parts = [Hits.none(len(queries))]
        for forest, labels in self._shards:
            wanted = wanted_rows(labels, view, source)
            if wanted is None or wanted.any():
                parts.append(_found(forest, labels, queries, width, chosen["search_k"], wanted))
        merged = Hits.merge(parts, width)
        return merged.best_per_key(k) if collapse else merged

    def tune(self, measure: Callable[[Settings], float], target: float) -> Tuned:
        """The least `search_k` whose measured recall reaches the target."""
        return least("search_k", SEARCH_KS, {}, measure, target)

    def splits_of(self, keys: Iterable[str]) -> dict[str, str]:
        """The split of each of these keys that is in the index."""
        return splits_among((labels for _, labels in self._shards), keys)


def choose_trees(sample_ND: np.ndarray, target: float, k: int = 10, queries: int = 100) -> int:
    """How many trees: doubled as long as that leaves at most 3/4 of the candidates to reach the recall with.

    Args:
        sample_ND: float32 (N, D), unit rows of the corpus.
        target: recall@k wanted.
        k: neighbours.
        queries: rows of the sample that are asked for, each mixed with another.

    Returns:
        One of 8, 16, 32, 64, 128. Equal for equal samples.
    """
    asked = sample_ND[:: max(1, len(sample_ND) // queries)][:queries]
    asked = asked + MIX * np.roll(asked, 1, axis=0)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    truth, _ = exact_topk(asked, [sample_ND], k)
    best, before = TREES[0], 0
    for trees in TREES:
        forest = _forest(sample_ND.shape[1])
        for row, vector in enumerate(sample_ND):
            forest.add_item(row, vector)
        forest.build(trees, n_jobs=1)

        def measure(settings: Settings, forest: Any = forest) -> float:
            found = [forest.get_nns_by_vector(query, k, settings["search_k"]) for query in asked]
            return sum(len(set(a) & set(b)) for a, b in zip(found, truth.tolist(), strict=True)) / max(1, truth.size)

        needed = least("search_k", SEARCH_KS, {}, measure, target).settings["search_k"]
        if before and needed > GAIN * before:
            break
        best, before = trees, needed
    return best


def open_annoy(storage: Storage, lake_uri: str, manifest: IndexManifest, fingerprint: str) -> AnnoySearcher:
    """Open an index for a client of the space `fingerprint`. Annoy sees no byte before every file was verified.

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
        keys = [parse_keys(file, shard) for (_, file), shard in zip(files, manifest.shards, strict=True)]
        forests = [
            _read(file, shard.index, manifest.dimension, shard.rows)
            for (file, _), shard in zip(files, manifest.shards, strict=True)
        ]
    return AnnoySearcher(manifest, forests, keys)


def _forest(dimension: int) -> Any:
    forest = AnnoyIndex(dimension, "angular")
    forest.set_seed(dimension)
    return forest


def _save(forest: Any, write: Callable[[bytes], int]) -> None:
    with tempfile.TemporaryDirectory(prefix="trichord-index-") as folder:
        path = os.path.join(folder, "forest")
        forest.save(path)
        with open(path, "rb") as file:
            shutil.copyfileobj(file, _Writer(write), CHUNK)


@dataclass(frozen=True, slots=True)
class _Writer:
    """What `shutil` takes for a file."""

    write: Callable[[bytes], int]


def _read(file: BinaryIO, ref: FileRef, dimension: int, rows: int) -> Any:
    forest = AnnoyIndex(dimension, "angular")
    if rows:
        try:
            forest.load(f"/proc/self/fd/{file.fileno()}")  # the file that was hashed; the mapping outlives the handle
        except OSError as wrong:
            raise StorageError(f"Annoy cannot read {ref.path}, made by another version? {wrong}") from wrong
    if forest.get_n_items() != rows:
        raise StorageError(f"{ref.path} holds {forest.get_n_items()} vectors; the manifest says {rows}.")
    return forest


def _found(
    forest: Any, labels: pa.Table, queries: np.ndarray, k: int, search_k: int, wanted: np.ndarray | None
) -> Hits:
    rows_NK, scores_NK = np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf, np.float32)
    for place, query in enumerate(queries):
        rows, distances = _nearest(forest, query, k, search_k, wanted, labels.num_rows)
        rows_NK[place, : len(rows)] = rows
        scores_NK[place, : len(rows)] = 1 - distances**2 / 2  # of unit vectors
    return Hits.of(labels, rows_NK, scores_NK)


def _nearest(
    forest: Any, query: np.ndarray, k: int, search_k: int, wanted: np.ndarray | None, total: int
) -> tuple[np.ndarray, np.ndarray]:
    """Annoy leaves no row out while it looks: ask for more, and for all where that is too few."""
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
