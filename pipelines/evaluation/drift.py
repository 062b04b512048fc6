"""Drift: how far what is there now differs from what was there, and whether chance alone would do that.

Pure functions on samples of independent rows: of rows that belong together (the pages of one story), take one.
Shape letters: N rows of the one sample, M rows of the other, D values of a vector.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

FOLDS = 2
LEAST_ROWS = 20  # of each sample: of fewer, what they have in common by chance looks like drift
RIDGE = 1.0  # of the classifier, in units of the mean variance of a value


def ks_distance(one_N: np.ndarray, other_M: np.ndarray) -> float:
    """Return the Kolmogorov-Smirnov distance of two samples, in [0, 1]: the largest difference of their shares below
    any value (Massey 1951, J. Am. Stat. Assoc. 46:68). Neither may be empty.
    """
    places = np.concatenate([one_N, other_M])
    below = [np.searchsorted(np.sort(values), places, side="right") / len(values) for values in (one_N, other_M)]
    return float(np.abs(below[0] - below[1]).max())


def ks_limit(rows: int, others: int, level: float) -> float:
    """Return the distance that two samples of one distribution exceed with at most this probability.

    The asymptotic value (Smirnov 1948), which is too large for small samples and for values that repeat: it errs
    towards silence.
    """
    return math.sqrt(-math.log(level / 2) / 2 * (rows + others) / (rows * others))


def separability(one_ND: np.ndarray, other_MD: np.ndarray) -> float | None:
    """Return how well a linear classifier separates two samples: AUC on rows that it was not fitted on.

    0.5: not at all; 1: entirely. A classifier two-sample test (Lopez-Paz and Oquab, ICLR 2017): ridge regression is
    fitted on every other row of both samples and judged on the rest, then the other way round. The rows must be in
    random order. None where a sample has fewer than `LEAST_ROWS`.
    """
    if min(len(one_ND), len(other_MD)) < LEAST_ROWS:
        return None
    rows = np.concatenate([one_ND, other_MD]).astype(np.float64)
    is_one = np.arange(len(rows)) < len(one_ND)
    fold = np.concatenate([np.arange(len(one_ND)), np.arange(len(other_MD))]) % FOLDS
    areas, pairs = [], []
    for number in range(FOLDS):
        seen, held = fold != number, fold == number
        scores = rows[held] @ _fit(rows[seen], is_one[seen])
        positive, negative = scores[is_one[held]], scores[~is_one[held]]
        ordered = np.sort(negative)
        below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
        areas.append(below.sum() / 2)
        pairs.append(len(positive) * len(negative))
    return float(np.sum(areas) / np.sum(pairs))


def _fit(rows_ND: np.ndarray, is_one_N: np.ndarray) -> np.ndarray:
    """Return the direction (D,) of ridge regression that separates the rows; both kinds count the same."""
    weights = np.where(is_one_N, 0.5 / is_one_N.sum(), 0.5 / (~is_one_N).sum())
    centred = rows_ND - weights @ rows_ND
    wanted = np.where(is_one_N, 1.0, -1.0)
    scatter = (centred * weights[:, None]).T @ centred
    ridge = RIDGE * max(np.trace(scatter) / len(scatter), 1e-12)
    return np.linalg.solve(scatter + ridge * np.eye(len(scatter)), (weights * wanted) @ centred)


def separability_limit(rows: int, others: int, level: float) -> float:
    """Return the AUC that two samples of one distribution exceed with at most this probability.

    By the normal distribution of the Mann-Whitney statistic (1947) of the half that judges; the mean of both halves
    spreads less.
    """
    rows, others = rows // FOLDS, others // FOLDS
    spread = math.sqrt((rows + others + 1) / (12 * rows * others))
    return min(1.0, 0.5 + NormalDist().inv_cdf(1 - level) * spread)
