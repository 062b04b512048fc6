"""Search a Milvus collection as any other index. Shape letters: N queries, D dimension, K neighbours."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from trichord.index_builders.base import LABELS, Hits, Scalar, check_asked, check_space, scalar_text
from trichord.index_builders.manifest import IndexManifest
from trichord.index_builders.milvus.builder import collection_of, exact_scores, lists, row_id
from trichord.index_builders.milvus.client import Connection, MilvusPlace, quoted
from trichord.index_builders.milvus.rows import FoundRow
from trichord.index_builders.tune import ALL, Settings, Tuned, least
from trichord.infra.errors import StorageError

START = {"ef": 128, "search_list": 100, "nprobe": 64}  # until a build has measured what is needed
EFFORTS = (16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096)
REORDERED = 20  # of SCANN's codes, this many times k are compared in full
MAX_K = 16_384  # of one search of the server
QUERIES_A_TIME = 256


class MilvusSearcher:
    """A `Searcher` over the collection that one manifest names: never over an alias, which moves.

    It holds its connection until it is closed or forgotten.
    """

    def __init__(self, place: MilvusPlace, manifest: IndexManifest, fingerprint: str) -> None:
        """Open a collection for a client of the space `fingerprint`.

        Raises:
            FingerprintMismatch: the collection is of another space.
            StorageError: the collection is gone, or holds other rows than the manifest says.
            ServiceError: the server fails.
        """
        check_space(manifest, fingerprint)
        self.fingerprint, self.dimension = manifest.fingerprint, manifest.dimension
        self.rows, self.views, self.metadata = manifest.rows, manifest.views, manifest.metadata
        self.collection = collection_of(manifest)
        self.exact_scores = exact_scores(manifest.params["index_type"])
        self._type, self._given = manifest.params["index_type"], dict(place.config.search_params)
        self._tuned = {view: dict(found) for view, found in manifest.search.items()}
        connection = Connection(place)
        self._milvus = connection.milvus
        self.close = weakref.finalize(self, connection.close)
        collection = self._milvus.describe(self.collection)
        if collection is None:
            raise StorageError(
                f"The collection {self.collection} is not at {place.uri}. Run `trichord reindex`: it loads it again."
            )
        self._milvus.load(self.collection)
        described = (collection.dimension, self._milvus.count(self.collection))
        if described != (self.dimension, self.rows):
            raise StorageError(
                f"The collection {self.collection} has (dimension, rows) {described}; the manifest says "
                f"{(self.dimension, self.rows)}. Run `trichord reindex`: it loads it again."
            )

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
        """Return the k nearest rows of every query: see `Searcher`. `settings` replace what was tuned.

        Raises:
            ValueError: k is below 1 or above what the server gives, the view is not indexed, or the queries are not
                (N, D) of unit length.
            ServiceError: the server fails.
        """
        queries = check_asked(self, queries_ND, k, view, where, settings)
        width = k * len(self.views) if collapse and view is None else k
        if width > MAX_K:
            raise ValueError(f"k is {k}; Milvus gives 1 to {MAX_K} rows, here {width}")
        params = self._params(width, self._tuned.get(view or ALL, {}) if settings is None else settings)
        conditions = [
            f"{name} == {quoted(value)}" for name, value in (("view", view), ("source", source)) if value is not None
        ]
        conditions += [f"meta[{quoted(name)}] == {_literal(value)}" for name, value in (where or {}).items()]
        if not self.rows or not len(queries):
            return Hits.none(len(queries)) if not len(queries) else Hits.merge([Hits.none(len(queries))], k)
        width = min(width, self.rows)
        found: list[list[FoundRow]] = []
        for start in range(0, len(queries), QUERIES_A_TIME):
            found += self._milvus.search(
                self.collection, queries[start : start + QUERIES_A_TIME], width, where=" and ".join(conditions),
                params=params, fields=LABELS,
            )  # fmt: skip
        hits = Hits.merge([_hits(found, width)], max(k, width) if collapse else k)
        return hits.best_per_key(k) if collapse else hits

    def tune(self, measure: Callable[[Settings], float], target: float) -> Tuned:
        """Return the least effort whose measured recall reaches the target; none if the index type has no setting."""
        name = effort_of(self._type)
        return least(name, EFFORTS, {}, measure, target) if name else Tuned(settings={}, recall=measure({}))

    def partitions_of(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the partition of each of these keys that is in the index."""
        ids = sorted({row_id(view, key) for key in keys for view in self.views})
        return {
            row["key"]: row["partition"]
            for row in self._milvus.fetch(self.collection, ids, ["key", "partition"], "Bounded").values()
        }

    def _params(self, width: int, tuned: Mapping[str, int]) -> Mapping[str, Scalar]:
        name = effort_of(self._type)
        if name is None:
            return self._given
        effort = tuned.get(name, START[name])
        params: dict[str, Scalar] = {name: effort if name == "nprobe" else max(width, effort)}
        if self._type == "SCANN":
            params["reorder_k"] = REORDERED * width
        return params | self._given


def effort_of(index_type: str) -> str | None:
    """Return the setting that makes a search of an index type find more; None where there is none."""
    if index_type.startswith("HNSW"):
        return "ef"
    if index_type == "DISKANN":
        return "search_list"
    return "nprobe" if lists(index_type) else None


def _literal(value: Scalar) -> str:
    return quoted(value) if isinstance(value, str) else scalar_text(value)


def _hits(found: list[list[FoundRow]], width: int) -> Hits:
    shape = (len(found), width)
    columns = {f"{name}s": np.full(shape, None, dtype=object) for name in LABELS}
    scores = np.full(shape, -np.inf, dtype=np.float32)
    for n, hits in enumerate(found):
        for place, hit in enumerate(hits):
            scores[n, place] = hit["distance"]
            for name in LABELS:
                columns[f"{name}s"][n, place] = hit["entity"][name]
    return Hits(**columns, scores=scores)
