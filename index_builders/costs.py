"""What an index costs: size, memory and time to build, time a query, recall.

Times are constants, of one core of an Intel Xeon with AVX-512 (RESULTS.md, "Indexes"; `python -m
tests.bench.index_costs` prints them again); their ratios choose. How much must be looked at is a property of the
vectors: `Measured` says it where a sample was taken. Else it is that of overlapping clusters, which are hard on codes
and harder on cells. What is predicted is for choosing; what is built is measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trichord.index_builders.index_kinds import HNSW_LINKS, IndexPlan, Prediction
from trichord.index_builders.measured import K, Measured, code_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Nanoseconds of one core for each value of a row (a code, for PQ): to encode it, and to compare it with a query.

    Queries are compared with all rows in a batch (`scan_ns`) or alone (`alone_ns`), or with the rows of cells.
    """

    encode_ns: float
    scan_ns: float
    alone_ns: float
    cell_ns: float


COSTS = {
    "flat": Cost(encode_ns=0.5, scan_ns=0.034, alone_ns=0.3, cell_ns=0.25),
    "flat_fp16": Cost(encode_ns=1.0, scan_ns=0.1, alone_ns=0.15, cell_ns=0.2),
    "fp16": Cost(encode_ns=1.0, scan_ns=0.1, alone_ns=0.15, cell_ns=0.2),
    "sq8": Cost(encode_ns=4.0, scan_ns=0.15, alone_ns=0.15, cell_ns=0.2),
    "sq4": Cost(encode_ns=4.0, scan_ns=0.4, alone_ns=0.4, cell_ns=0.4),
    "rabitq": Cost(encode_ns=180.0, scan_ns=0.3, alone_ns=0.3, cell_ns=0.4),  # encoding: of 4 bits, see below
    "pq_fast": Cost(encode_ns=60.0, scan_ns=0.026, alone_ns=0.036, cell_ns=0.06),
    "pq": Cost(encode_ns=400.0, scan_ns=0.6, alone_ns=0.6, cell_ns=0.9),
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
FLOP_NS = {"cpu": 1 / 100, "cuda": 1 / 1_000}  # matrix products inside k-means and assignment: one core, one H100
TRAIN_CODE_NS = 1_200.0  # a code of a sampled row, to train a product quantiser of 4 bits
START_S = 1.2  # workers import FAISS, and are handed three tasks one after another
TRUTH_NS = 16.0  # a value of a vector, to look at for all tuning queries
TUNING_SEARCHES = 8 * 200  # queries that tuning asks the index
REFINE_NS = 1.0  # a value of a candidate that is ranked again
CANDIDATE_NS = 60.0  # to keep a candidate in order, and to fetch its row
CELLS_ENOUGH = 0.99  # of what all cells hold
MOST_CANDIDATES = 1_280  # of a shard, that tuning tries
SINGLE_NS = 60_000.0  # a query alone: call, checks, names
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
    plan: IndexPlan,
    rows: int,
    dimension: int,
    *,
    cores: int,
    rows_per_shard: int,
    recall: float,
    measured: Measured | None = None,
) -> Prediction:
    """Return size, build memory (all workers), build time and query times of a plan.

    Args:
        plan: the index.
        rows: vectors in all.
        dimension: values of a vector.
        cores: workers that build, threads that search.
        rows_per_shard: most rows of an index shard.
        recall: what the cells visited and the candidates are chosen for.
        measured: what a sample of the vectors shows; constants if None.
    """
    values, size, shards = rows * dimension, code_bytes(plan, dimension), max(1.0, rows / rows_per_shard)
    reached, candidates = (
        _code_recall(plan, dimension, measured),
        _candidates(plan, dimension, shards, recall, measured),
    )
    if candidates is None:  # more than tuning tries
        reached, candidates = min(reached, 0.99 * recall), MOST_CANDIDATES * shards
    visited = 1.0
    if plan.nlist:
        needed = min(1.0, recall / reached) if reached else 1.0
        visited = next(share for least, share in VISITED if least >= needed)
        if measured:  # where codes miss the recall, tuning stops where more cells find no more
            visited = measured.share_for(needed if reached >= recall else CELLS_ENOUGH)
        reached *= needed
    codes = (plan.parts or dimension) if plan.code in ("pq", "pq_fast") else dimension
    cost = COSTS.get(plan.code, COSTS["flat"])
    code_ns = RABITQ_ENCODE_NS[plan.bits or 1] if plan.code == "rabitq" else cost.encode_ns
    encode_ns = rows * codes * code_ns + values * READ_NS + rows * (ROW_NS + size * WRITE_NS)
    scan_ns, alone_ns = rows * codes * cost.scan_ns, rows * codes * cost.alone_ns  # of a query in a batch, and alone
    driver_ns = 1e9 * START_S + min(rows, plan.read_rows) * dimension * READ_NS
    if plan.nlist:
        flop_ns = FLOP_NS[plan.device]
        driver_ns += ITERATIONS * min(rows, plan.sample_rows) * plan.nlist * dimension * 2 * flop_ns
        looked_at = min(plan.nlist, 64 * HNSW_LINKS) if plan.device == "cpu" else plan.nlist
        encode_ns += values * looked_at * 2 * flop_ns
        scan_ns = alone_ns = rows * codes * cost.cell_ns * visited
        scan_ns += plan.nlist * dimension * COSTS["flat"].scan_ns
        alone_ns += plan.nlist * dimension * COSTS["flat"].alone_ns
    if plan.code == "pq_fast":
        driver_ns += min(rows, plan.sample_rows, plan.code_rows) * codes * TRAIN_CODE_NS
    if plan.code == "pq":
        driver_ns += plan.sample_rows * dimension * 40_000
    if plan.code == "hnsw":
        encode_ns += rows * HNSW_LINK_NS * dimension / 256 * math.log2(max(2, rows)) / math.log2(300_000)
        scan_ns = alone_ns = EF_SEARCH * HNSW_HOP_NS * shards
    ranking_ns = candidates * (dimension * REFINE_NS + CANDIDATE_NS)
    scan_ns, alone_ns = scan_ns + ranking_ns, alone_ns + ranking_ns
    if plan.tuned:
        encode_ns += values * (TRUTH_NS + 2 * READ_NS)
        driver_ns += rows * (size * OPEN_NS + NAMES_NS) + TUNING_SEARCHES * scan_ns
    working = min(rows, rows_per_shard) * (2 * size + 4 * dimension + 400)
    return Prediction(
        index_bytes=rows * size,
        build_memory_bytes=int(cores * (PROCESS_BYTES + working) + 4 * dimension * plan.sample_rows),
        build_s=round((driver_ns + encode_ns / cores) / 1e9, 2),  # one worker trains and tunes, all do the rest
        query_ms=round(scan_ns / cores / 1e6, 4),
        single_ms=round((alone_ns / min(cores, math.ceil(shards)) + SINGLE_NS) / 1e6, 4),
        recall=round(min(reached, 1.0), 4),
    )


