"""Cells of an IVF index on a GPU against the same FAISS on the CPU: to train them, to find them for rows, and recall.

`python -m tests.bench.index_gpu --json` prints one JSON line. Training on the CPU takes one thread, as a build does for
equal bytes; `train_speedup_all_threads` is against FAISS on every core. Needs faiss-gpu and a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import faiss
import numpy as np

from tests.bench.vectors_lake import partitions, queries
from trichord.index_builders import faiss_kinds
from trichord.index_builders.exact import exact_topk, shared
from trichord.index_builders.index_kinds import IndexPlan


def clocked(work: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds, result)."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def measure(rows: int, dimension: int, nlist: int, seed: int) -> dict[str, Any]:
    """Seconds on both devices, and recall@10 of both indexes at equal effort."""
    vectors = np.concatenate([part for _, part in partitions(rows, dimension)])
    asked = queries(rows, dimension, 100)
    truth, _ = exact_topk(asked, [vectors], 10)
    cpu_plan = IndexPlan(kind="ivf_sq8", nlist=nlist)
    sample = vectors[: cpu_plan.sample_rows]
    faiss_kinds.on_gpu(faiss.IndexFlatIP(8))  # the device is started
    result: dict[str, Any] = {
        "rows": rows,
        "dimension": dimension,
        "nlist": nlist,
        "sample": len(sample),
        "cores": os.cpu_count(),
    }
    for plan in (cpu_plan, replace(cpu_plan, device="cuda")):
        train_s, trained = clocked(lambda plan=plan: faiss_kinds.train(plan, sample, seed))  # type: ignore[misc]
        index = faiss.deserialize_index(np.frombuffer(trained, dtype=np.uint8))
        cells = faiss_kinds.cells_on_gpu(index) if plan.device == "cuda" else None
        encode_s, codes = clocked(lambda index=index, cells=cells: faiss_kinds.encode(index, vectors, cells))  # type: ignore[misc]
        faiss_kinds.append(index, codes, None)
        params, _alive = faiss_kinds.search_params(plan, {"nprobe": max(1, nlist // 16)}, None)
        _, found = index.search(asked, 10, params=params)
        result[plan.device] = {
            "train_s": round(train_s, 2),
            "encode_s": round(encode_s, 2),
            "recall_at_10": round(shared(found.tolist(), truth), 4),
        }
    clustering = faiss.Clustering(dimension, nlist)
    clustering.niter, clustering.seed, clustering.spherical = faiss_kinds.ITERATIONS, seed, True
    clustering.max_points_per_centroid = max(256, -(-len(sample) // nlist))
    threads_s, _ = clocked(lambda: clustering.train(sample, faiss.IndexFlatIP(dimension)))
    result["all_threads_train_s"] = round(threads_s, 2)
    result["train_speedup"] = round(result["cpu"]["train_s"] / result["cuda"]["train_s"], 1)
    result["train_speedup_all_threads"] = round(threads_s / result["cuda"]["train_s"], 1)
    result["encode_speedup"] = round(result["cpu"]["encode_s"] / result["cuda"]["encode_s"], 1)
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--nlist", type=int, default=4_096)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="one JSON line (the only output there is)")
    options = parser.parse_args()
    result = measure(options.rows, options.dimension, options.nlist, options.seed)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
