"""Precision, recall, NDCG, reciprocal rank and average precision at k with binary relevance.

Relevant is what has the query's label. The definitions are those of trec_eval.

Shape letters: N queries, D dimension, G gallery items, K places of a ranking.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trichord.index_builders.exact import exact_topk, top_k

QUERIES_A_TIME = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """The first K gallery items of every query.

    Attributes:
        items_NK: gallery items, best first; -1 where the gallery has fewer.
        relevant_NK: bool, whether the item is relevant.
        total_N: relevant items in the query's gallery, at least 1.
        k: places asked for.
    """

    items_NK: np.ndarray
    relevant_NK: np.ndarray
    total_N: np.ndarray
    k: int

    def precision(self) -> np.ndarray:
        """P@k (N,): relevant items among the first k, divided by k."""
        return self.relevant_NK.sum(axis=1) / self.k

    def recall(self) -> np.ndarray:
        """R@k (N,): relevant items among the first k, divided by all relevant ones. By chance it is k / G."""
        return self.relevant_NK.sum(axis=1) / self.total_N

    def ndcg(self) -> np.ndarray:
        """NDCG@k (N,) with gain 1 and discount log2(place + 1) (Järvelin and Kekäläinen 2002)."""
        discount = 1 / np.log2(np.arange(2, self.relevant_NK.shape[1] + 2))
        ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, self.k + 2)))])
        return (self.relevant_NK * discount).sum(axis=1) / ideal[np.minimum(self.total_N, self.k)]

    def reciprocal_rank(self) -> np.ndarray:
        """1 / place of the first relevant item (N,), 0 where none is among the first k. Its mean is MRR@k."""
        if not self.relevant_NK.shape[1]:
            return np.zeros(len(self.relevant_NK))
        return self.relevant_NK.any(axis=1) / (self.relevant_NK.argmax(axis=1) + 1)

    def average_precision(self) -> np.ndarray:
        """AP@k (N,): precision at each relevant item's place among the first k, summed, over all relevant ones.

        Its mean is mAP@k. An item beyond place k adds nothing, so where more than k are relevant it cannot reach 1.
        """
        precision = np.cumsum(self.relevant_NK, axis=1) / np.arange(1, self.relevant_NK.shape[1] + 1)
        return (precision * self.relevant_NK).sum(axis=1) / self.total_N

    def measures(self) -> dict[str, np.ndarray]:
        """Return all of them (N,) by the name that their mean has in an evaluation (`names`)."""
        values = (self.recall(), self.precision(), self.ndcg(), self.reciprocal_rank(), self.average_precision())
        return dict(zip(names(self.k), values, strict=True))


def names(k: int) -> tuple[str, ...]:
    """Return what the measures at depth k are called in an evaluation."""
    return tuple(f"{name}_at_{k}" for name in ("recall", "precision", "ndcg", "mrr", "map"))


def rank(
    queries_ND: np.ndarray,
    query_labels_N: np.ndarray,
    gallery_GD: np.ndarray,
    gallery_labels_G: np.ndarray,
    k: int,
    *,
    excluded_N: np.ndarray | None = None,
) -> Ranked:
    """Rank a gallery for every query by inner product; ties go to the smaller item.

    Args:
        queries_ND: float32 (N, D).
        query_labels_N: int (N,); gallery items with the same label are relevant.
        gallery_GD: float32 (G, D).
        gallery_labels_G: int (G,).
        k: depth.
        excluded_N: one item of the gallery that is not in this query's gallery, -1 for none.

    Raises:
        ValueError: k is below 1, or a query has no relevant item in its gallery.
    """
    if k < 1:
        raise ValueError(f"k is {k}")
    labels, counts = np.unique(gallery_labels_G, return_counts=True)
    place = np.minimum(np.searchsorted(labels, query_labels_N), max(0, len(labels) - 1))
    total = (
        np.where(labels[place] == query_labels_N, counts[place], 0) if len(labels) else np.zeros(len(queries_ND), int)
    )
    excluded = np.full(len(queries_ND), -1) if excluded_N is None else excluded_N
    hidden = excluded >= 0
    total[hidden] -= gallery_labels_G[excluded[hidden]] == query_labels_N[hidden]
    if (total < 1).any():
        raise ValueError(f"query {np.flatnonzero(total < 1)[0]} has nothing relevant in its gallery")
    width = min(k, len(gallery_GD))
    items = np.full((len(queries_ND), width), -1)
    for first in range(0, len(queries_ND), QUERIES_A_TIME):
        part = slice(first, first + QUERIES_A_TIME)
        if not hidden[part].any():
            items[part] = exact_topk(queries_ND[part], [gallery_GD], k)[0]
            continue
        scores = queries_ND[part] @ gallery_GD.T
        rows = np.flatnonzero(hidden[part])
        scores[rows, excluded[part][rows]] = -np.inf
        places, best = top_k(scores, k)
        items[part] = np.where(np.isneginf(best), -1, places)
    relevant = (items >= 0) & (gallery_labels_G[items] == query_labels_N[:, None])
    return Ranked(items_NK=items, relevant_NK=relevant, total_N=total, k=k)
