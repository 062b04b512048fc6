"""Queries near indexed vectors and their exact neighbours, kept in the lake under the digest of the corpus."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index_builders.base import LABELS, Hits
from index_builders.exact import exact_hits
from index_builders.manifest import IndexManifest
from infra import digest
from infra.lake.storage import Storage

K = 10
VERSION = 1
MIX = np.float32(0.3)
MAX_BYTES = 256 * 2**20
Tables = Callable[[Sequence[str]], Iterator[pa.Table]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """N queries (float32 (N, D), unit length), the view that each was made from, and their K exact neighbours."""

    queries_ND: np.ndarray
    views_N: np.ndarray
    truth: Hits


def exact_probes(
    storage: Storage, lake_uri: str, tables: Tables, manifest: IndexManifest, queries: int, view: str | None = None
) -> Probes:
    """Sample queries and their ten exact neighbours, found in the lake if the same vectors were asked before.

    Every n-th vector is mixed with another: asked for itself, a vector is found by any index.

    Args:
        storage: where the lake is reached.
        lake_uri: the lake.
        tables: vectors shards by address.
        manifest: the index; only its vectors and views shape the answer.
        queries: how many.
        view: queries from this view, neighbours among its rows alone; all views if None.
    """
    inputs = vector_shards(manifest)
    corpus = digest.address("corpus", manifest.fingerprint, manifest.dimension, manifest.views, inputs)
    uri = storage.join(lake_uri, "_truth", f"{digest.address('truth', VERSION, corpus, queries, K, view)}.parquet")
    try:
        return _parsed(storage.read(uri, max_bytes=MAX_BYTES), manifest.dimension)
    except (FileNotFoundError, pa.ArrowInvalid, KeyError, ValueError):
        made = _made(tables, manifest, inputs, queries, view)
    storage.write(uri, _written(made))
    return made


def vector_shards(manifest: IndexManifest) -> list[str]:
    """Addresses of the vectors shards that an index was built from."""
    return sorted(address for shard in manifest.shards for address in shard.inputs)


def _made(tables: Tables, manifest: IndexManifest, inputs: list[str], queries: int, view: str | None) -> Probes:
    names = (f"view:{view}",) if view else tuple(f"view:{name}" for name in manifest.views)
    rows = sum(manifest.counts.get(name, 0) for name in names)
    step, seen, chosen, views = max(1, rows // queries), 0, [], []
    for table in tables(inputs):
        part = table if view is None else table.filter(pc.equal(table["view"], view))
        part, seen = part.slice(min((-seen) % step, part.num_rows)), seen + part.num_rows
        picked = part.take(pa.array(np.arange(0, part.num_rows, step)))
        values = picked["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        chosen.append(np.asarray(values, dtype=np.float32).reshape(-1, manifest.dimension))
        views.append(picked["view"].to_numpy(zero_copy_only=False).astype(object))
    probes = np.concatenate(chosen)[:queries]
    mixed = probes + MIX * np.roll(probes, 1, axis=0)
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)

    def asked() -> Iterator[pa.Table]:
        for table in tables(inputs):
            yield table if view is None else table.filter(pc.equal(table["view"], view))

    truth = exact_hits(
        mixed, asked(), K, dimension=manifest.dimension, fingerprint=manifest.fingerprint, collapse=False
    )
    return Probes(queries_ND=mixed, views_N=np.concatenate(views)[:queries], truth=truth)


def _written(probes: Probes) -> bytes:
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
    return sink.getvalue()


def _parsed(data: bytes, dimension: int) -> Probes:
    table = pq.read_table(io.BytesIO(data), page_checksum_verification=True)
    columns = {f"{name}s": np.array(table[name].to_pylist(), dtype=object) for name in LABELS}
    queries = table["query"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return Probes(
        queries_ND=np.ascontiguousarray(queries, dtype=np.float32).reshape(-1, dimension),
        views_N=np.array(table["query_view"].to_pylist(), dtype=object),
        truth=Hits(**columns, scores=np.array(table["score"].to_pylist(), dtype=np.float32)),
    )
