"""How much of these vectors a search must look at, counted on a sample: cells visited, and candidates of each code.

It is a property of the vectors: patches of pictures have their neighbours in a tenth of the cells, overlapping clusters
in nearly all. Two sizes of sample show how it grows. Only counts matter, never the clock, and they are rounded, so
equal vectors give equal figures on every machine. Shape letters: N rows, D dimension, Q queries, K neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from trichord.index_builders import faiss_kinds
from trichord.index_builders.choose import cells
from trichord.index_builders.exact import near_queries, top_k
from trichord.index_builders.index_kinds import IndexPlan
from trichord.index_builders.measured import LEVELS, K, Measured, carried, rounded
from trichord.infra.config import IndexKind
from trichord.infra.digest import generator

SAMPLE, VALUES = 16_384, 2**22  # rows of the larger sample; fewer of long vectors: 16 MB and about a second
LEAST = 256  # fewer vectors show nothing
QUERIES = 200
CELL_ITERATIONS, CODE_ITERATIONS, CODE_ROWS = 5, 10, 2_048  # less than an index: it changes the figures little
# Error of RaBitQ by bits: how far a score is off, times the root of the dimension (a rotation makes all errors alike)
RABITQ_NOISE = {1: 0.75, 2: 0.37, 3: 0.19, 4: 0.11, 5: 0.05, 6: 0.025, 7: 0.013, 8: 0.007, 9: 0.0035}


def sample_rows(rows: int, dimension: int) -> int:
    """Return how many vectors are looked at: a power of two, unless there are fewer vectors."""
    return min(rows, SAMPLE, 2 ** int(math.log2(VALUES / dimension)))


def measure_sample(sample_ND: np.ndarray, rows: int, codes: Sequence[str]) -> Measured | None:
    """Measure a sample of vectors.

    Args:
        sample_ND: float32 (N, D), L2-normalised, in an order by chance; the smaller sample is its first quarter.
        rows: vectors that it represents.
        codes: which codes, as `measured.code_name` names them.

    Returns:
        What is expected of all rows; None if the sample is too small to show anything.
    """
    sample = np.ascontiguousarray(sample_ND, dtype=np.float32)
    if len(sample) < LEAST:
        return None
    sizes, steps = (len(sample) // 4, len(sample)), math.log(max(1.0, rows / len(sample)), 4)
    queries_QD = near_queries(sample[: min(QUERIES, sizes[0])])
    scores_QN = queries_QD @ sample.T
    truths = [top_k(scores_QN[:, :size], K)[0] for size in sizes]
    (small, *residuals), (large, *more) = (
        _visited(sample[:size], queries_QD, truth_QK) for size, truth_QK in zip(sizes, truths, strict=True)
    )
    residual = np.float32(carried([*residuals, *more], steps, 0.5, 1.0))
    visited = accumulate((carried(pair, steps, 0.5, 1.0) for pair in zip(small, large, strict=True)), max)
    recall: dict[str, float] = {}
    ranked: dict[str, tuple[int, ...]] = {}
    known, error_QN = "", np.zeros_like(scores_QN)
    for code in sorted(codes, key=lambda code: code.removeprefix("ivf_")):
        if code.removeprefix("ivf_") != known:
            known = code.removeprefix("ivf_")
            error_QN = _seen(known, sample, queries_QD, scores_QN) - scores_QN
        seen_QN = scores_QN + error_QN * (residual if code != known else np.float32(1.0))
        ranks = [_ranks(seen_QN[:, :size], truth_QK) for size, truth_QK in zip(sizes, truths, strict=True)]
        missed = carried((float((each >= K).mean()) for each in ranks), steps, 1.0, 1.5)
        recall[code] = round(max(0.0, 1 - missed), 2)
        counts = (carried(pair, steps, 1.0, 4.0) for pair in zip(*map(_at_levels, ranks), strict=True))
        ranked[code] = tuple(int(rounded(min(count, rows))) for count in accumulate(counts, max))
    return Measured(rows=rows, visited=tuple(map(rounded, visited)), recall=recall, ranked=ranked)


def _visited(sample_ND: np.ndarray, queries_QD: np.ndarray, truth_QK: np.ndarray) -> tuple[list[float], float]:
    """Return the share of the rows that lie in the nearest cells, for each level of neighbours found there.

    And how far rows are from the centres of their cells: the root of the mean square. Codes of that are so much finer.
    """
    plan = IndexPlan(kind="ivf_flat", nlist=cells(len(sample_ND)))
    _, base, _ = faiss_kinds.taken_apart(index := faiss_kinds.trained(plan, sample_ND, 0, iterations=CELL_ITERATIONS))
    with faiss_kinds.one_thread():
        _, own_N1 = base.quantizer.search(sample_ND, 1)
        centres_CD = base.quantizer.reconstruct_n(0, base.nlist)
    del index
    near_QC = queries_QD @ centres_CD.T
    residual = float(np.sqrt(((sample_ND - centres_CD[own_N1[:, 0]]) ** 2).sum(axis=1).mean()))
    held_C = np.bincount(own_N1[:, 0], minlength=near_QC.shape[1])
    growing_QC = held_C[np.argsort(-near_QC, axis=1, kind="stable")].cumsum(axis=1).mean(axis=0)
    ranks = _at_levels(_ranks(near_QC, own_N1[truth_QK, 0]))
    return [float(growing_QC[rank - 1]) / len(sample_ND) for rank in ranks], residual


def _seen(code: str, sample_ND: np.ndarray, queries_QD: np.ndarray, scores_QN: np.ndarray) -> np.ndarray:
    """Return the scores of queries and rows as a code gives them."""
    name, _, size = code.partition("/")
    if name == "rabitq":
        noise_QN = generator("measure", code).standard_normal(scores_QN.shape, dtype=np.float32)
        noisy: np.ndarray = scores_QN + noise_QN * np.float32(RABITQ_NOISE[int(size)] / sample_ND.shape[1] ** 0.5)
        return noisy
    kinds: dict[str, IndexKind] = {"sq8": "sq8", "sq4": "sq4", "pq_fast": "pq_fast"}
    plan = IndexPlan(kind=kinds[name], parts=sample_ND.shape[1] // int(size) if size else None)
    index = faiss_kinds.trained(plan, sample_ND[:CODE_ROWS], 0, iterations=CODE_ITERATIONS)
    with faiss_kinds.one_thread():
        decoded: np.ndarray = index.sa_decode(index.sa_encode(sample_ND))
    return queries_QD @ decoded.T


def _ranks(scores_QN: np.ndarray, truth_QK: np.ndarray) -> np.ndarray:
    """Return how many score more than each of these, (Q, K)."""
    true_QK = np.take_along_axis(scores_QN, truth_QK, axis=1)
    return np.stack([(scores_QN > true_QK[:, k : k + 1]).sum(axis=1) for k in range(truth_QK.shape[1])], axis=1)


def _at_levels(ranks_QK: np.ndarray) -> list[int]:
    """Return how many of the first must be looked at to find each level's share of all."""
    ascending = np.sort(ranks_QK, axis=None)
    return [int(ascending[math.ceil(level * len(ascending)) - 1]) + 1 for level in LEVELS]
