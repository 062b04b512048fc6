"""Confidence intervals of measures: the percentile bootstrap over records (Efron 1979).

A record is drawn with all its queries: in a mixed gallery it asks once for each modality, and those answers depend on
each other.
Shape letters: N queries, R records, B resamples of a block, F columns of sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trichord.infra.digest import generator

RESAMPLES_A_TIME = 64

Sums = Mapping[str, tuple[np.ndarray, np.ndarray]]  # a figure is the sum of the first (N,) over the sum of the second
Interval = list[float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """How often records are drawn again, the share of results inside the interval, and the seed."""

    resamples: int
    confidence: float
    seed: int

    def intervals(self, sums: Sums, records_N: np.ndarray, *name: str) -> dict[str, Interval]:
        """Return the interval [low, high] of each figure, rounded to 6 places.

        Args:
            sums: of each query by figure. A mean's second array is all ones.
            records_N: int, the record of each query, numbered alike in every order of the records.
            name: of what is measured; other names draw other records.

        Returns:
            By figure; None where fewer than two records have anything to divide by.
        """
        records, places_N = np.unique(records_N, return_inverse=True)
        rows = len(records)
        if not rows or not self.resamples:
            return dict.fromkeys(sums)
        columns = [np.bincount(places_N, weights=part, minlength=rows) for pair in sums.values() for part in pair]
        table_RF, random = np.stack(columns, axis=1), generator(self.seed, "bootstrap", *name)
        drawn = []
        for first in range(0, self.resamples, RESAMPLES_A_TIME):
            block = min(RESAMPLES_A_TIME, self.resamples - first)
            items_BR = random.integers(rows, size=(block, rows)) + rows * np.arange(block)[:, None]
            times_BR = np.bincount(items_BR.ravel(), minlength=block * rows).reshape(block, rows)
            drawn.append(times_BR @ table_RF)
        totals = np.concatenate(drawn)
        several = (table_RF > 0).sum(axis=0) > 1
        return {
            figure: self._ends(totals[:, 2 * i], totals[:, 2 * i + 1]) if several[2 * i + 1] else None
            for i, figure in enumerate(sums)
        }

    def _ends(self, parts: np.ndarray, wholes: np.ndarray) -> Interval:
        known = wholes > 0
        if not known.any():
            return None
        outside = (1 - self.confidence) / 2
        ends = np.quantile(parts[known] / wholes[known], [outside, 1 - outside])
        return [round(float(end), 6) for end in ends]


def means(measures: Mapping[str, np.ndarray]) -> Sums:
    """Return values of each query (N,) as sums whose ratio is their mean."""
    return {name: (values, np.ones(len(values))) for name, values in measures.items()}
