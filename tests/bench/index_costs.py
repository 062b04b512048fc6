"""What indexes cost here, one core: the constants of `index_builders/costs.py`, and predicted against measured.

`python -m tests.bench.index_costs` prints both tables; `--json` one JSON line. Each kind is built from codes and
searched in a process's own CPU seconds (steadier than the clock on a busy machine). The second table extrapolates: the
model's time per row at 10,000, 100,000 and 1,000,000 rows against what a build took.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from tests.bench.vectors_lake import model_of, partitions, queries, workspace_at, write_corpus
from trichord.index_builders import faiss_kinds
from trichord.index_builders.choose import choose
from trichord.index_builders.costs import predict
from trichord.index_builders.exact import exact_topk, shared
from trichord.index_builders.index_kinds import IndexPlan
from trichord.infra.config import EngineConfig, IndexConfig
from trichord.infra.engines import open_engine
from trichord.pipelines.index.build_faiss import build_faiss

D, QUERIES = 256, 1_000
PLANS = (
    IndexPlan(kind="flat"),
    IndexPlan(kind="flat_fp16"),
    IndexPlan(kind="sq8"),
    IndexPlan(kind="sq4"),
    IndexPlan(kind="rabitq", bits=3),
    IndexPlan(kind="rabitq", bits=4),
    IndexPlan(kind="rabitq", bits=8),
    IndexPlan(kind="pq_fast", parts=D // 4),
    IndexPlan(kind="pq_fast", parts=D // 2),
    IndexPlan(kind="pq_fast", parts=D),
    IndexPlan(kind="pq_fast", parts=D // 4, refine="flat"),
    IndexPlan(kind="pq_fast", parts=D // 2, refine="sq8"),
)


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    """(CPU seconds of this process, result)."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def kind_costs(rows: int) -> list[dict[str, Any]]:
    """Nanoseconds of one core for each code of a row, to encode and to scan, and recall@10, of every kind."""
    faiss.omp_set_num_threads(1)
    vectors = np.concatenate([part for _, part in partitions(rows, D)])
    asked = queries(rows, D, QUERIES)
    truth_NK, _ = exact_topk(asked, [vectors], 10)
    lines = []
    for plan in PLANS:
        train_s = 0.0
        index = faiss_kinds.blank(plan, D)
        if plan.trained:
            train_s, trained = cpu(lambda plan=plan: faiss_kinds.train(plan, vectors[: plan.sample_rows], 0))  # type: ignore[misc]
            index = faiss.deserialize_index(np.frombuffer(trained, dtype=np.uint8))
        codes = None
        encode_s = 0.0
        if plan.cached:
            encode_s, codes = cpu(lambda index=index: faiss_kinds.encode(index, vectors))  # type: ignore[misc]
        append_s, _ = cpu(lambda index=index, codes=codes: faiss_kinds.append(index, codes, vectors))  # type: ignore[misc]
        done, _alive = faiss_kinds.finished(plan, index)
        params, _kept = faiss_kinds.search_params(plan, {"depth": 32}, None)
        scan_s, (_, found) = cpu(lambda done=done, params=params: done.search(asked, 10, params=params))  # type: ignore[misc]
        values = rows * (plan.parts or D)
        lines.append(
            {
                "kind": plan.kind,
                **plan.params,
                "train_s": round(train_s, 2),
                "encode_ns": round((encode_s + append_s) / values * 1e9, 2),
                "scan_ns": round(scan_s / QUERIES / values * 1e9, 4),
                "recall": round(shared(found.tolist(), truth_NK), 4),
            }
        )
    return lines


def extrapolated(sizes: list[int], dimension: int, workers: int) -> list[dict[str, Any]]:
    """Builds of the product at several sizes against what was predicted of each."""
    lines = []
    for rows in sizes:
        with tempfile.TemporaryDirectory(prefix="trichord-bench-") as name:
            config = {"kind": "pq_fast", "parts": dimension // 4, "refine": "flat"}
            workspace = workspace_at(Path(name), config, workers)
            vectors = write_corpus(workspace, Path(name), rows, dimension)
            plan = choose(rows, dimension, IndexConfig.model_validate(config), cores=workers)
            with open_engine(EngineConfig(workers=workers)) as engine:
                list(engine.map(str, ["workers", "start"]))
                started = time.perf_counter()
                built = build_faiss(workspace, engine, vectors, model_of(dimension), None)
                seconds = time.perf_counter() - started
            predicted = predict(plan, rows, dimension, cores=workers, rows_per_shard=100_000, recall=0.95)
            size = sum(shard.index.bytes for shard in built.manifest.shards)
            lines.append(
                {
                    "rows": rows,
                    "build_s": round(seconds, 2),
                    "predicted_s": predicted.build_s,
                    "factor": round(seconds / predicted.build_s, 2),
                    "us_a_row": round(seconds / rows * 1e6, 2),
                    "bytes": size,
                    "predicted_bytes": predicted.index_bytes,
                }
            )
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--dimension", type=int, default=128, help="of the second table")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    costs = kind_costs(options.rows)
    builds = extrapolated(options.sizes, options.dimension, options.workers)
    if options.json:
        sys.stdout.write(json.dumps({"costs": costs, "builds": builds}) + "\n")
        return
    for line in [*costs, *builds]:
        sys.stdout.write("  ".join(f"{name} {value}" for name, value in line.items()) + "\n")


if __name__ == "__main__":
    main()
