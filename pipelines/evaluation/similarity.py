"""Cosines of true pairs beside those of shuffled ones: how well a space separates what belongs together.

Shape letters: N records, D dimension, P pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trichord.infra.digest import generator
from trichord.pipelines.core.result import Result
from trichord.pipelines.evaluation.figures import PLACES
from trichord.pipelines.evaluation.galleries import HeldOut

SHUFFLED_PAIRS = 100_000  # about this many at most
BINS = 32
QUANTILES = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}


def auc(true_P: np.ndarray, shuffled_P: np.ndarray) -> float:
    """Return the probability that a true pair is more similar than a shuffled one (Mann and Whitney 1947).

    Ties count half.

    Raises:
        ValueError: there are no pairs of one kind.
    """
    if not len(true_P) or not len(shuffled_P):
        raise ValueError("there are no pairs of one kind")
    ranked = np.sort(true_P)
    below, not_above = (np.searchsorted(ranked, shuffled_P, side) for side in ("left", "right"))
    return float(1 - (below.mean() + not_above.mean()) / (2 * len(ranked)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Shares of the `true` and `shuffled` pairs in each of 32 equal bins between `low` and `high`."""

    low: float
    high: float
    true: Sequence[float]
    shuffled: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity(Result):
    """Cosines of true and shuffled pairs: `mean` and quantiles (`p05` … `p95`), rounded to 6 places.

    None where there are too few records.
    """

    pairs: int
    auc: float | None
    true: Mapping[str, float | None]
    shuffled: Mapping[str, float | None]
    histogram: Histogram | None


def similarity(held_out: HeldOut, left: str, right: str, seed: int) -> Similarity:
    """Measure cosines of two modalities of one record, and of different records.

    The shuffled pairs are rotations of the records in the order of their keys by offsets drawn from `seed`; all of them
    in a small set. Records of equal text belong together, so such pairs are left out.
    """
    rows = np.flatnonzero(held_out.has(f"{left}+{right}"))
    rows = rows[np.argsort(held_out.places()[rows])]
    lefts, rights, labels = held_out.gallery[left][rows], held_out.gallery[right][rows], held_out.labels()[rows]
    true_P = _cosines(lefts, rights)
    shuffled_P = _shuffle(lefts, rights, labels, generator(seed, "shuffled", left, right))
    if not len(shuffled_P):
        empty: Mapping[str, None] = dict.fromkeys(("mean", *QUANTILES))
        return Similarity(pairs=len(true_P), auc=None, true=empty, shuffled=empty, histogram=None)
    every = np.concatenate([true_P, shuffled_P])
    low, high = float(every.min()), float(every.max())
    return Similarity(
        pairs=len(true_P),
        auc=round(auc(true_P, shuffled_P), PLACES),
        true=_describe(true_P),
        shuffled=_describe(shuffled_P),
        histogram=Histogram(
            low=round(low, PLACES),
            high=round(high, PLACES),
            true=_share_bins(true_P, low, high),
            shuffled=_share_bins(shuffled_P, low, high),
        ),
    )


def _share_bins(cosines_P: np.ndarray, low: float, high: float) -> list[float]:
    counts = np.histogram(cosines_P, BINS, (low, high))[0]
    return [round(float(share), PLACES) for share in counts / len(cosines_P)]


def _shuffle(
    lefts_ND: np.ndarray, rights_ND: np.ndarray, labels_N: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    rows = len(labels_N)
    if rows < 2:
        return np.zeros(0)
    wanted = min(rows - 1, max(1, SHUFFLED_PAIRS // rows))
    found = []
    for offset in np.sort(random.choice(rows - 1, wanted, replace=False)) + 1:
        strangers = labels_N != np.roll(labels_N, offset)
        found.append(_cosines(lefts_ND, np.roll(rights_ND, offset, axis=0))[strangers])
    return np.concatenate(found)


def _cosines(lefts_ND: np.ndarray, rights_ND: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", lefts_ND, rights_ND, dtype=np.float64)


def _describe(cosines_P: np.ndarray) -> dict[str, float]:
    values = {"mean": cosines_P.mean()} | dict(
        zip(QUANTILES, np.quantile(cosines_P, list(QUANTILES.values())), strict=True)
    )
    return {name: round(float(value), PLACES) for name, value in values.items()}
