"""Exact search by blocks is full search, whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.index_builders.corpus import SPACE, matrix, tables, unit
from trichord.index_builders import exact
from trichord.index_builders.base import Hits
from trichord.index_builders.exact import exact_hits, exact_topk, recall_at_k, top_k


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 12), st.lists(st.integers(0, 20), max_size=8))
@settings(max_examples=60, deadline=None)
def test_exact_topk_by_blocks_equals_full_search_with_ties_to_the_smaller_id(seed, rows, k, cuts):
    random = np.random.default_rng(seed)
    # few integers: inner products are exact and tie all the time
    gallery = random.integers(-1, 2, size=(rows, 3)).astype(np.float32)
    queries = random.integers(-1, 2, size=(5, 3)).astype(np.float32)
    ids, scores = exact_topk(queries, np.split(gallery, np.unique(np.minimum(cuts, rows)).astype(int)), k)
    full = queries @ gallery.T
    expected = np.argsort(-full, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(scores, np.take_along_axis(full, expected, axis=1))


def test_a_block_larger_than_the_scores_allowed_at_once_is_searched_in_parts(monkeypatch):
    gallery, queries = unit(500, 16, "gallery"), unit(9, 16, "queries")
    expected = np.argsort(-(queries @ gallery.T), axis=1, kind="stable")[:, :10]
    monkeypatch.setattr(exact, "SCORES_A_TIME", 9 * 37)
    np.testing.assert_array_equal(exact_topk(queries, [gallery], 10)[0], expected)


def test_fewer_rows_than_k_and_no_rows_at_all_give_what_there_is():
    queries = unit(3, 8, "q")
    assert exact_topk(queries, [unit(2, 8, "g")], 10)[0].shape == (3, 2)
    assert exact_topk(queries, [], 10)[0].shape == (3, 0)
    assert top_k(np.zeros((2, 0), np.float32), 4)[0].shape == (2, 0)


@pytest.mark.parametrize("block", [np.full((1, 8), np.nan), np.zeros((1, 7)), np.zeros(8)])
def test_a_block_that_is_not_finite_rows_of_the_dimension_is_refused(block):
    with pytest.raises(ValueError, match="block from row 2"):
        exact_topk(unit(3, 8, "q"), [unit(2, 8, "g"), block], 1)


@pytest.mark.parametrize("rows_a_time", [1, 90, 8_192])
def test_exact_hits_name_the_rows_of_the_union_and_collapse_views(monkeypatch, rows_a_time):
    monkeypatch.setattr(exact, "ROWS_A_TIME", rows_a_time)
    shards, queries = tables(5, 40, 16, views=("text", "image")), unit(6, 16, "q")
    every = exact_hits(queries, shards.values(), 200, dimension=16, fingerprint=SPACE, collapse=False)
    scores = np.sort(queries @ matrix(shards).T, axis=1)[:, ::-1]
    np.testing.assert_allclose(every.scores, scores, atol=1e-6)
    best = exact_hits(queries, shards.values(), 10, dimension=16, fingerprint=SPACE, views=2)
    for n in range(6):
        first: dict[str, float] = {}
        for key, score in zip(every.keys[n], every.scores[n], strict=True):
            first.setdefault(key, score)
        assert list(best.keys[n]) == list(first)[:10]
        np.testing.assert_allclose(best.scores[n], list(first.values())[:10], atol=1e-6)


def _hits(keys: list[list[str | None]], scores: list[list[float]]) -> Hits:
    names = np.array(keys, dtype=object)
    labels = np.array([[None if key is None else "fused" for key in row] for row in keys], dtype=object)
    return Hits(keys=names, views=labels, sources=labels, scores=np.array(scores, dtype=np.float32))


def test_recall_counts_true_neighbours_and_ties_for_the_last_place_and_nothing_else():
    truth = _hits([["a", "b", "c"]], [[0.9, 0.8, 0.5]])
    assert recall_at_k(_hits([["c", "a", "b"]], [[0.5, 0.9, 0.8]]), truth) == 1.0
    assert recall_at_k(_hits([["a", "b", "x"]], [[0.9, 0.8, 0.5]]), truth) == 1.0  # x ties with c
    assert recall_at_k(_hits([["a", "x", "y"]], [[0.9, 0.4, 0.3]]), truth) == pytest.approx(1 / 3)
    assert recall_at_k(_hits([["a", "a", "a"]], [[0.9, 0.9, 0.9]]), truth) == pytest.approx(1 / 3)
    assert recall_at_k(_hits([["a", None, None]], [[0.9, -np.inf, -np.inf]]), truth) == pytest.approx(1 / 3)
    assert recall_at_k(Hits.none(1), truth) == 0.0
    assert recall_at_k(Hits.none(1), Hits.none(1)) == 1.0
