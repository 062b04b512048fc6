"""Cosines made comparable between pairs of modalities: how rarely does a wrong item reach this score?

Texts are nearer to texts than to pictures, so one list by cosine puts wrong texts before right pictures. The calibrated
score of a cosine is -log10 of the share of wrong items that reach it, for the query's modality and the item's view: 2
means one wrong item in a hundred, whatever the pair. The far tail of wrong cosines is taken as exponential beyond its
95 % quantile (peaks over threshold: Pickands 1975, https://doi.org/10.1214/aos/1176343003), so a calibration is a line,
two numbers a pair, and scores of several parts of a query add up to one inner product a view. High scores are
extrapolated: a tail lighter than that makes wrong items rarer than the score says.

It is fitted on pairs of different validation records and needs no true pairs: pictures asked by a picture have none.
Shape letters: N records, D dimension, P pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trichord.infra import digest

PAIRS = 20_000  # drawn for each line
LEAST_PAIRS = 100  # different ones there must be: five beyond the quantile
TAIL = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """calibrated = scale * cosine + offset; the scale is positive, so the order inside a view stays."""

    scale: float
    offset: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and math.isfinite(self.offset) and self.scale > 0):
            raise ValueError(f"not a line of a calibration: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Lines by query modality and view; a pair with too few validation records has none."""

    lines: Mapping[tuple[str, str], Line]

    def to_json(self) -> dict[str, dict[str, list[float]]]:
        """Return it JSON-ready: query modality -> view -> [scale, offset]. Floats come back bit by bit."""
        stored: dict[str, dict[str, list[float]]] = {}
        for (query, view), line in sorted(self.lines.items()):
            stored.setdefault(query, {})[view] = [line.scale, line.offset]
        return stored

    @classmethod
    def from_json(cls, stored: Mapping[str, Mapping[str, list[float]]]) -> Calibration:
        """Parse what `to_json` returned.

        Raises:
            ValueError, TypeError, AttributeError: it is something else.
        """
        return cls(
            lines={
                (query, view): Line(scale=float(scale), offset=float(offset))
                for query, views in stored.items()
                for view, (scale, offset) in views.items()
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Vectors, float32 (N, D), L2-normalised, and labels, int (N,), equal where items are relevant to each other."""

    vectors: np.ndarray
    labels: np.ndarray


def fit(queries: Mapping[str, Labelled], views: Mapping[str, Labelled]) -> Calibration:
    """Fit every pair of a query modality and a view.

    Equal vectors in equal order give equal bits: pairs are drawn by the pair's name, and no sum is left to BLAS.
    """
    lines = {}
    for query, asking in queries.items():
        for view, items in views.items():
            line = _fit_line(wrong_cosines(asking, items, query, view))
            if line is not None:
                lines[query, view] = line
    return Calibration(lines=lines)


def wrong_cosines(asking: Labelled, items: Labelled, *name: str) -> np.ndarray:
    """Return cosines of drawn pairs of different labels, float64 (P,); none if fewer than `LEAST_PAIRS` are different.

    Args:
        asking: the queries.
        items: what is searched.
        name: what the draw depends on beside the counts.
    """
    counts = dict(zip(*np.unique(items.labels, return_counts=True), strict=True))
    alike = sum(counts.get(label, 0) for label in asking.labels)
    if len(asking.labels) * len(items.labels) - alike < LEAST_PAIRS:
        return np.zeros(0)
    rng = digest.generator("calibration", *name)
    left = rng.integers(len(asking.labels), size=PAIRS)
    right = rng.integers(len(items.labels), size=PAIRS)
    wrong = asking.labels[left] != items.labels[right]
    pairs = asking.vectors[left[wrong]].astype(np.float64), items.vectors[right[wrong]]
    return np.asarray(np.einsum("pd,pd->p", *pairs))


def _fit_line(cosines_P: np.ndarray) -> Line | None:
    """Fit -log10(TAIL) at the quantile, and from there the exponential tail of the same mean; None without a tail."""
    if not len(cosines_P):
        return None
    quantile = float(np.quantile(cosines_P, 1 - TAIL))
    beyond = cosines_P[cosines_P > quantile]
    if not len(beyond) or (excess := float(beyond.mean()) - quantile) < 1e-6:
        return None  # all of one score: nothing tells them apart
    scale = 1 / (excess * math.log(10))
    return Line(scale=scale, offset=-math.log10(TAIL) - scale * quantile)
