"""What every index backend is: a builder that makes shards and a searcher that answers queries.

Two types, because a service (Milvus) is searched where it was not built, and some indexes can only be built once.
Shape letters: N queries, D dimension, K neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict

import numpy as np
import pyarrow as pa

from trichord.index_builders.manifest import IndexManifest, IndexShard
from trichord.index_builders.tune import Settings, Tuned
from trichord.infra import digest
from trichord.infra.errors import FingerprintMismatch
from trichord.infra.lake.lake import Lake
from trichord.infra.lazy import arrow_compute as pc
from trichord.infra.plain_arrow import numbers

LABELS = ("key", "view", "source")
FEW_HITS = 32
Scalar = str | int | float | bool


def meta_column(field: str) -> str:
    """Return the column of the keys that holds a field of the metadata, each value as `scalar_text`."""
    return f"meta.{field}"


def scalar_text(value: Scalar) -> str:
    """Return a value as canonical JSON: equal where JSON has one value, so true is not 1, and 3.0 is 3."""
    whole = isinstance(value, float) and value.is_integer()
    return digest.canonical_json(int(value) if whole else value).decode()


class HitRow(TypedDict):
    """One hit, JSON-ready."""

    key: str
    score: float
    view: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """The nearest rows of N queries, best first; a query with fewer rows than K is padded with None and -inf.

    All arrays are (N, K): `keys`, `views` and `sources` hold str or None, `scores` float32 inner products.
    """

    keys: np.ndarray
    views: np.ndarray
    sources: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, labels: pa.Table, rows_NK: np.ndarray, scores_NK: np.ndarray) -> Hits:
        """Name the rows of one table.

        Args:
            labels: table with columns key, view, source.
            rows_NK: row numbers, negative where there is none.
            scores_NK: their scores; ignored where there is no row.
        """
        found = rows_NK >= 0
        if rows_NK.size <= FEW_HITS and labels.num_rows:
            places = [row if row >= 0 else None for row in rows_NK.ravel().tolist()]
            named = {f"{name}s": _picked(labels.column(name), places, rows_NK.shape) for name in LABELS}
            return cls(**named, scores=np.where(found, scores_NK, -np.inf).astype(np.float32))
        taken = numbers(np.where(found, rows_NK, 0).ravel(), ~found.ravel())
        columns = {
            f"{name}s": np.array(labels.column(name).take(taken).to_pylist(), object).reshape(rows_NK.shape)
            if labels.num_rows
            else np.full(rows_NK.shape, None, dtype=object)
            for name in LABELS
        }
        return cls(**columns, scores=np.where(found, scores_NK, -np.inf).astype(np.float32))

    @classmethod
    def none(cls, queries: int) -> Hits:
        """Return no hits at all: arrays of (queries, 0)."""
        blank = np.empty((queries, 0), dtype=object)
        return cls(keys=blank, views=blank, sources=blank, scores=np.empty((queries, 0), dtype=np.float32))

    @classmethod
    def merge(cls, parts: Sequence[Hits], k: int) -> Hits:
        """Return the best k over several lists of the same queries; ties go to the earlier list, then place.

        Raises:
            ValueError: there are no parts.
        """
        if not parts:
            raise ValueError("there are no hits to merge")
        scores = _padded(np.concatenate([part.scores for part in parts], axis=1), k, -np.inf)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        columns = {
            f"{name}s": np.take_along_axis(
                _padded(np.concatenate([getattr(part, f"{name}s") for part in parts], axis=1), k, None), order, axis=1
            )
            for name in LABELS
        }
        return cls(**columns, scores=np.take_along_axis(scores, order, axis=1))

    def first(self, k: int) -> Hits:
        """Return the first k of every list, with padding where there are fewer."""
        if self.scores.shape[1] == k:
            return self
        columns = {f"{name}s": _padded(getattr(self, f"{name}s"), k, None)[:, :k] for name in LABELS}
        return Hits(**columns, scores=_padded(self.scores, k, -np.inf)[:, :k])

    def best_per_key(self, k: int) -> Hits:
        """Keep only the best view of each key, and of those the first k."""
        places_NK = np.full((len(self.keys), k), -1)
        for n, keys in enumerate(self.keys):
            first: dict[str, int] = {}
            for place, key in enumerate(keys):
                if key is not None:
                    first.setdefault(key, place)
            chosen = list(first.values())[:k]
            places_NK[n, : len(chosen)] = chosen
        width = self.keys.shape[1] + 1  # place -1 is the padding that this adds at the end
        columns = {
            f"{name}s": np.take_along_axis(_padded(getattr(self, f"{name}s"), width, None), places_NK, axis=1)
            for name in LABELS
        }
        scores = np.take_along_axis(_padded(self.scores, width, -np.inf), places_NK, axis=1)
        return Hits(**columns, scores=scores)

    def take(self, queries: np.ndarray) -> Hits:
        """Return the hits of some of the queries."""
        columns = {f"{name}s": getattr(self, f"{name}s")[queries] for name in LABELS}
        return Hits(**columns, scores=self.scores[queries])

    def rows(self, query: int = 0) -> list[HitRow]:
        """Return one query's hits, JSON-ready: key, score, view, source."""
        return [
            {"key": key, "score": round(float(score), 6), "view": view, "source": source}
            for key, view, source, score in zip(
                self.keys[query], self.views[query], self.sources[query], self.scores[query], strict=True
            )
            if key is not None
        ]


