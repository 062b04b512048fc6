"""What an index costs, from constants that were measured: size, memory and time to build, time a query, recall.

`python -m tests.bench.index_costs` prints the table again. Times are of one core of the machine in RESULTS.md (AMD EPYC
of 2021, AVX2), float32 vectors in overlapping clusters: hard on codes and harder on cells, so real vectors mostly do
better. What is predicted is for choosing; what is built is measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trichord.index_builders.index_kinds import HNSW_LINKS, IndexPlan, Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Nanoseconds of one core for each value of a row (a code, for PQ): to encode it, to compare it with a query."""

    encode_ns: float
    scan_ns: float


COSTS = {
    "flat": Cost(encode_ns=0.5, scan_ns=0.034),
    "flat_fp16": Cost(encode_ns=1.0, scan_ns=0.2),
    "fp16": Cost(encode_ns=1.0, scan_ns=0.2),
    "sq8": Cost(encode_ns=4.0, scan_ns=0.2),
    "sq4": Cost(encode_ns=4.0, scan_ns=0.4),
    "rabitq": Cost(encode_ns=180.0, scan_ns=0.3),  # encoding: of 4 bits, see below
    "pq_fast": Cost(encode_ns=60.0, scan_ns=0.026),
    "pq": Cost(encode_ns=400.0, scan_ns=0.6),
}
RECALL = {"flat": 1.0, "flat_fp16": 0.999, "fp16": 0.999, "sq8": 0.985, "sq4": 0.88}
RABITQ_RECALL = {1: 0.37, 2: 0.6, 3: 0.8, 4: 0.89, 5: 0.94, 6: 0.97, 7: 0.984, 8: 0.991, 9: 0.995}
RABITQ_ENCODE_NS = {1: 29.0, 2: 105.0, 3: 170.0, 4: 180.0, 5: 250.0, 6: 300.0, 7: 420.0, 8: 690.0, 9: 1_100.0}
PQ_RECALL = {1: 0.89, 2: 0.75, 4: 0.5}  # by values a code of 4 bits
PQ8_RECALL = 0.42
REFINED = 0.999  # of what the refining code itself reaches: candidates that the first code leaves out
HNSW_RECALL = 0.97
VISITED = ((0.8, 0.06), (0.9, 0.2), (0.95, 0.35), (0.99, 0.6), (1.0, 1.0))  # recall -> share of the cells

READ_NS = 12.0  # to read, check and hash a value of a vector shard
ROW_NS = 2_500.0  # to name a row: keys, Parquet, checks
WRITE_NS = 1.5  # to write and hash a byte of the index
FLOP_NS = {"cpu": 1 / 40, "cuda": 1 / 1_000}  # matrix products inside k-means and assignment: one core, one H100
TRAIN_CODE_NS = 2_400.0  # a code of a sampled row, to train a product quantiser of 4 bits
START_S = 1.2  # workers import FAISS, and are handed three tasks one after another
TRUTH_NS = 16.0  # a value of a vector, to look at for all tuning queries
TUNING_SEARCHES = 8 * 200  # queries that tuning asks the index
REFINE_NS = 1.0  # a value of a candidate that is ranked again, with the fetch of its row
REFINED_ROWS = {1: 40, 2: 320, 4: 5_000}  # candidates that hold 99% of the nearest ten, by values a code of 4 bits
HNSW_LINK_NS = 330_000.0  # to link one row of 256 values at 300,000 rows
HNSW_HOP_NS = 6_200.0  # of efSearch
EF_SEARCH = 256
ITERATIONS = 20
OPEN_NS = 1.0  # a byte of the index, to hash and map it before it is searched
NAMES_NS = 700.0  # a row of the keys, to open them
KEYS_BYTES = 60  # of a row in the keys file
PROCESS_BYTES = 300 * 2**20  # a worker before it holds a row


