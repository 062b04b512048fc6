"""Runs in autofaiss's own environment: builds an index of one .npy file, sweeps it, prints one JSON line.

It imports nothing of ours. `python autofaiss_peer.py FOLDER auto|FACTORY MEMORY CORES`: FOLDER holds `rows/0.npy`,
`queries.npy` and `truth.npy`.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import time

import faiss
import numpy as np

SINGLE, ROUNDS = 200, 3


def main() -> None:
    """Build, then search with more and more effort: recall@10 and milliseconds a query, in a batch and alone."""
    folder, factory, memory, cores = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    faiss.omp_set_num_threads(cores)
    queries, truth = np.load(f"{folder}/queries.npy"), np.load(f"{folder}/truth.npy")
    started = time.perf_counter()
    if factory == "auto":
        build_index = importlib.import_module("autofaiss").build_index  # of this environment, not of ours

        build_index(
            embeddings=f"{folder}/rows",
            index_path=f"{folder}/auto.index",
            index_infos_path=f"{folder}/auto.json",
            max_index_memory_usage=memory,
            current_memory_available="12G",
            metric_type="ip",
            nb_cores=cores,
            verbose=logging.ERROR,
        )
        seconds = time.perf_counter() - started
        index = faiss.read_index(f"{folder}/auto.index")
        size = os.path.getsize(f"{folder}/auto.index")
    else:
        rows = np.load(f"{folder}/rows/0.npy")
        index = faiss.index_factory(rows.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        index.train(rows)
        index.add(rows)
        seconds = time.perf_counter() - started
        size = len(faiss.serialize_index(index))
    faiss.omp_set_num_threads(cores)
    steps = []
    for name, values in _efforts(index):
        for value in values:
            faiss.ParameterSpace().set_index_parameter(index, name, value)
            batch, single = [], []
            for _ in range(ROUNDS):
                started = time.perf_counter()
                _, found = index.search(queries, truth.shape[1])
                batch.append((time.perf_counter() - started) / len(queries))
                started = time.perf_counter()
                for query in queries[:SINGLE]:
                    index.search(query[None], truth.shape[1])
                single.append((time.perf_counter() - started) / SINGLE)
            hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), truth.tolist(), strict=True))
            took = {"batch_ms": min(batch) * 1e3, "single_ms": min(single) * 1e3}
            steps.append({name: value, "recall": hits / truth.size, **took})
            if steps[-1]["recall"] > 0.9995:
                break
    kind = type(faiss.downcast_index(index)).__name__
    sys.stdout.write(json.dumps({"build_s": seconds, "bytes": size, "kind": kind, "steps": steps}) + "\n")


def _efforts(index: faiss.Index) -> list[tuple[str, list[int]]]:
    inner = faiss.downcast_index(index)
    if isinstance(inner, faiss.IndexPreTransform):
        inner = faiss.downcast_index(inner.index)
    if isinstance(inner, faiss.IndexHNSW):
        return [("efSearch", [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048])]
    return [("nprobe", [4, 8, 16, 32, 64, 128, 256])]


if __name__ == "__main__":
    main()
