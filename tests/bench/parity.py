"""Every backend over the same vectors: `python -m tests.bench.parity` prints a table, `--json` one JSON line.

All are built from the same vector shards by the product's own builds, asked the same queries, and held against exact
search: how many of the ten nearest each finds, in how many answers all ten scores are the exact ones (ties, which may
be settled either way, have equal scores), and how far a score is from the true inner product. Milvus Lite holds one
collection, with `--server` the embedded server another. FAISS Flat, Milvus FLAT and a forest that is searched to its
end are exact; the others show what their codes cost.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.vectors_lake import SPACE, model_of, queries, workspace_at, write_corpus
from tests.milvus_server import MilvusServer
from trichord.index_builders.base import Hits, Searcher
from trichord.index_builders.exact import exact_hits, recall_at_k
from trichord.index_builders.manifest import IndexManifest, read_manifest
from trichord.infra.config import EngineConfig
from trichord.infra.engines import open_engine
from trichord.pipelines.index.build import build_backends
from trichord.pipelines.index.open import open_backend, place_of
from trichord.pipelines.index.vector_tables import VectorTables

K = 10


def candidates(server: MilvusServer | None) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Name -> (section `index`, section `milvus`)."""
    annoy, lite = {"backends": ["annoy"]}, {"index_type": "FLAT"}
    made: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "FAISS Flat": ({"kind": "flat"}, {}),
        "FAISS IVF-Flat": ({"kind": "ivf_flat", "recall": 0.99}, {}),
        "FAISS HNSW": ({"kind": "hnsw", "recall": 0.99}, {}),
        "FAISS SQ8": ({"kind": "sq8", "refine": "none"}, {}),
        "FAISS PQ fast scan, refined": ({"kind": "pq_fast", "refine": "flat", "recall": 0.99}, {}),
        "FAISS RaBitQ, 7 bits": ({"kind": "rabitq", "bits": 7, "refine": "none"}, {}),
        "Annoy": (annoy | {"recall": 0.95}, {}),
        "Annoy to the end": (annoy | {"recall": 1.0}, {}),
        "Milvus Lite FLAT": ({"backends": ["milvus"]}, lite),
    }
    if server is not None:
        place = server.project | {"prefix": "parity"}
        made["Milvus server FLAT"] = ({"backends": ["milvus"]}, place | {"index_type": "FLAT"})
        made["Milvus server HNSW"] = ({"backends": ["milvus"]}, place | {"index_type": "HNSW"})
    return made


def measure(rows: int, dimension: int, asked: int, server: MilvusServer | None, folder: Path) -> list[dict[str, Any]]:
    """A line a backend."""
    lines = []
    queries_ND = queries(rows, dimension, asked)
    plain = workspace_at(folder, {})
    vectors = write_corpus(plain, folder, rows, dimension)

    tables = list(VectorTables.of(plain, vectors)(sorted(ref.address for ref in vectors.values())))
    truth = exact_hits(queries_ND, tables, K, dimension=dimension, fingerprint=SPACE)
    known = {
        key: vector
        for table in tables
        for key, vector in zip(
            table["key"].to_pylist(),
            np.asarray(table["vector"].combine_chunks().flatten()).reshape(-1, dimension),
            strict=True,
        )
    }
    for name, (index, milvus) in candidates(server).items():
        workspace = workspace_at(folder, index, workers=1, milvus=milvus)
        started = time.perf_counter()
        with open_engine(EngineConfig(workers=1)) as engine:
            built = build_backends(workspace, engine, vectors, model_of(dimension), None)
        build_s = time.perf_counter() - started
        manifest = read_manifest(workspace.lake, built.manifest.path)
        searcher = open_backend(workspace.lake, place_of(workspace), manifest, SPACE)
        lines.append(
            {"backend": name, "build_s": round(build_s, 2)} | _compared(searcher, manifest, queries_ND, truth, known)
        )
    return lines


def _compared(
    searcher: Searcher, manifest: IndexManifest, queries_ND: np.ndarray, truth: Hits, known: dict[str, np.ndarray]
) -> dict[str, Any]:
    searcher.search(queries_ND[:4], K)
    started = time.perf_counter()
    found = searcher.search(queries_ND, K)
    query_ms = 1_000 * (time.perf_counter() - started) / len(queries_ND)
    true_NK = np.array(
        [[known[key] @ query for key in keys] for keys, query in zip(found.keys, queries_ND, strict=True)]
    )
    return {
        "rows": manifest.rows,
        "recall_at_10": round(recall_at_k(found, truth, exact_scores=searcher.exact_scores), 4),
        "answers_equal_to_exact": round(float(np.isclose(true_NK, truth.scores, atol=1e-6).all(axis=1).mean()), 4),
        "score_error": float(f"{np.abs(found.scores - true_NK).max():.1e}"),
        "query_ms": round(query_ms, 3),
        "index_bytes": sum(shard.index.bytes for shard in manifest.shards),
        "search": {view: dict(found) for view, found in manifest.search.items()},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--server", action="store_true", help="on a Milvus server too, which is started for it")
    parser.add_argument("--json", action="store_true", help="one JSON line (the only output there is)")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trichord-parity-")))
        server = stack.enter_context(MilvusServer(folder / "server")) if options.server else None
        lines = measure(options.rows, options.dimension, options.queries, server, folder / "lake")
    if options.json:
        sys.stdout.write(json.dumps(lines) + "\n")
        return
    names = [name for name in lines[0] if name != "search"]
    rows = [names, ["---"] * len(names), *([str(line[name]) for name in names] for line in lines)]
    sys.stdout.write("".join(f"| {' | '.join(row)} |\n" for row in rows))


if __name__ == "__main__":
    main()
