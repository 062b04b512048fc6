"""Gap, alignment, uniformity, hubness and similarities equal their plain definitions, and tell what they are for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tests.pipelines.evaluation.test_retrieval import held_out_of
from trichord.infra.digest import generator
from trichord.pipelines.evaluation import consistency as module
from trichord.pipelines.evaluation.consistency import alignment, consistency, modality_gap, uniformity
from trichord.pipelines.evaluation.figures import figures
from trichord.pipelines.evaluation.galleries import FORMS, MODALITIES, HeldOut
from trichord.pipelines.evaluation.hubness import hubness
from trichord.pipelines.evaluation.similarity import auc


def test_gap_alignment_and_uniformity_equal_their_plain_definitions(monkeypatch):
    monkeypatch.setattr(module, "ROWS_A_TIME", 7)  # blocks that do not divide the rows
    h = held_out_of(4, 45, complete=True)
    left, right = h.gallery["text"].astype(float), h.gallery["image"].astype(float)
    rows = range(len(left))
    assert modality_gap(left, right) == pytest.approx(math.dist(left.mean(axis=0), right.mean(axis=0)))
    assert alignment(left, right) == pytest.approx(np.mean([math.dist(left[i], right[i]) ** 2 for i in rows]))
    pairs = [math.exp(-2 * math.dist(left[i], left[j]) ** 2) for i in rows for j in rows if i < j]
    assert uniformity(left) == pytest.approx(math.log(np.mean(pairs)))
    report = consistency(h, 3, 0).to_dict()
    assert report["gap"]["text-image"] == pytest.approx(modality_gap(left, right), abs=1e-6)
    assert report["alignment"]["text-image"] == pytest.approx(alignment(left, right), abs=1e-6)
    assert report["uniformity"]["text"] == pytest.approx(uniformity(left), abs=1e-6)


def test_coinciding_pairs_have_no_gap_and_a_collapsed_space_is_least_uniform():
    vectors = held_out_of(4, 30, complete=True).gallery["text"]
    assert modality_gap(vectors, vectors) == alignment(vectors, vectors) == 0
    assert uniformity(vectors) < -1
    assert uniformity(np.tile(vectors[:1], (30, 1))) == pytest.approx(0, abs=1e-6)
    assert modality_gap(vectors[:1], -vectors[:1]) == pytest.approx(2, abs=1e-6)


def _space(seed: int, rows: int, **vectors: np.ndarray) -> HeldOut:
    """Complete records; forms that are not given stand as `text`."""
    return HeldOut(
        keys=tuple(f"r{seed}-{row}" for row in range(rows)),
        text_ids=np.arange(rows),
        present=np.ones((rows, 3), bool),
        queries={name: vectors[name] for name in MODALITIES},
        other_caption=np.zeros(rows, bool),
        gallery={form: vectors.get(form, vectors["text"]) for form in FORMS},
    )


def test_hubness_equals_its_plain_definition():
    items = generator("hubs").zipf(1.6, size=(200, 7)).clip(max=50) - 1
    items[:, 0] = 3
    found = hubness(items, 60)
    times = np.bincount(items.ravel(), minlength=60)
    assert found["skewness"] == pytest.approx(stats.skew(times))
    assert found["never_found"] == np.mean([item not in items for item in range(60)])
    assert found["top_hub"] == times.max() / 200
    assert found["never_found_by_chance"] == pytest.approx((53 / 60) ** 200)
    assert hubness(np.tile(np.arange(6), (5, 1)), 6) == {
        "skewness": 0,
        "never_found": 0,
        "never_found_by_chance": 0,
        "top_hub": 1,
    }


def test_a_picture_near_every_text_is_a_hub_and_takes_the_others_places():
    rows, random = 200, generator("hub")
    content = random.normal(size=(rows, 16))

    def unit(vectors: np.ndarray) -> np.ndarray:
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    texts, pictures = unit(content + 1.5), unit(content)
    pictures[:3] = unit(np.full((3, 16), 1.0))
    told = consistency(_space(0, rows, text=texts, image=pictures, audio=unit(content)), 10, 0).to_dict()["hubness"]
    assert told["text_to_image"]["top_hub"] > 0.9 > 0.5 > told["audio_to_image"]["top_hub"]
    assert told["text_to_image"]["skewness"] > 2 > told["audio_to_image"]["skewness"]
    assert told["text_to_image"]["never_found"] > told["audio_to_image"]["never_found"]


def test_among_all_items_each_asks_for_others_than_itself():
    # three places with three equal items each, at k = 2: each finds its two twins, so none is found more than others
    places = np.eye(4, dtype=np.float32)[:3]
    h = _space(1, 3, text=places, image=places, audio=places)
    told = consistency(h, 2, 0).to_dict()["hubness"]["all_views"]
    assert told == {"skewness": 0, "never_found": 0, "never_found_by_chance": round((7 / 9) ** 9, 6), "top_hub": 2 / 9
                    } | {"top_hub": round(2 / 9, 6)}  # fmt: skip


def test_true_and_shuffled_pairs_are_told_apart_as_mann_and_whitney_say():
    random = generator("auc")
    true, shuffled = (random.integers(0, 12, size) / 10 + shift for size, shift in ((90, 0.3), (400, 0.0)))
    statistic = stats.mannwhitneyu(true, shuffled).statistic
    assert auc(true, shuffled) == pytest.approx(statistic / (90 * 400))
    assert (auc(true + 9, shuffled), auc(true - 9, shuffled), auc(true, true)) == (1, 0, 0.5)


def test_the_similarities_of_a_small_set_are_those_of_all_its_pairs():
    h = held_out_of(4, 45, complete=True)
    told = consistency(h, 3, 0).to_dict()["similarity"]["image-audio"]
    cosines = h.gallery["image"].astype(float) @ h.gallery["audio"].astype(float).T
    labels = h.labels()
    true, shuffled = np.diag(cosines), cosines[labels[:, None] != labels]
    assert told["pairs"] == 45
    assert told["auc"] == pytest.approx(auc(true, shuffled), abs=1e-6)
    for name, values in (("true", true), ("shuffled", shuffled)):
        assert told[name]["mean"] == pytest.approx(values.mean(), abs=1e-6)
        assert told[name]["p05"] == pytest.approx(np.quantile(values, 0.05), abs=1e-6)
        counts = np.histogram(values, 32, (cosines.min(), cosines.max()))[0]
        assert told["histogram"][name] == pytest.approx(counts / len(values), abs=2e-6)


def test_the_order_of_the_records_changes_no_figure():
    h = held_out_of(5, 400, complete=True)  # so many that shuffled pairs are drawn
    order = generator("order").permutation(400)
    shuffled = h.take(order)
    assert dict(figures(consistency(shuffled, 10, 2))) == pytest.approx(dict(figures(consistency(h, 10, 2))), abs=2e-6)


def test_too_few_records_give_none_in_the_report_and_are_a_mistake_of_a_direct_caller():
    told = dict(figures(consistency(held_out_of(1, 0), 3, 0)))
    assert {value for path, value in told.items() if not path.endswith(".pairs")} == {None}
    one = np.ones((1, 4), np.float32) / 2
    calls = (
        lambda: uniformity(one),
        lambda: alignment(one[:0], one[:0]),
        lambda: modality_gap(one, one[:0]),
        lambda: hubness(np.zeros((0, 3), int), 4),
        lambda: auc(np.ones(3), np.ones(0)),
    )
    for call in calls:
        with pytest.raises(ValueError):
            call()
