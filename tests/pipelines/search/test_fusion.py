"""Lists of hits become one list by exact rules: records once, k at most, ties settled, whatever order they come in."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trichord.encoders.calibration import Line
from trichord.infra.digest import generator
from trichord.pipelines.search.fusion import RankedHit, by_quota, by_score, rank_fusion, rescore, score_fusion

VIEWS = ("text", "image", "audio")
COSINES = st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.75])  # few values, so that there are ties


def hit(key: str, view: str, cosine: float) -> RankedHit:
    return RankedHit(key=key, view=view, source="s", cosine=cosine, score=cosine)


@st.composite
def lists_by_view(draw: st.DrawFn) -> dict[str, list[RankedHit]]:
    """For each view, records of a small stock with their cosines, best first."""
    made = {}
    for view in VIEWS:
        cosines = draw(st.dictionaries(st.sampled_from([f"r{n}" for n in range(12)]), COSINES, max_size=12))
        made[view] = sorted((hit(key, view, cosine) for key, cosine in cosines.items()), key=lambda found: found.place)
    return made


LISTS, KS = lists_by_view(), st.integers(1, 15)
JOINS = {
    "by_score": lambda lists, k: by_score(list(lists.values()), k),
    "rank_fusion": lambda lists, k: rank_fusion(list(lists.values()), k, constant=60),
    "by_quota": lambda lists, k: by_quota(lists, k, {"text": 0.25, "image": 0.5}),
}


@pytest.mark.parametrize("join", JOINS.values(), ids=JOINS)
@given(lists=LISTS, k=KS, order=st.permutations(VIEWS), turn=st.randoms(use_true_random=False))
def test_every_record_stands_once_and_k_are_filled_and_the_order_of_input_has_no_effect(join, lists, k, order, turn):
    found = join(lists, k)
    keys = {one.key for hits in lists.values() for one in hits}
    assert len(found) == len({one.key for one in found}) == min(k, len(keys))
    assert [one.place for one in found] == sorted(one.place for one in found)
    assert all(one.cosine == next(h.cosine for h in lists[one.view] if h.key == one.key) for one in found)
    shuffled = {view: turn.sample(lists[view], len(lists[view])) for view in order}
    assert join(shuffled, k) == found


@pytest.mark.parametrize("join", JOINS.values(), ids=JOINS)
@given(lists=LISTS, k=KS)
def test_a_view_without_hits_changes_nothing_and_no_hits_give_none(join, lists, k):
    assert join({view: [] for view in VIEWS}, k) == []
    alone = {view: hits if view == "image" else [] for view, hits in lists.items()}
    assert [one.key for one in join(alone, k)] == [one.key for one in alone["image"][:k]]
    with pytest.raises(ValueError, match="k is 0"):
        join(lists, 0)


@given(LISTS, KS)
def test_by_score_is_the_sort_of_every_records_best_view(lists, k):
    best: dict[str, RankedHit] = {}
    for one in (one for hits in lists.values() for one in hits):
        if one.key not in best or (-one.score, one.view) < (-best[one.key].score, best[one.key].view):
            best[one.key] = one
    assert by_score(list(lists.values()), k) == sorted(best.values(), key=lambda one: (-one.score, one.key))[:k]


@given(LISTS, st.integers(1, 100), st.tuples(*[st.sampled_from([0.5, 1.0, 2.0])] * 3))
def test_rank_fusion_is_the_sum_of_reciprocal_ranks(lists, constant, weights):
    sums: dict[str, list[float]] = {}
    for hits, weight in zip(lists.values(), weights, strict=True):
        for rank, one in enumerate(hits, 1):
            sums.setdefault(one.key, []).append(weight / (constant + rank))
    found = rank_fusion(list(lists.values()), 12, constant=constant, weights=weights)
    assert {one.key: one.score for one in found} == {key: math.fsum(shares) for key, shares in sums.items()}
    for one in found:  # shown in the view that ranked it best
        own = {view: next((weights[VIEWS.index(view)] / (constant + rank) for rank, other in enumerate(hits, 1)
                           if other.key == one.key), 0.0) for view, hits in lists.items()}  # fmt: skip
        assert own[one.view] == max(own.values())


def test_rank_fusion_reads_lists_that_share_nothing_in_turn():
    lists = [[hit(f"{view}{n}", view, level - n / 100) for n in range(5)]
             for view, level in (("text", 0.9), ("image", 0.3), ("audio", 0.6))]  # fmt: skip
    assert [one.key for one in rank_fusion(lists, 7, constant=60)] == [
        "text0", "audio0", "image0", "text1", "audio1", "image1", "text2",
    ]  # fmt: skip


@given(st.permutations([0.5, 0.3, 0.2]), st.integers(1, 3))
def test_whole_quotas_are_met_exactly_where_every_view_has_enough(shares, tens):
    k = 10 * tens
    lists = {view: [hit(f"{view}{n:02d}", view, 0.9 - level - n / 1000) for n in range(k)]
             for level, view in enumerate(VIEWS)}  # fmt: skip
    quotas = dict(zip(VIEWS, shares, strict=True))
    found = by_quota(lists, k, quotas)
    assert Counter(one.view for one in found) == {view: round(share * k) for view, share in quotas.items()}
    for view in VIEWS:  # and each view's places go to its best
        assert [one for one in found if one.view == view] == lists[view][: round(quotas[view] * k)]


@given(LISTS, KS)
def test_what_quotas_leave_goes_by_score(lists, k):
    assert by_quota(lists, k, {}) == by_score(list(lists.values()), k)
    half = by_quota(lists, k, {"image": 0.5})
    best, own = by_score(list(lists.values()), k), {one.key for one in lists["image"]}
    wanted = min(k // 2, len(own))
    assert sum(one.key in own for one in half) >= wanted
    assert {one.key for one in best[: k - k // 2 - 1]} <= {one.key for one in half}


@pytest.mark.parametrize("shares", [{"image": 0.7, "text": 0.4}, {"image": 0.0}, {"fused": 0.5}])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match=r"shares|'fused'"):
        by_quota({view: [] for view in VIEWS}, 5, shares)


@given(st.lists(st.tuples(COSINES, COSINES), min_size=1, max_size=9), st.floats(0.1, 9.0), st.floats(-5.0, 5.0))
def test_rescoring_keeps_the_order_inside_a_view(pairs, scale, offset):
    hits = sorted((hit(f"r{n}", "text", cosine) for n, (cosine, _) in enumerate(pairs)), key=lambda one: one.place)
    assert by_score([rescore(hits, scale, offset)], 99) == rescore(hits, scale, offset)


def unit(rows: int, *name: str) -> np.ndarray:
    vectors = generator("levers", *name).normal(size=(rows, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@given(st.integers(0, 99), st.floats(0.1, 9.0), st.floats(0.1, 9.0), st.floats(-5.0, 5.0))
def test_score_fusion_is_the_weighted_sum_of_the_parts_calibrated_scores(seed, scale, weight, offset):
    parts = {"text": unit(1, "text", str(seed)), "image": unit(1, "image", str(seed))}
    lines = {"text": Line(scale=scale, offset=offset), "image": Line(scale=3.0, offset=-1.0)}
    items = unit(50, "items", str(seed))
    probe = score_fusion(parts, lines, {"image": weight})
    assert np.linalg.norm(probe.vector_1D) == pytest.approx(1, abs=1e-6)
    found = probe.scale * (items @ probe.vector_1D[0]) + probe.offset
    shares = {"text": 1.0, "image": weight}
    expected = sum(share * (lines[name].scale * (items @ parts[name][0]) + lines[name].offset)
                   for name, share in shares.items())  # fmt: skip
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_one_part_asks_as_itself_and_parts_that_cancel_out_are_refused():
    part, line = unit(1, "alone"), Line(scale=7.0, offset=-2.0)
    probe = score_fusion({"text": part}, {"text": line}, {})
    np.testing.assert_allclose(probe.vector_1D, part, atol=1e-7)
    assert probe.scale == pytest.approx(7.0, rel=1e-6)
    assert probe.offset == -2.0
    with pytest.raises(ValueError, match="cancel"):
        score_fusion({"text": part, "image": -part}, {"text": line, "image": line}, {})


def test_places_order_hits_totally():
    hits = [hit(key, view, cosine) for key in ("b", "a") for view in VIEWS for cosine in (0.1, 0.2)]
    ordered = sorted(hits, key=lambda one: one.place)
    assert all(left.place < right.place for left, right in pairwise(ordered))
    assert [(one.cosine, one.key, one.view) for one in ordered[:2]] == [(0.2, "a", "audio"), (0.2, "a", "image")]
