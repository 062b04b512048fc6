"""Exact search by blocks, the truth an index is measured against. Memory is bounded by the block, not the corpus.

Shape letters: N queries, D dimension, K neighbours, B rows of a block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from trichord.index_builders.base import Hits, check_queries
from trichord.index_builders.vectors import vector_matrix

MIX = np.float32(0.3)
SCORES_A_TIME = 2**20  # 4 MiB of float32 scores at once, and twice that of places
ROWS_A_TIME = 8_192


def top_k(scores_NB: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return places of the k largest values of every row, best first; ties go to the smaller place.

    Returns:
        (places int64, scores) of shape (N, min(k, B)).
    """
    rows, width = scores_NB.shape
    k = min(k, width)
    if k == 0:
        return np.zeros((rows, 0), dtype=np.int64), scores_NB[:, :0]
    places = np.argpartition(scores_NB, width - k, axis=1)[:, width - k :]
    least = np.take_along_axis(scores_NB, places, axis=1).min(axis=1, keepdims=True)
    for row in np.flatnonzero((scores_NB >= least).sum(axis=1) > k):  # a tie for the last place: settle it by place
        places[row] = np.argsort(-scores_NB[row], kind="stable")[:k]
    places = np.sort(places, axis=1)
    scores = np.take_along_axis(scores_NB, places, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(scores, order, axis=1)


def near_queries(rows_ND: np.ndarray) -> np.ndarray:
    """Return queries near rows, float32 (N, D), each mixed with another: asked for itself, any index finds a row."""
    mixed = rows_ND + MIX * np.roll(rows_ND, 1, axis=0)
    return mixed / np.linalg.norm(mixed, axis=1, keepdims=True)


def exact_topk(queries_ND: np.ndarray, blocks: Iterable[np.ndarray], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k rows of largest inner product over all blocks; ties go to the smaller id.

    Args:
        queries_ND: float32 (N, D).
        blocks: float32 (B, D) each; ids count through the blocks in turn.
        k: neighbours wanted.

    Returns:
        (ids int64, scores float32), each (N, K) with K = min(k, rows).

    Raises:
        ValueError: k is below 1, or a block has another dimension or holds NaN or infinity.
    """
    queries = np.ascontiguousarray(queries_ND, dtype=np.float32)
    if k < 1:
        raise ValueError(f"k is {k}")
    best_ids = np.zeros((len(queries), 0), dtype=np.int64)
    best = np.zeros((len(queries), 0), dtype=np.float32)
    start = 0
    step = max(1, SCORES_A_TIME // max(1, len(queries)))
    for block in blocks:
        if block.ndim != 2 or block.shape[1] != queries.shape[1] or not np.isfinite(block).all():
            raise ValueError(f"block from row {start}, shape {block.shape}: expected finite (B, {queries.shape[1]})")
        for first in range(0, len(block), step):
            places, scores = top_k(queries @ block[first : first + step].T, k)
            # the best so far are left of the new ones and have smaller ids, so ties by place are ties by id
            merged = np.concatenate([best, scores], axis=1)
            ids = np.concatenate([best_ids, places + start + first], axis=1)
            order, best = top_k(merged, k)
            best_ids = np.take_along_axis(ids, order, axis=1)
        start += len(block)
    return best_ids, best


def exact_hits(
    queries_ND: np.ndarray,
    tables: Iterable[pa.Table],
    k: int,
    *,
    dimension: int,
    fingerprint: str,
    views: int = 1,
    collapse: bool = True,
) -> Hits:
    """Search vector tables exactly: return what a perfect index over them would.

    Args:
        queries_ND: float32 (N, D), L2-normalised.
        tables: tables of the `vectors` schema.
        k: neighbours wanted.
        dimension: D.
        fingerprint: the space.
        views: views of a record there are at most; only needed for `collapse`.
        collapse: list a record of several views once, in its best one.

    Raises:
        ValueError: the queries are not (N, D) of unit length.
        StorageError, FingerprintMismatch: as `vector_matrix`.
    """
    queries = check_queries(queries_ND, dimension)
    width = k * views if collapse else k  # k records are among the best k * views rows
    best = Hits.none(len(queries))
    for block in _joined(tables):
        matrix = vector_matrix(block, dimension=dimension, fingerprint=fingerprint)
        places, scores = exact_topk(queries, [matrix], width)
        best = Hits.merge([best, Hits.of(block, places, scores)], width)
    return best.best_per_key(k) if collapse else Hits.merge([best], k)


def _joined(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield tables of at least `ROWS_A_TIME` rows (but the last): naming hits costs by the table, not the row."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(part.num_rows for part in waiting) >= ROWS_A_TIME:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def shared(found_NK: Iterable[Iterable[int]], truth_NK: np.ndarray) -> float:
    """Return the share of the true row numbers that were found, ignoring ties; 1.0 where there is nothing to find."""
    hits = sum(len(set(a) & set(b)) for a, b in zip(found_NK, truth_NK.tolist(), strict=True))
    return hits / truth_NK.size if truth_NK.size else 1.0


def recall_at_k(found: Hits, truth: Hits, tolerance: float = 1e-5, *, exact_scores: bool = True) -> float:
    """Return the share of the true neighbours that were found, ties tolerated; 1.0 where there is nothing to find.

    A hit counts if it is a true neighbour (key and view), or if its score reaches that of the last true neighbour
    within `tolerance`: of rows that tie for the last place any may be there (faiss.contrib.evaluation). So
    `found.scores` must be true inner products, as Flat, IVF-Flat, HNSW and refining by float32 give them. With
    `exact_scores` False, where they are those of codes, a hit counts by its name alone.
    """
    hits = total = 0
    for n in range(len(truth.keys)):
        real = np.isfinite(truth.scores[n])
        wanted = set(zip(truth.keys[n][real], truth.views[n][real], strict=True))
        if not wanted:
            continue
        least = truth.scores[n][real].min() - tolerance
        got = {
            (key, view)
            for key, view, score in zip(found.keys[n], found.views[n], found.scores[n], strict=True)
            if key is not None and ((key, view) in wanted or (exact_scores and score >= least))
        }
        hits += min(len(got), len(wanted))
        total += len(wanted)
    return hits / total if total else 1.0