class Searcher(Protocol):
    """An opened index: answers queries of one space."""

    fingerprint: str
    dimension: int
    rows: int
    views: tuple[str, ...]
    metadata: tuple[str, ...]  # fields that `where` may name
    exact_scores: bool  # whether scores are true inner products, not those of a code

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
        """Return the k nearest rows of every L2-normalised query.

        Args:
            queries_ND: float32 (N, D).
            k: neighbours wanted.
            collapse: list a record of several indexed views once, in its best view.
            view: search the rows of this view alone.
            source: search the rows of this source alone.
            where: search the rows alone whose metadata have these values (fields of `index.metadata`).
            settings: search parameters in place of those that the manifest holds for the view.

        Raises:
            ValueError: the queries have another shape or are not finite and of unit length, or no such view or field is
                indexed.
        """
        ...

    def partitions_of(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the partition of each of these keys that is in the index."""
        ...


class TunedSearcher(Searcher, Protocol):
    """A searcher whose search parameters a build finds."""

    def tune(self, measure: Callable[[Settings], float], target: float) -> Tuned:
        """Return the cheapest search parameters whose recall, as `measure` finds it, reaches the target."""
        ...


class IndexBuilder(Protocol):
    """Makes index shards out of vector shards; picklable, so that it travels to a worker."""

    def address(self, inputs: Sequence[str]) -> str:
        """Return the address of the index shard made of these vector shards, in any order."""
        ...

    def finished(self, lake: Lake, wanted: Mapping[str, Sequence[str]]) -> dict[str, IndexShard]:
        """Return those of the wanted shards (address -> inputs) that an earlier run has finished."""
        ...

    def build(self, lake: Lake, inputs: Sequence[str], tables: Iterable[pa.Table]) -> IndexShard:
        """Make one index shard and write its files.

        Args:
            lake: where the files go.
            inputs: addresses of the vector shards, ascending.
            tables: their rows, in the same order (key, view, source, partition, row_digest, fingerprint, vector).

        Raises:
            StorageError: a vector is not sound.
            FingerprintMismatch: a vector is of another space.
            ValueError: the inputs are not ascending.
        """
        ...


def check_queries(queries_ND: np.ndarray, dimension: int, tolerance: float = 1e-3) -> np.ndarray:
    """Return queries as contiguous float32 (N, D).

    Raises:
        ValueError: another shape, or a row that is not finite and of unit length.
    """
    queries = np.ascontiguousarray(queries_ND, dtype=np.float32)
    if queries.ndim != 2 or queries.shape[1] != dimension:
        raise ValueError(f"queries have shape {queries.shape}; expected (N, {dimension})")
    norms = np.linalg.norm(queries.astype(np.float64), axis=1)
    bad = np.flatnonzero(~(np.abs(norms - 1) <= tolerance))
    if len(bad):
        raise ValueError(f"query {bad[0]} is not a finite vector of unit length (norm {norms[bad[0]]:.6g})")
    return queries


def check_space(manifest: IndexManifest, fingerprint: str) -> None:
    """Refuse a client of another space. Raise FingerprintMismatch."""
    if manifest.fingerprint != fingerprint:
        raise FingerprintMismatch(
            f"The index holds vectors of space {manifest.fingerprint}; these queries are of {fingerprint}. "
            "Search with the model it was built with (`trichord status` names it), or `trichord reindex`."
        )


def check_ascending(inputs: Sequence[str]) -> None:
    """Refuse vector shards in another order than that of their addresses, which an index's bytes follow: ValueError."""
    if list(inputs) != sorted(inputs):
        raise ValueError("the vector shards of an index shard are read in ascending order of their addresses")


def check_fields(fields: Sequence[str], where: Mapping[str, Scalar] | None) -> None:
    """Refuse a condition on metadata that the index does not hold. Raise ValueError."""
    if unknown := sorted(set(where or ()) - set(fields)):
        held = f"the fields {', '.join(fields)}" if fields else "no metadata"
        raise ValueError(
            f"the index holds {held}, not {unknown[0]!r}: add it to index.metadata and run `trichord reindex`"
        )


def check_asked(
    searcher: Searcher,
    queries_ND: np.ndarray,
    k: int,
    view: str | None,
    where: Mapping[str, Scalar] | None,
    settings: Mapping[str, int] | None,
) -> np.ndarray:
    """Return the queries as contiguous float32 (N, D). Raise ValueError where a search could not be of this index."""
    queries = check_queries(queries_ND, searcher.dimension)
    if k < 1 or any(value < 1 for value in (settings or {}).values()):
        raise ValueError(f"k is {k}, settings {dict(settings or {})}")
    if view is not None and view not in searcher.views:
        raise ValueError(f"the index holds the views {', '.join(searcher.views)}, not {view!r}")
    check_fields(searcher.metadata, where)
    return queries


def wanted_rows(
    labels: pa.Table, view: str | None, source: str | None, where: Mapping[str, Scalar] | None
) -> np.ndarray | None:
    """Return which rows are of a view, a source and have these metadata, bool; None where nothing is asked for."""
    masks = [
        pc.equal(labels.column(name), value).to_numpy(zero_copy_only=False)
        for name, value in (("view", view), ("source", source))
        if value is not None
    ]
    masks += [
        pc.equal(labels.column(meta_column(name)), scalar_text(value)).fill_null(False).to_numpy(zero_copy_only=False)
        for name, value in (where or {}).items()
    ]
    return np.logical_and.reduce(masks) if masks else None


def _picked(column: pa.ChunkedArray, places: Sequence[int | None], shape: tuple[int, ...]) -> np.ndarray:
    """Return the names of few rows, one by one: what one query finds is named in half the time of `take`."""
    values = column.chunk(0) if column.num_chunks == 1 else column
    names = [None if place is None else values[place].as_py() for place in places]
    return np.array(names, dtype=object).reshape(shape)


def _padded(array_NK: np.ndarray, width: int, fill: float | None) -> np.ndarray:
    missing = np.full((len(array_NK), max(0, width - array_NK.shape[1])), fill, dtype=array_NK.dtype)
    return np.concatenate([array_NK, missing], axis=1)
