"""Hubness: some items are in the first k of many queries, and others of none (Radovanović et al. 2010, JMLR 11).

Shape letters: N queries, D dimension, G gallery items, K places of a ranking.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np

from trichord.index_builders.exact import exact_topk
from trichord.pipelines.evaluation.figures import PLACES
from trichord.pipelines.evaluation.galleries import MODALITIES, HeldOut
from trichord.pipelines.evaluation.ranking import QUERIES_A_TIME

FIGURES = ("skewness", "never_found", "never_found_by_chance", "top_hub")

Hubness = dict[str, float | None]


def hubness(items_NK: np.ndarray, gallery: int) -> dict[str, float]:
    """Measure how unevenly the first k of N queries are spread over a gallery.

    Args:
        items_NK: int, the items found, each at most once a query.
        gallery: G, items in the gallery.

    Returns:
        `skewness` of the k-occurrence (how often each item is found; 0 where all are found equally often),
        `never_found`, the share of items that are in no first k, `never_found_by_chance`, the same of random rankings,
        and `top_hub`, the share of queries whose first k hold the item found most often.

    Raises:
        ValueError: there is no query or no item.
    """
    queries, k = items_NK.shape
    if not queries or not gallery:
        raise ValueError("hubness needs queries and items")
    times_G = np.bincount(items_NK.ravel(), minlength=gallery).astype(np.float64)
    away_G = times_G - times_G.mean()
    spread = np.sqrt((away_G**2).mean())
    return {
        "skewness": float((away_G**3).mean() / spread**3) if spread else 0.0,
        "never_found": float((times_G == 0).mean()),
        "never_found_by_chance": float((1 - k / gallery) ** queries),
        "top_hub": float(times_G.max() / queries),
    }


def measure_hubness(held_out: HeldOut, k: int) -> dict[str, Hubness]:
    """Measure hubness from each modality to each other (`text_to_image`), and of all items together (`all_views`).

    Returns:
        Figures rounded to 6 places; None where there are too few records.
    """
    found: dict[str, Hubness] = {}
    for query, target in permutations(MODALITIES, 2):
        asking, answering = held_out.has(query), held_out.has(target)
        name = f"{query}_to_{target}"
        found[name] = _measure_direction(held_out.queries[query][asking], held_out.gallery[target][answering], k)
    items = [held_out.gallery[name][has] for name in MODALITIES if (has := held_out.has(name)).any()]
    found["all_views"] = _measure_items(np.concatenate(items), k) if items else dict.fromkeys(FIGURES)
    return found


def _measure_direction(queries_ND: np.ndarray, gallery_GD: np.ndarray, k: int) -> Hubness:
    if not len(queries_ND) or not len(gallery_GD):
        return dict.fromkeys(FIGURES)
    return _round(hubness(_search(queries_ND, gallery_GD, k), len(gallery_GD)))


def _measure_items(vectors_GD: np.ndarray, k: int) -> Hubness:
    """Let every item ask for its k nearest others."""
    if len(vectors_GD) < 2:
        return dict.fromkeys(FIGURES)
    items = _search(vectors_GD, vectors_GD, k + 1)
    itself = items == np.arange(len(items))[:, None]
    others = np.take_along_axis(items, np.argsort(itself, axis=1, kind="stable"), axis=1)[:, : items.shape[1] - 1]
    return _round(hubness(others, len(vectors_GD)))


def _search(queries_ND: np.ndarray, gallery_GD: np.ndarray, k: int) -> np.ndarray:
    """Return the first k items of every query, some queries at a time."""
    starts = range(0, len(queries_ND), QUERIES_A_TIME)
    return np.concatenate(
        [exact_topk(queries_ND[first : first + QUERIES_A_TIME], [gallery_GD], k)[0] for first in starts]
    )


def _round(figures: dict[str, float]) -> Hubness:
    return {name: round(value, PLACES) for name, value in figures.items()}
