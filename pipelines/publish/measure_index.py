"""What the gate measures on an index: soundness of vectors, uniqueness of keys, recall against exact search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from trichord.index_builders.base import Hits
from trichord.index_builders.exact import recall_at_k
from trichord.index_builders.manifest import IndexManifest, IndexShard, read_manifests
from trichord.index_builders.row_labels import read_keys
from trichord.index_builders.vectors import find_unsound
from trichord.infra.engines.base import Engine
from trichord.infra.lake.lake import Lake
from trichord.infra.lazy import arrow_compute as pc
from trichord.pipelines.core.workspace import Workspace, run_all, run_alone
from trichord.pipelines.index.ground_truth import (
    FAILED,
    QUERIES,
    K,
    Probes,
    exact_probes,
    parts_of,
    vector_shards,
    vectors_of,
)
from trichord.pipelines.index.open import backend_of, open_backend, place_of
from trichord.pipelines.index.vector_tables import VectorTables

if TYPE_CHECKING:
    from trichord.index_builders.milvus.client import MilvusPlace

ROWS_PER_BUCKET = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The results. `records` counts distinct keys, `unsound` counts vectors; `ann_recall` is recall@10 in [0, 1].

    `others` holds (recall@10, rows) of the other backends, by name; the rest is about the first backend.
    """

    records: int
    repeated_keys: int
    unsound: int
    ann_recall: float
    queries: int
    rows: int
    others: Mapping[str, tuple[float, int]]
    recall_of: Mapping[str, float]  # recall@10 of each view's queries


def measure_index(workspace: Workspace, engine: Engine, manifest_path: str, tables: VectorTables) -> Measured:
    """Measure a candidate index against the vectors it was built from.

    Args:
        workspace: the project on its lake.
        engine: runs the tasks.
        manifest_path: lake-relative path of the candidate's manifest.
        tables: vectors shards by address (picklable).

    Raises:
        PartialRun: a worker failed.
        StorageError: a file of the index is missing or damaged.
    """
    manifest, *others = read_manifests(workspace.lake, manifest_path)
    buckets = max(1, -(-manifest.rows // ROWS_PER_BUCKET))
    emit = EmitKeys(workspace.lake)
    counted = list(engine.group(list(manifest.shards), emit, count_keys, buckets=buckets))
    bad = sum(run_all(engine, CountUnsound(tables, manifest.dimension), parts_of(vector_shards(manifest)), FAILED))
    (recall, *also), queries, by_view = (0.0 if bad else 1.0,) * (1 + len(others)), 0, dict[str, float]()
    if manifest.rows and not bad:
        probes = exact_probes(workspace, engine, tables, manifest, QUERIES)
        task = MeasureRecall(workspace.lake, probes, place_of(workspace))
        (recall, *also), by_view = run_alone(engine, task, (manifest, *others))
        queries = len(probes.queries_ND)
    return Measured(
        records=sum(records for records, _ in counted),
        repeated_keys=sum(repeated for _, repeated in counted),
        unsound=bad,
        ann_recall=recall,
        queries=queries,
        rows=manifest.rows,
        others={backend_of(other): (found, other.rows) for other, found in zip(others, also, strict=True)},
        recall_of=by_view,
    )


@dataclass(frozen=True, slots=True)
class EmitKeys:
    """Index shard → keys and views of its rows, to be counted over all shards."""

    lake: Lake

    def __call__(self, shard: IndexShard) -> pa.Table:
        keys = read_keys(self.lake, shard)
        return pa.table({"group_key": keys["key"].cast(pa.string()), "view": keys["view"].cast(pa.string())})


def count_keys(rows: pa.Table) -> tuple[int, int]:
    """Return the number of distinct keys of a bucket, and of (key, view) pairs that occur more than once."""
    views = rows.group_by(["group_key", "view"]).aggregate([([], "count_all")])
    repeated = pc.sum(pc.greater(views["count_all"], 1)).as_py() or 0
    return len(pc.unique(views["group_key"])), repeated


@dataclass(frozen=True, slots=True)
class CountUnsound:
    """Counts the vectors of some vectors shards that are not finite or not of unit length."""

    tables: VectorTables
    dimension: int

    def __call__(self, part: tuple[str, ...]) -> int:
        return sum(
            int(find_unsound(vectors_of(table, self.dimension)).sum()) for table in self.tables(part, ["vector"])
        )


@dataclass(frozen=True, slots=True)
class MeasureRecall:
    """Measures recall@10 of each backend against exact search, and of the first backend by the queries' view."""

    lake: Lake
    probes: Probes
    place: MilvusPlace | None = None

    def __call__(self, manifests: tuple[IndexManifest, ...]) -> tuple[tuple[float, ...], dict[str, float]]:
        probes, whole = self.probes, np.arange(len(self.probes.queries_ND))
        found = [self._asked(manifest, probes.queries_ND) for manifest in manifests]
        by_view = {}
        for view in manifests[0].views:
            asked = np.flatnonzero(probes.views_N == view)
            if len(asked):
                by_view[view] = _recall(*found[0], probes.truth, asked)
        return tuple(_recall(*each, probes.truth, whole) for each in found), by_view

    def _asked(self, manifest: IndexManifest, queries_ND: np.ndarray) -> tuple[Hits, bool]:
        """Return a backend's hits, and True if its scores are exact inner products."""
        searcher = open_backend(self.lake, self.place, manifest, manifest.fingerprint)
        return searcher.search(queries_ND, K, collapse=False), searcher.exact_scores


def _recall(found: Hits, exact_scores: bool, truth: Hits, rows: np.ndarray) -> float:
    return recall_at_k(found.take(rows), truth.take(rows), exact_scores=exact_scores)