def _candidates(
    plan: IndexPlan, dimension: int, shards: float, recall: float, measured: Measured | None
) -> float | None:
    """Return how many candidates of all shards are ranked again; None if more than tuning tries would be needed."""
    if plan.refine is None:
        return 0.0
    name = code_name(plan, dimension)
    if measured is None or name is None or name not in measured.ranked:
        values = -(-dimension // (plan.parts or dimension)) if plan.code != "rabitq" else _coarseness(plan.bits or 1)
        return float(REFINED_ROWS.get(values, 5_000) * shards**0.5)
    wanted = measured.candidates_for(name, recall)
    a_shard = (
        math.inf if wanted is None else max(8 * K if plan.nlist else K, wanted / shards**0.5)
    )  # some lie in one shard
    if a_shard > MOST_CANDIDATES:
        return None
    return float(K * 2 ** math.ceil(math.log2(a_shard / K)) * shards)  # as tuning does: by doubling


def _coarseness(bits: int) -> int:
    return 1 if bits > 2 else 2 if bits == 2 else 4


def _code_recall(plan: IndexPlan, dimension: int, measured: Measured | None) -> float:
    seen = measured.recall if measured else {}
    if plan.refine:
        return REFINED * seen.get(plan.refine, RECALL[plan.refine])
    if (name := code_name(plan, dimension)) is not None and name in seen:
        return seen[name]
    if plan.code == "rabitq":
        return RABITQ_RECALL[plan.bits or 1]
    if plan.code == "pq_fast":
        return PQ_RECALL.get(-(-dimension // (plan.parts or 1)), 0.5)
    if plan.code == "pq":
        return PQ8_RECALL
    return HNSW_RECALL if plan.code == "hnsw" else RECALL[plan.code]
