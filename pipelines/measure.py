"""What the gate measures of an index: soundness of its vectors, uniqueness of its keys, recall against exact search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from index_builders.exact import recall_at_k
from index_builders.faiss_search import open_searcher
from index_builders.keys import read_keys
from index_builders.manifest import IndexManifest, IndexShard, read_manifest
from index_builders.vectors import unsound
from infra.engines.base import Engine
from infra.lake.shard import read_shard
from infra.lake.storage import Storage
from pipelines.truth import K, Tables, exact_probes, vector_shards
from pipelines.workspace import Workspace, run_alone

QUERIES = 200
ROWS_PER_BUCKET = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was found. `records` counts different keys, `unsound` vectors; `ann_recall` is recall@10 in [0, 1]."""

    records: int
    repeated_keys: int
    unsound: int
    ann_recall: float
    queries: int
    recall_of: Mapping[str, float]  # of the queries of each view


def measure_index(workspace: Workspace, engine: Engine, manifest_path: str, tables: Tables) -> Measured:
    """Measure a candidate index against the vectors it was built from.

    Args:
        workspace: the project on its lake.
        engine: where the measuring runs.
        manifest_path: lake-relative path of the candidate's manifest.
        tables: vectors shards by address (picklable).

    Raises:
        PartialRun: a worker failed.
        StorageError: a file of the index is missing or damaged.
    """
    manifest = read_manifest(workspace.storage, workspace.lake, manifest_path)
    buckets = max(1, -(-manifest.rows // ROWS_PER_BUCKET))
    emit = EmitKeys(workspace.storage, workspace.lake)
    counted = list(engine.group(list(manifest.shards), emit, count_keys, buckets=buckets))
    task = MeasureRecall(workspace.storage, workspace.lake, manifest, tables)
    bad, recall, queries, by_view = run_alone(engine, task, QUERIES)
    return Measured(
        records=sum(records for records, _ in counted),
        repeated_keys=sum(repeated for _, repeated in counted),
        unsound=bad,
        ann_recall=recall,
        queries=queries,
        recall_of=by_view,
    )


@dataclass(frozen=True, slots=True)
class EmitKeys:
    """Index shard → its rows' keys and views, to be counted over all shards."""

    storage: Storage
    lake: str

    def __call__(self, shard: IndexShard) -> pa.Table:
        keys = read_keys(self.storage, self.lake, shard)
        return pa.table({"group_key": keys["key"].cast(pa.string()), "view": keys["view"].cast(pa.string())})


def count_keys(rows: pa.Table) -> tuple[int, int]:
    """Different keys of a bucket, and how many (key, view) pairs stand more than once."""
    views = rows.group_by(["group_key", "view"]).aggregate([([], "count_all")])
    repeated = pc.sum(pc.greater(views["count_all"], 1)).as_py() or 0
    return len(pc.unique(views["group_key"])), repeated


@dataclass(frozen=True, slots=True)
class MeasureRecall:
    """Reads every indexed vector in blocks: is it sound, and does the index find what exact search finds?"""

    storage: Storage
    lake: str
    manifest: IndexManifest
    tables: Tables

    def __call__(self, queries: int) -> tuple[int, float, int, dict[str, float]]:
        bad = sum(
            int(unsound(_matrix(table, self.manifest.dimension)).sum())
            for table in self.tables(vector_shards(self.manifest))
        )
        if bad or not self.manifest.rows:
            return bad, 0.0 if bad else 1.0, 0, {}
        searcher = open_searcher(self.storage, self.lake, self.manifest, self.manifest.fingerprint)
        probes = exact_probes(self.storage, self.lake, self.tables, self.manifest, queries)
        found = searcher.search(probes.queries_ND, K, collapse=False)
        exact = searcher.plan.exact_scores
        by_view = {}
        for view in self.manifest.views:
            asked = np.flatnonzero(probes.views_N == view)
            if len(asked):
                by_view[view] = recall_at_k(found.take(asked), probes.truth.take(asked), exact_scores=exact)
        recall = recall_at_k(found, probes.truth, exact_scores=exact)
        return bad, recall, len(probes.queries_ND), by_view


def _matrix(table: pa.Table, dimension: int) -> np.ndarray:
    return np.asarray(table["vector"].combine_chunks().flatten(), dtype=np.float32).reshape(-1, dimension)


def reject_counts(workspace: Workspace, version: int) -> Counter[str]:
    """Rejected rows by op, in one version of the rejects table; a row replaced by its parts was not refused."""
    counts: Counter[str] = Counter()
    for ref in workspace.table("rejects").shards(version).values():
        table = read_shard(workspace.storage, workspace.lake, ref, ["op", "reason"])
        counts.update(table.filter(pc.not_equal(table["reason"], "replaced_by_parts"))["op"].to_pylist())
    return counts