def code_bytes(plan: IndexPlan, dimension: int) -> int:
    """Return bytes of one row in the index file."""
    code = {
        "flat": 4 * dimension,
        "hnsw": 4 * dimension + 8 * HNSW_LINKS + 20,
        "flat_fp16": 2 * dimension,
        "fp16": 2 * dimension,
        "sq8": dimension,
        "sq4": -(-dimension // 2),
        "rabitq": -(-dimension // 8) * (plan.bits or 1) + (8 if plan.bits == 1 else 20),
        "pq_fast": (plan.parts or 0) // 2,
        "pq": plan.parts or 0,
    }[plan.code]
    refine = {None: 0, "flat": 4 * dimension, "fp16": 2 * dimension, "sq8": dimension}[plan.refine]
    return code + refine + (8 if plan.nlist else 0)


def predict(
    plan: IndexPlan, rows: int, dimension: int, *, cores: int, rows_per_shard: int, recall: float
) -> Prediction:
    """Return size, build memory (all workers), build time and batch query time of a plan.

    Args:
        plan: the index.
        rows: vectors in all.
        dimension: values of a vector.
        cores: workers that build, threads that search.
        rows_per_shard: most rows of an index shard.
        recall: what the cells visited are chosen for.
    """
    values, size = rows * dimension, code_bytes(plan, dimension)
    reached = _code_recall(plan, dimension)
    visited = 1.0
    if plan.nlist:
        needed = min(1.0, recall / reached) if reached else 1.0
        visited = next(share for least, share in VISITED if least >= needed)
        reached *= needed
    codes = (plan.parts or dimension) if plan.code in ("pq", "pq_fast") else dimension
    cost = COSTS.get(plan.code, COSTS["flat"])
    code_ns = RABITQ_ENCODE_NS[plan.bits or 1] if plan.code == "rabitq" else cost.encode_ns
    encode_ns = rows * codes * code_ns + values * READ_NS + rows * (ROW_NS + size * WRITE_NS)
    alone_ns, scan_ns = 1e9 * START_S, rows * codes * cost.scan_ns * visited * (1.5 if plan.nlist else 1.0)
    alone_ns += min(rows, plan.read_rows) * dimension * READ_NS
    if plan.nlist:
        flop_ns = FLOP_NS[plan.device]
        alone_ns += ITERATIONS * plan.sample_rows * plan.nlist * dimension * 2 * flop_ns
        looked_at = min(plan.nlist, 64 * HNSW_LINKS) if plan.device == "cpu" else plan.nlist
        encode_ns += values * looked_at * 2 * flop_ns
        scan_ns += plan.nlist * dimension * COSTS["flat"].scan_ns
    if plan.code == "pq_fast":
        alone_ns += min(rows, plan.sample_rows, plan.code_rows) * codes * TRAIN_CODE_NS
    if plan.code == "pq":
        alone_ns += plan.sample_rows * dimension * 40_000
    if plan.code == "hnsw":
        encode_ns += rows * HNSW_LINK_NS * dimension / 256 * math.log2(max(2, rows)) / math.log2(300_000)
        scan_ns = EF_SEARCH * HNSW_HOP_NS * max(1, rows / rows_per_shard)
    if plan.refine:
        coarse = -(-dimension // (plan.parts or dimension)) if plan.code != "rabitq" else _coarseness(plan.bits or 1)
        scan_ns += REFINED_ROWS.get(coarse, 5_000) * max(1, rows / rows_per_shard) ** 0.5 * dimension * REFINE_NS
    if plan.tuned:
        encode_ns += values * (TRUTH_NS + 2 * READ_NS)
        alone_ns += rows * (size * OPEN_NS + NAMES_NS) + TUNING_SEARCHES * scan_ns
    shard = min(rows, rows_per_shard)
    working = shard * (2 * size + 4 * dimension + 400)
    return Prediction(
        index_bytes=rows * size,
        build_memory_bytes=int(cores * (PROCESS_BYTES + working) + 4 * dimension * plan.sample_rows),
        build_s=round((alone_ns + encode_ns / cores) / 1e9, 2),  # one worker trains and tunes, all do the rest
        query_ms=round(scan_ns / cores / 1e6, 4),
        recall=round(min(reached, 1.0), 4),
    )


def _coarseness(bits: int) -> int:
    return 1 if bits > 2 else 2 if bits == 2 else 4


def _code_recall(plan: IndexPlan, dimension: int) -> float:
    if plan.code == "rabitq":
        own = RABITQ_RECALL[plan.bits or 1]
    elif plan.code == "pq_fast":
        own = PQ_RECALL.get(-(-dimension // (plan.parts or 1)), 0.5)
    elif plan.code == "pq":
        own = PQ8_RECALL
    else:
        own = HNSW_RECALL if plan.code == "hnsw" else RECALL[plan.code]
    return REFINED * RECALL[plan.refine] if plan.refine else own
