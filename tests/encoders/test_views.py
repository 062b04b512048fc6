"""Views: a query never stands in the gallery by what it was made from; features keep their rows together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.encoders.planted import planted
from trichord.encoders.views import MODALITIES, Features, can_pair, draw_views, view_modalities
from trichord.infra.digest import generator

records = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.booleans()), min_size=1, max_size=30)


@given(rows=records, seed=st.integers(0, 10**6))
def test_a_drawn_gallery_view_is_disjoint_from_every_query_asked_of_it(rows, seed):
    wordings = np.array([row[0] for row in rows])
    present = np.array([(row[0] > 0, row[1], row[2]) for row in rows])
    drawn = draw_views(present, wordings, generator(seed))
    able = can_pair(present, wordings)
    assert not (drawn.gallery_BM & ~present).any()
    assert not (drawn.asked_MB.T & ~present).any()
    both = drawn.gallery_BM & drawn.asked_MB.T
    assert not both[:, 1:].any()
    assert (wordings[both[:, 0]] > 1).all()  # another wording asks
    assert np.array_equal(drawn.gallery_BM.any(axis=1), able)
    assert np.array_equal(drawn.asked_MB.any(axis=0), able)


def test_a_modality_alone_is_drawn_three_times_as_often_as_a_fusion():
    rows = 13_000
    drawn = draw_views(np.ones((rows, 3), bool), np.full(rows, 2), generator("often"))
    counts = np.bincount(drawn.gallery_BM @ np.array([1, 2, 4]), minlength=8)
    expected = np.array([0, 3, 3, 1, 3, 1, 1, 1]) * 1_000  # text, image, text+image, audio, ...
    assert (np.abs(counts - expected) <= 5 * np.sqrt(expected)).all()


def test_take_and_concat_keep_each_record_with_its_own_captions():
    features = planted(6, 0)
    uneven = Features(
        values=features.values,
        present=features.present,
        captions=features.captions[:7],
        offsets=np.array([0, 2, 2, 5, 5, 6, 7]),
    )
    order = np.array([4, 0, 2, 0])
    taken = Features.concat([uneven.take(order[:1]), uneven.take(order[1:])])
    assert np.array_equal(np.diff(taken.offsets), [1, 2, 3, 2])
    assert np.array_equal(taken.captions, uneven.captions[[5, 0, 1, 2, 3, 4, 0, 1]])
    assert np.array_equal(taken.values["audio"], uneven.values["audio"][order])
    assert len(uneven.take(np.zeros(0, int))) == 0


def test_views_are_named_by_their_modalities_and_unknown_ones_are_refused():
    assert view_modalities("fused") == MODALITIES
    assert view_modalities("audio+text") == view_modalities(["text", "audio"]) == ("text", "audio")
    refused: tuple[str | list[str], ...] = ("video", "text+video", "", [])
    for wrong in refused:
        with pytest.raises(ValueError, match="no such view"):
            view_modalities(wrong)
    with pytest.raises(ValueError, match="do not fit"):
        Features(
            values=planted(2, 0).values, present=np.ones((2, 3), bool), captions=np.zeros((1, 24)), offsets=np.zeros(3)
        )
