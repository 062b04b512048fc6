"""The measures at k are those of trec_eval, ties and several relevant items included; intervals cover."""

from __future__ import annotations

import json

import ir_measures
import numpy as np
import pytest
from ir_measures import AP, RR, P, R, nDCG

from tests.pipelines.evaluation.test_retrieval import held_out_of
from trichord.infra.digest import generator
from trichord.pipelines.evaluation.figures import figures
from trichord.pipelines.evaluation.galleries import MODALITIES
from trichord.pipelines.evaluation.intervals import Bootstrap, means
from trichord.pipelines.evaluation.ranking import names, rank
from trichord.pipelines.evaluation.report import Evaluation
from trichord.pipelines.evaluation.retrieval import evaluate

BOOTSTRAP = Bootstrap(resamples=400, confidence=0.95, seed=3)


@pytest.mark.parametrize("k", [1, 3, 10, 50])
def test_the_measures_are_those_of_trec_eval(k):
    random = generator("trec", k)
    # small whole numbers: scores tie often, and exactly in float32; few labels: several items are relevant
    queries, gallery = (random.integers(-2, 3, (rows, 4)).astype(np.float32) for rows in (60, 40))
    labels = random.integers(9, size=40)
    wanted = labels[random.integers(40, size=60)]
    ranked = rank(queries, wanted, gallery, labels, k)

    scores = queries @ gallery.T
    ties = [len(set(row)) < len(row) for row in scores]
    assert all(ties)
    assert ranked.total_N.max() > 3
    qrels = {f"q{q}": {f"g{g}": int(labels[g] == wanted[q]) for g in range(40)} for q in range(60)}
    run = {}  # a tie goes to the smaller item, said by scores that do not tie: trec_eval breaks ties by name
    for q in range(60):
        order = sorted(range(40), key=lambda g: (-scores[q, g], g))
        run[f"q{q}"] = {f"g{g}": float(-place) for place, g in enumerate(order)}
    asked = dict(zip(names(k), (R @ k, P @ k, nDCG @ k, RR @ k, AP @ k), strict=True))
    truth: dict[str, dict[int, float]] = {name: {} for name in asked}
    for metric in ir_measures.iter_calc(asked.values(), qrels, run):
        [name] = [name for name, measure in asked.items() if measure == metric.measure]
        truth[name][int(metric.query_id[1:])] = metric.value
    for name, values in ranked.measures().items():
        expected = [truth[name][q] for q in range(60)]
        # ir_measures cuts trec_eval's P at k by k, also where the gallery is smaller
        np.testing.assert_allclose(values, expected, atol=1e-9, err_msg=name)
        assert len(set(np.round(values, 6))) > 1 or k == 50, name


def test_an_evaluation_tells_every_measure_and_its_interval():
    report = evaluate(held_out_of(3, 60, captions=30), 10, 0, BOOTSTRAP).to_dict()
    for name in names(10):
        for query in MODALITIES:
            for gallery, value in report[name][query].items():
                ends = report["intervals"][name][query][gallery]
                assert (value is None) == (ends is None)
                assert value is None or 0 <= ends[0] <= value <= ends[1] <= 1
        ends = report["mixed"]["intervals"][name]
        assert ends[0] < report["mixed"][name] < ends[1]
        wider = report["mixed"]["by_query"]["image"]["intervals"][name]
        assert wider[1] - wider[0] > ends[1] - ends[0]  # fewer queries
    kept = report["mixed"]["intervals"]["retention"]
    assert sum(ends is not None for ends in kept.values()) > 3
    for form, value in report["mixed"]["retention"].items():
        assert kept[form] is None or kept[form][0] <= value <= kept[form][1]
    for query in MODALITIES:
        for target, value in report["all_views"][query]["recall_at_10"].items():
            ends = report["all_views"][query]["intervals"]["recall_at_10"][target]
            assert (value is None and ends is None) or ends[0] <= value <= ends[1]
    assert "mixed.intervals.mrr_at_10.0" in dict(figures(report))


def test_intervals_leave_the_figures_as_they_are_and_do_not_depend_on_the_order_of_records():
    h = held_out_of(6, 40, complete=True)
    report = evaluate(h, 5, 1, BOOTSTRAP).to_dict()
    plain = evaluate(h, 5, 1).to_dict()
    assert {path: value for path, value in figures(report) if "intervals" not in path} == dict(figures(plain))
    order = generator("order").permutation(40)
    shuffled = h.take(order)
    assert evaluate(shuffled, 5, 1, BOOTSTRAP).to_dict() == report


def test_an_interval_holds_the_true_mean_as_often_as_it_says():
    covered = 0
    for trial in range(200):
        values = (generator("trial", trial).random(100) < 0.3).astype(float)
        bootstrap = Bootstrap(resamples=200, confidence=0.9, seed=trial)
        ends = bootstrap.intervals(means({"x": values}), np.arange(100))["x"]
        assert ends is not None
        covered += ends[0] <= 0.3 <= ends[1]
    assert 0.84 <= covered / 200 <= 0.95


def test_a_records_queries_are_drawn_together_so_repeating_them_gives_no_certainty():
    values = generator("values").random(50)
    once = BOOTSTRAP.intervals(means({"x": values}), np.arange(50))["x"]
    thrice = BOOTSTRAP.intervals(means({"x": np.repeat(values, 3)}), np.repeat(np.arange(50), 3))["x"]
    strangers = BOOTSTRAP.intervals(means({"x": np.repeat(values, 3)}), np.arange(150))["x"]
    assert once is not None
    assert strangers is not None
    assert thrice == pytest.approx(once, abs=1e-6)
    assert strangers[1] - strangers[0] < 0.7 * (once[1] - once[0])


def test_what_cannot_be_drawn_from_has_no_interval():
    one = BOOTSTRAP.intervals(means({"x": np.ones(3)}), np.zeros(3, int))
    nothing = BOOTSTRAP.intervals({"x": (np.zeros(4), np.zeros(4))}, np.arange(4))
    none = Bootstrap(resamples=0, confidence=0.9, seed=0).intervals(means({"x": np.ones(4)}), np.arange(4))
    assert one == nothing == none == {"x": None}


def test_an_evaluation_survives_json():
    for bootstrap in (None, BOOTSTRAP):
        for rows in (0, 1, 40):
            values = json.loads(json.dumps(evaluate(held_out_of(5, rows, captions=9), 10, 0, bootstrap).to_dict()))
            assert Evaluation.from_dict(values).to_dict() == values


def test_a_figure_is_found_by_its_path():
    measured = evaluate(held_out_of(3, 40), 10, 0)
    assert measured.figure("mixed.recall_at_10") == measured.mixed.measures["recall_at_10"]
    assert measured.figure("chance.text.image") == measured.cells["text"]["image"].chance
    with pytest.raises(KeyError):
        measured.figure("mixed.recal_at_10")
