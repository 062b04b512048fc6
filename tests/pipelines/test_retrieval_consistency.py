"""Gap, alignment and uniformity equal their plain-loop definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.evaluation import consistency as module
from pipelines.evaluation.consistency import alignment, consistency, modality_gap, uniformity
from tests.pipelines.test_retrieval import held_out_of


def test_gap_alignment_and_uniformity_equal_their_plain_definitions(monkeypatch):
    monkeypatch.setattr(module, "ROWS_A_TIME", 7)  # blocks that do not divide the rows
    h = held_out_of(4, 45, complete=True)
    left, right = h.gallery["text"].astype(float), h.gallery["image"].astype(float)
    rows = range(len(left))
    assert modality_gap(left, right) == pytest.approx(math.dist(left.mean(axis=0), right.mean(axis=0)))
    assert alignment(left, right) == pytest.approx(np.mean([math.dist(left[i], right[i]) ** 2 for i in rows]))
    pairs = [math.exp(-2 * math.dist(left[i], left[j]) ** 2) for i in rows for j in rows if i < j]
    assert uniformity(left) == pytest.approx(math.log(np.mean(pairs)))
    report = consistency(h)
    assert report["modality_gap"]["text-image"] == pytest.approx(modality_gap(left, right), abs=1e-6)
    assert report["alignment"]["text-image"] == pytest.approx(alignment(left, right), abs=1e-6)
    assert report["uniformity"]["text"] == pytest.approx(uniformity(left), abs=1e-6)


def test_coinciding_pairs_have_no_gap_and_a_collapsed_space_is_least_uniform():
    vectors = held_out_of(4, 30, complete=True).gallery["text"]
    assert modality_gap(vectors, vectors) == alignment(vectors, vectors) == 0
    assert uniformity(vectors) < -1
    assert uniformity(np.tile(vectors[:1], (30, 1))) == pytest.approx(0, abs=1e-6)
    assert modality_gap(vectors[:1], -vectors[:1]) == pytest.approx(2, abs=1e-6)


def test_too_few_records_give_none_in_the_report_and_are_a_mistake_of_a_direct_caller():
    report = consistency(held_out_of(1, 0))
    assert {value for part in report.values() for value in part.values()} == {None}
    one = np.ones((1, 4), np.float32) / 2
    for call in (lambda: uniformity(one), lambda: alignment(one[:0], one[:0]), lambda: modality_gap(one, one[:0])):
        with pytest.raises(ValueError):
            call()
