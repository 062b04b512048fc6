"""Limits on any figure by its path: unknown paths are refused, unknown figures fail, falls are seen."""

from __future__ import annotations

import json

import pytest

from tests.pipelines.evaluation.test_retrieval import held_out_of
from tests.pipelines.lakes import result_of, trichord, workspace_of
from trichord.infra.config import EvaluateConfig, GateConfig
from trichord.infra.errors import ConfigError
from trichord.pipelines.evaluation.figures import figures, require_figures
from trichord.pipelines.evaluation.whole import known_paths, measure
from trichord.pipelines.publish.checks import content_check, figure_checks
from trichord.pipelines.publish.evaluate import nothing_held_out
from trichord.pipelines.publish.vector_audit import Content

EVALUATION = measure(held_out_of(2, 60, captions=30), 10, 0, EvaluateConfig()).to_dict()
PATHS = ("mixed.ndcg_at_10", "consistency.gap.text-image", "mixed.retention.text+image", "recall_at_10.text.image",
         "mixed.intervals.recall_at_10.0", "consistency.hubness.text_to_image.skewness",
         "consistency.similarity.text-audio.auc", "all_views.image.recall_at_10.text")  # fmt: skip


def _checks(evaluation=EVALUATION, live=None, **limits):
    return {check.name: check for check in figure_checks(evaluation, live, GateConfig(**limits))}


@pytest.mark.parametrize("path", PATHS)
def test_any_figure_can_be_gated_from_below_and_from_above(path):
    value = dict(figures(EVALUATION))[path]
    assert value is not None
    for limit in (value - 0.01, value, value + 0.01):
        checks = _checks(least={path: limit}, most={path: limit})
        assert checks[f"least:{path}"].passed == (value >= limit)
        assert checks[f"most:{path}"].passed == (value <= limit)
        assert {check.value for check in checks.values()} == {value}


def test_every_figure_that_can_be_measured_is_a_known_path():
    for records in (0, 1, 12, 60):
        measured = measure(held_out_of(records, records, captions=9), 10, 0, EvaluateConfig()).to_dict()
        deep = {path for path, value in figures(measured) if value is not None}
        assert deep <= known_paths(10)
    complete = dict(figures(measure(held_out_of(1, 60, complete=True), 10, 0, EvaluateConfig())))
    assert len(complete.keys() & known_paths(10)) > 0.95 * len(known_paths(10))


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("mixed.ndgc_at_10", "mixed.ndcg_at_10"),
        ("mixed.recall_at_5", "mixed.recall_at_10"),
        ("consistency.gap.image-text", "consistency.gap.text-image"),
        ("consistency.modality_gap.text-image", "consistency.gap.text-image"),
        ("skewness", "consistency.hubness.all_views.skewness"),
        ("mixed.intervals.recall_at_10", "mixed.intervals.recall_at_10.0"),
    ],
)
def test_a_path_that_no_figure_has_is_refused_with_what_was_meant(path, meant):
    for section in ("least", "most", "max_drop_of"):
        with pytest.raises(ConfigError, match=f"gate.{section}: {path}") as refused:
            require_figures(GateConfig(**{section: {path: 0.5}}), 10)
        assert meant in str(refused.value)
    with pytest.raises(ConfigError):
        _checks(least={path: 0.5})


def test_a_figure_that_is_unknown_fails_its_check_and_says_so():
    for limits in ({"least": {"mixed.recall_at_10": 0.0}}, {"most": {"consistency.gap.text-image": 2.0}}):
        [check] = _checks(nothing_held_out(), **limits).values()
        assert (check.passed, check.value) == (False, None)
        assert "unknown" in check.detail
    [check] = _checks(nothing_held_out(), EVALUATION, max_drop_of={"mixed.mrr_at_10": 1.0}).values()
    assert not check.passed


def test_a_figure_may_fall_so_far_against_the_live_index_and_no_further():
    live = json.loads(json.dumps(EVALUATION))
    path, value = "mixed.mrr_at_10", EVALUATION["mixed"]["mrr_at_10"]
    for drop, passed in ((0.0, False), (0.05, False), (0.15, True)):
        live["mixed"]["mrr_at_10"] = value + 0.1
        [check] = _checks(live=live, max_drop_of={path: drop}).values()
        assert check.passed is passed
        assert str(value + 0.1) in check.detail
    del live["mixed"]["mrr_at_10"]
    [check] = _checks(live=live, max_drop_of={path: 0.0}).values()
    assert (check.passed, check.detail) == (True, "not measured then")
    assert _checks(live=None, max_drop_of={path: 0.0}) == {}


def test_misfits_fail_the_content_check_and_the_first_are_named():
    found = sum((Content(records=1, vectors=2, equal=0, lowest=0.1 * i, least=0.999, misfits=(f"shard-{i}",))
                 for i in range(1, 6)), Content())  # fmt: skip
    check = content_check(found)
    assert (check.passed, check.value, check.threshold) == (False, 0.1, 0.999)
    assert all(name in check.detail for name in ("0 of 10 vectors of 5 records", "shard-1", "shard-3", "2 more"))
    assert content_check(Content(records=3, vectors=3, equal=3)).passed


def test_a_figure_below_its_limit_publishes_nothing_and_a_misspelt_one_touches_nothing(lake_copy, indexed):
    project = ["--project", str(lake_copy), "--json"]
    wrong = trichord("reindex", *project, "--set", "gate.least={mixed.ndgc_at_10: 0.5}", check=2)
    assert "mixed.ndcg_at_10" in wrong.stderr
    # the unchanged lake is gated anew only where something makes the run look at it
    limits = [
        "--set",
        "train.policy=always",
        "--set",
        "gate.least={mixed.ndcg_at_10: 1.5}",
        "--set",
        "gate.max_drop_of={mixed.map_at_10: 0.0}",
    ]
    refused = trichord("reindex", *project, *limits, check=3)
    assert "least:mixed.ndcg_at_10" in refused.stderr
    status = result_of(trichord("status", *project))
    assert status["live"]["publication"] == indexed[1]["publication"]
    checks = {check["name"]: check for check in status["candidate"]["verdict"]["checks"]}
    assert not checks["least:mixed.ndcg_at_10"]["passed"]
    assert checks["drop:mixed.map_at_10"]["passed"]  # the same model on the same records
    assert len(workspace_of(lake_copy).publications.rows()) == 1
