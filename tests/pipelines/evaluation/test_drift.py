"""Drift: known distances, silence on other draws of the same data, and alarm on a planted shift."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trichord.infra.digest import generator
from trichord.pipelines.evaluation.drift import (
    LEAST_ROWS,
    ks_distance,
    ks_limit,
    separability,
    separability_limit,
)

DRAWS = 200


def test_the_distance_is_the_largest_difference_of_the_shares_below_a_value():
    assert ks_distance(np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 3, 4])) == 0
    assert ks_distance(np.array([0.0, 0, 0]), np.array([1.0, 1])) == 1
    assert ks_distance(np.array([0.0, 0, 0, 1]), np.array([0.0, 1, 1, 1])) == 0.5
    assert ks_distance(np.array([0.0]), np.array([0.0, 5])) == 0.5


@pytest.mark.parametrize(("rows", "others"), [(20, 30), (150, 40), (500, 1)])
def test_the_distance_and_its_limit_are_those_of_scipy(rows, others):
    rng = generator("ks", rows, others)
    one, other = rng.standard_normal(rows), rng.standard_normal(others) + 0.3
    assert ks_distance(one, other) == pytest.approx(stats.ks_2samp(one, other).statistic)
    limit = ks_limit(rows, others, 0.01)
    at_limit = stats.kstwobign.sf(limit * np.sqrt(rows * others / (rows + others)))
    assert at_limit == pytest.approx(0.01, rel=0.01)


@pytest.mark.parametrize("rounded", [False, True], ids=["continuous", "few values"])
def test_other_draws_of_the_same_values_stay_below_the_limit(rounded):
    """Values that repeat make the limit too large, never too small."""
    over = 0
    for draw in range(DRAWS):
        rng = generator("null", draw)
        one, other = rng.gamma(2, size=60), rng.gamma(2, size=25)
        sides = (np.round(one), np.round(other)) if rounded else (one, other)
        over += ks_distance(*sides) > ks_limit(60, 25, 0.05)
    assert over <= 0.05 * DRAWS + 3 * np.sqrt(0.05 * 0.95 * DRAWS)


@pytest.mark.parametrize(("rows", "others", "dimension"), [(20, 60, 16), (60, 60, 64), (40, 300, 128)])
def test_other_draws_of_the_same_vectors_cannot_be_told_apart(rows, others, dimension):
    found = np.zeros(DRAWS // 2)
    for draw in range(len(found)):
        rng = generator("vectors", draw, rows, others)
        area = separability(rng.standard_normal((rows, dimension)), rng.standard_normal((others, dimension)))
        assert area is not None
        found[draw] = area
    assert found.mean() == pytest.approx(0.5, abs=0.03)
    assert (found > separability_limit(rows, others, 0.01)).mean() <= 0.05


def test_vectors_that_moved_are_told_apart():
    rng = generator("moved")
    before = rng.standard_normal((100, 32))
    moved = rng.standard_normal((100, 32)) + 2 * (np.arange(32) == 3)
    found = separability(moved, before)
    assert found is not None
    assert found > 0.85 > separability_limit(100, 100, 0.001)
    assert separability(before.copy(), before) == pytest.approx(0.5)
    assert separability(before[: LEAST_ROWS - 1], before) is None
    assert separability(np.zeros((LEAST_ROWS, 4)), np.zeros((LEAST_ROWS, 4))) == 0.5, "no spread, no difference"
