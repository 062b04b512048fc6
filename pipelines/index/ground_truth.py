"""Queries near indexed vectors and their exact neighbours, cached in the lake by the digest of the corpus."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trichord.index_builders.base import LABELS, Hits
from trichord.index_builders.exact import exact_hits, near_queries
from trichord.index_builders.manifest import IndexManifest
from trichord.infra import digest
from trichord.infra.engines.base import Engine
from trichord.infra.lake import layout
from trichord.infra.lake.seal import require_seal, seal_bytes
from trichord.infra.lazy import arrow_compute as pc
from trichord.pipelines.core.workspace import Workspace, run_all
from trichord.pipelines.index.vector_tables import VectorTables

K = 10
QUERIES = 200
VERSION = 2
PARTS = 256
DIGITS = 8  # hex digits of a row's digest that rank it
MAX_BYTES = 256 * 2**20
FAILED = "Vectors could not be searched"
PICKED = pa.schema(
    [("rank", pa.string()), ("key", pa.string()), ("view", pa.string()), ("vector", pa.list_(pa.float32()))]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """N queries (float32 (N, D), unit length), the view of each, and their K exact neighbours."""

    queries_ND: np.ndarray
    views_N: np.ndarray
    truth: Hits


def exact_probes(
    workspace: Workspace,
    engine: Engine,
    tables: VectorTables,
    manifest: IndexManifest,
    queries: int,
    view: str | None = None,
) -> Probes:
    """Return queries near indexed vectors and their ten exact neighbours, from the lake if computed before.

    The queries are a uniform sample of the rows (those of lowest digest), each mixed with the next. Workers read all
    vectors once.

    Args:
        workspace: the project on its lake.
        engine: reads the vectors.
        tables: vectors shards by address.
        manifest: the index; the result depends only on its vectors and views.
        queries: number of queries.
        view: take queries and neighbours from this view alone; from all views if None.

    Raises:
        PartialRun: a worker failed.
    """
    inputs = vector_shards(manifest)
    corpus = digest.address("corpus", manifest.fingerprint, manifest.dimension, manifest.views, inputs)
    name = digest.address("truth", VERSION, corpus, queries, K, view)
    uri = workspace.lake.uri(layout.truth_path(name))
    try:
        return _parse(workspace.storage.read(uri, max_bytes=MAX_BYTES), manifest.dimension)
    except (OSError, pa.ArrowInvalid, KeyError, ValueError):
        made = _make_probes(engine, tables, manifest, parts_of(inputs), queries, view)
    workspace.storage.write(uri, _serialise(made))
    return made


def vector_shards(manifest: IndexManifest) -> list[str]:
    """Return the addresses of the vectors shards that an index was built from."""
    return sorted(address for shard in manifest.shards for address in shard.inputs)


def parts_of(addresses: Sequence[str]) -> list[tuple[str, ...]]:
    """Divide vectors shards into at most `PARTS` runs, one per task, whatever the number of workers."""
    step = max(1, -(-len(addresses) // PARTS))
    return [tuple(addresses[start : start + step]) for start in range(0, len(addresses), step)]


def _make_probes(
    engine: Engine,
    tables: VectorTables,
    manifest: IndexManifest,
    parts: Sequence[tuple[str, ...]],
    queries: int,
    view: str | None,
) -> Probes:
    views = (view,) if view else manifest.views
    rows = sum(manifest.counts.get(f"view:{name}", 0) for name in views)
    share = (queries + 6 * math.sqrt(queries)) / max(1, rows)  # enough that chance alone does not yield too few
    pick = PickRows(tables=tables, views=views, below=min(1.0, share))
    picked = pa.concat_tables(run_all(engine, pick, parts, FAILED))
    picked = picked.sort_by([(name, "ascending") for name in ("rank", "key", "view")]).slice(0, queries)
    queries_ND = near_queries(vectors_of(picked, manifest.dimension))
    find = FindNearest(tables=tables, queries_ND=queries_ND, view=view, fingerprint=manifest.fingerprint)
    found = dict(run_all(engine, find, parts, FAILED))
    truth = Hits.merge([Hits.none(len(queries_ND)), *(found[part] for part in parts)], K)
    views_N = picked["view"].to_numpy(zero_copy_only=False).astype(object)
    return Probes(queries_ND=queries_ND, views_N=views_N, truth=truth)


@dataclass(frozen=True, slots=True, kw_only=True)
class PickRows:
    """Picks rows of vectors shards by rank: a number in [0, 1), uniform over rows and views, below a bound."""

    tables: VectorTables
    views: tuple[str, ...]
    below: float

    def __call__(self, part: tuple[str, ...]) -> pa.Table:
        bound = f"{min(int(self.below * 16**DIGITS), 16**DIGITS - 1):0{DIGITS}x}"
        chosen = [PICKED.empty_table()]
        for address in part:
            [names] = self.tables([address], ["key", "view", "row_digest"])
            rank = np.full(names.num_rows, "g" * DIGITS, dtype=object)  # above every digest
            for place, view in enumerate(self.views):  # each view uses other digits, so it picks other records
                own = pc.utf8_slice_codeunits(names["row_digest"], DIGITS * (place % 4), DIGITS * (place % 4 + 1))
                rank = np.where(pc.equal(names["view"], view), own, rank)
            picked = np.flatnonzero(rank <= bound)
            if len(picked):
                [vectors] = self.tables([address], ["vector"])
                rows = names.append_column("vector", vectors["vector"]).append_column("rank", pa.array(rank))
                chosen.append(rows.take(picked).select(PICKED.names).cast(PICKED))
        return pa.concat_tables(chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindNearest:
    """Finds the exact neighbours of queries among the rows of vectors shards."""

    tables: VectorTables
    queries_ND: np.ndarray
    view: str | None
    fingerprint: str

    def __call__(self, part: tuple[str, ...]) -> tuple[tuple[str, ...], Hits]:
        queries_ND, asked = self.queries_ND, self._asked(part)
        dimension = queries_ND.shape[1]
        return part, exact_hits(queries_ND, asked, K, dimension=dimension, fingerprint=self.fingerprint, collapse=False)

    def _asked(self, part: tuple[str, ...]) -> Iterator[pa.Table]:
        for table in self.tables(part):
            yield table if self.view is None else table.filter(pc.equal(table["view"], self.view))


def vectors_of(table: pa.Table, dimension: int) -> np.ndarray:
    """Return the column `vector` of a table, unchecked. float32 (N, D)."""
    return np.asarray(table["vector"].combine_chunks().flatten(), dtype=np.float32).reshape(-1, dimension)


def _serialise(probes: Probes) -> bytes:
    nested = {name: [list(row) for row in getattr(probes.truth, f"{name}s")] for name in (*LABELS, "score")}
    table = pa.table(
        {
            "query": pa.FixedSizeListArray.from_arrays(
                pa.array(probes.queries_ND.ravel()), max(1, probes.queries_ND.shape[1])
            ),
            "query_view": pa.array(probes.views_N.tolist(), pa.string()),
            **{name: pa.array(nested[name], pa.list_(pa.string())) for name in LABELS},
            "score": pa.array(nested["score"], pa.list_(pa.float32())),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, write_page_checksum=True)
    return seal_bytes(sink.getvalue())


def _parse(data: bytes, dimension: int) -> Probes:
    require_seal(data)
    table = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read(use_threads=False)
    columns = {f"{name}s": np.array(table[name].to_pylist(), dtype=object) for name in LABELS}
    queries = table["query"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return Probes(
        queries_ND=np.ascontiguousarray(queries, dtype=np.float32).reshape(-1, dimension),
        views_N=np.array(table["query_view"].to_pylist(), dtype=object),
        truth=Hits(**columns, scores=np.array(table["score"].to_pylist(), dtype=np.float32)),
    )
