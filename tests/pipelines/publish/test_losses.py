"""What counts as a loss: real ones are refused, chance alone is not, in spaces whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trichord.infra.config import EvaluateConfig, GateConfig
from trichord.infra.lake.publication import Check, Publication, RowCounts, SourceContents, Verdict
from trichord.pipelines.evaluation.change import Change, compare_on, deviations, share_level
from trichord.pipelines.evaluation.figures import figures
from trichord.pipelines.evaluation.galleries import FORMS, MODALITIES, HeldOut
from trichord.pipelines.evaluation.intervals import Bootstrap
from trichord.pipelines.evaluation.outcomes import Outcomes
from trichord.pipelines.evaluation.retrieval import evaluate
from trichord.pipelines.publish.against_live import contents_checks, loss_checks, missing_check, modality_checks
from trichord.pipelines.publish.checks import chance_checks, wilson
from trichord.pipelines.publish.evaluate import Figures

CONFIDENCE = EvaluateConfig().confidence
DIMENSION = 24


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def space(
    records: int, content: int, model: int, *, noise: float = 1.0, gap: float = 0.5, audio: bool = False
) -> HeldOut:
    """Records of one content as some model sees them: each vector with its own noise, each modality off by a gap."""
    truth = _unit(np.random.default_rng(content).normal(size=(records, DIMENSION)))
    random = np.random.default_rng([content, model])
    offsets = gap * np.eye(DIMENSION + len(MODALITIES))[DIMENSION:]

    def embed(name: str) -> np.ndarray:
        seen = truth + noise / DIMENSION**0.5 * random.normal(size=truth.shape)
        return _unit(np.pad(seen, ((0, 0), (0, len(MODALITIES)))) + offsets[MODALITIES.index(name)])

    single = {name: embed(name) for name in MODALITIES}
    gallery = {form: _unit(np.sum([single[name] for name in form.split("+")], axis=0)) for form in FORMS}
    return HeldOut(
        keys=tuple(f"k{row:04d}" for row in range(records)),
        text_ids=np.arange(records),
        present=np.tile([True, True, audio], (records, 1)),
        queries=single | {"text": embed("text")},
        other_caption=np.ones(records, dtype=bool),
        gallery=gallery,
    )


def measured(held_out: HeldOut, seed: int = 0, bootstrap: bool = False) -> Figures:
    resampling = Bootstrap(resamples=60, confidence=CONFIDENCE, seed=0) if bootstrap else None
    evaluation = evaluate(held_out, 10, seed, resampling)
    assert evaluation.outcomes is not None
    sources = tuple("ab"[int(key[1:]) % 2] for key in evaluation.outcomes.keys)
    outcomes = replace(evaluation.outcomes, sources=sources)
    return Figures(evaluation=evaluation.to_dict(), outcomes=outcomes, common=outcomes)


def published(evaluation: dict[str, Any], **contents: SourceContents) -> Publication:
    verdict = Verdict(against=None, passed=True, checks=(), evaluation=evaluation, contents=contents)
    return Publication(
        id="live-1", sequence=1, kind="publish", verdict=verdict, created_at="", manifest="", manifest_digest="",
        inputs_digest="", model="", fingerprint="", table_versions={}, counts=RowCounts(), recipe={},
    )  # fmt: skip


def compared(new: Figures, old: Figures, **limits: Any) -> dict[str, Check]:
    live, limit = published(old.evaluation), GateConfig(**limits)
    return {check.name: check for check in loss_checks(new, live, old.outcomes, limit, CONFIDENCE)}


def refused(new: Figures, old: Figures) -> list[str]:
    return [name for name, check in compared(new, old).items() if not check.passed]


LIVE = space(1_000, 0, 1)


@pytest.fixture(scope="module")
def old() -> Figures:
    """The live index's figures."""
    return measured(LIVE)


@pytest.mark.parametrize(
    ("worse", "path", "least"),
    [
        ({"gap": 0.70}, "mixed.retention_overall", 0.067),
        ({"gap": 0.62}, "all_views.text.recall_at_10.image", 0.12),  # half of it
        ({"noise": 1.045}, "mixed.ndcg_at_10", 0.042),
    ],
)
def test_the_losses_that_once_passed_are_refused(old, worse, path, least):
    new = measured(space(1_000, 0, 2, **worse))
    check = compared(new, old)[f"against_live:{path}"]
    before = dict(figures(old.evaluation))[path]
    assert before is not None
    assert isinstance(check.value, float)
    assert least * 0.6 < before - check.value < least * 1.6, "the loss has about the size that it is about"
    assert not check.passed
    assert "is not chance" in check.detail


@pytest.mark.parametrize("simulations", [6, pytest.param(200, marks=pytest.mark.full)])
@pytest.mark.parametrize("audio", [False, True])
def test_chance_alone_is_hardly_ever_refused(simulations, audio):
    """Other draws of forms of one model, and another model of equal quality: refused in 5 % of all cases at most."""
    false = {"draws": 0, "retrained": 0}
    for content in range(1, simulations + 1):
        same, other = (space(120, content, model, audio=audio) for model in (1, 2))
        old = measured(same)
        false["draws"] += bool(refused(measured(same, seed=1), old))
        false["retrained"] += bool(refused(measured(other), old))
    assert false["draws"] == 0
    assert false["retrained"] <= max(1, (1 - CONFIDENCE) * simulations)


def test_one_model_on_one_set_never_falls(old):
    assert not refused(old, old)
    assert all(check.value == pytest.approx(check.threshold, abs=1e-6) for check in compared(old, old).values())


def test_a_grown_gallery_is_no_loss_but_a_worse_model_in_it_is():
    """Among twice as many records each is harder to find; on the records that both measured, nothing changed."""
    everything = space(400, 3, 1)
    old = measured(everything.take(np.arange(200)))
    for model, expected in ((everything, False), (space(400, 3, 2, noise=1.5), True)):
        new = replace(measured(model), common=measured(model.take(np.arange(200))).outcomes)
        assert old.evaluation["mixed"]["ndcg_at_10"] - new.evaluation["mixed"]["ndcg_at_10"] > 0.05
        assert bool(refused(new, old)) is expected


def test_without_the_live_outcomes_both_errors_count():
    old, new = measured(LIVE, bootstrap=True), measured(space(1_000, 0, 2, gap=0.7), bootstrap=True)
    live = published(old.evaluation)
    checks = {c.name: c for c in loss_checks(new, live, None, GateConfig(), CONFIDENCE)}
    check, paired = (
        checks["against_live:mixed.retention_overall"],
        compared(new, old)["against_live:mixed.retention_overall"],
    )
    assert not check.passed
    assert "other test records" in check.detail
    assert float(check.threshold) < float(paired.threshold)


def test_few_records_are_judged_by_how_many_fell():
    keys = tuple(f"k{n}" for n in range(12))
    old = Outcomes(keys=keys, parts={"p": np.array([np.ones(12), np.ones(12)])})
    for fallen, level, expected in ((12, 0.003, True), (9, 0.003, True), (6, 0.003, False), (12, 0.0001, False)):
        found = np.where(np.arange(12) < fallen, 0.0, 1.0)
        change = compare_on(keys, "p", old, Outcomes(keys=keys, parts={"p": np.array([found, np.ones(12)])}))
        assert change is not None
        assert (change.error, change.fallen, change.risen) == (None, fallen, 0)
        assert change.is_loss(level) is expected
    assert Change(before=1.0, after=0.5, error=None, records=12, fallen=9, risen=0).is_loss(0.002)
    assert not Change(before=1.0, after=0.5, error=None, records=12, fallen=8, risen=0).is_loss(0.002)
    assert not Change(before=1.0, after=1.0, error=None, records=12, fallen=9, risen=0).is_loss(0.002)


def test_records_are_counted_by_source_and_what_they_add_adds_up_to_the_change(old):
    new = measured(space(1_000, 0, 2, gap=0.7))
    assert old.outcomes is not None
    assert new.outcomes is not None
    for path in ("mixed.ndcg_at_10", "mixed.retention.image", "all_views.text.recall_at_10.image"):
        change = compare_on(old.outcomes.keys, path, old.outcomes, new.outcomes)
        assert change is not None
        assert set(change.by_source) == {"a", "b"}
        assert sum(change.by_source.values()) == pytest.approx(change.after - change.before)
        assert len(change.worst) == 5
        assert all(line[:3] in ("a/k", "b/k") for line in change.worst)


def test_the_error_of_a_change_is_that_of_repeated_experiments():
    """Over many pairs of models, changes scatter as the stated error says; with draws added, not by less."""
    path, changes, errors = "mixed.ndcg_at_10", [], []
    for content in range(30):
        old, new = (measured(space(100, content, model)).outcomes for model in (1, 2))
        assert old is not None
        assert new is not None
        change = compare_on(old.keys, path, old, new)
        assert change is not None
        assert change.error is not None
        changes.append(change.after - change.before)
        errors.append(change.error)
    assert 0.7 * np.mean(errors) < np.std(changes) < 1.3 * np.mean(errors)


def test_the_confidence_is_of_all_figures_together():
    assert deviations(share_level(0.95, 1)) == pytest.approx(1.645, abs=1e-3)
    assert deviations(share_level(0.95, 20)) == pytest.approx(2.807, abs=1e-3)


def test_a_drop_that_the_project_limits_is_left_to_its_limit(old):
    names = compared(old, old, max_drop_of={"mixed.ndcg_at_10": 0.5})
    assert "against_live:mixed.ndcg_at_10" not in names
    assert "against_live:mixed.retention_overall" in names


def test_every_figure_of_the_live_index_that_is_gone_is_named_with_what_is_missing():
    whole, half = space(60, 0, 1, audio=True), space(60, 0, 1)
    old, new = measured(whole), measured(half)
    live = published(old.evaluation, a=SourceContents(records=60, modalities={"audio": 60}))
    check = missing_check(new.evaluation, live, old.outcomes, {"a": SourceContents(records=60, modalities={})})
    assert not check.passed
    assert "recall_at_10.text.audio" in check.detail
    assert check.evidence == ("source a: 60 → 0 records with audio",)
    assert missing_check(old.evaluation, live, old.outcomes, {}).passed
    for path, value in figures(old.evaluation):  # absent is as bad as null
        if path in ("mixed.recall_at_10", "mixed.retention_overall", "all_views.text.recall_at_10.audio"):
            assert value is not None
            gone = _without(old.evaluation, path.split("."))
            assert path in missing_check(gone, live, old.outcomes, {}).detail


def _without(values: dict[str, Any], path: list[str]) -> dict[str, Any]:
    if len(path) == 1:
        return {name: value for name, value in values.items() if name != path[0]}
    return values | {path[0]: _without(values[path[0]], path[1:])}


def test_a_form_of_few_records_may_go_with_them_but_not_with_its_modality():
    held_out = space(60, 0, 1, audio=True)
    some = replace(held_out, present=np.where(np.arange(60)[:, None] < 50, [True, True, False], [False, True, True]))
    old, new = measured(some), measured(replace(some, present=some.present & [True, True, False]))
    live = published(old.evaluation)
    assert "mixed.retention.audio" in missing_check(new.evaluation, live, old.outcomes, {}).detail
    kept = _without(old.evaluation, ["mixed", "retention", "audio"])
    assert missing_check(kept, live, old.outcomes, {}).passed


@pytest.mark.parametrize(
    ("recall", "interval", "queries", "gallery", "passed"),
    [
        (0.18, [0.12, 0.25], 71, 71, False),  # a random pair of encoders that once went live; chance is 0.14
        (0.30, [0.20, 0.40], 71, 71, True),
        (0.30, None, 71, 71, True),  # no bootstrap: Wilson's interval
        (0.18, None, 71, 71, False),
        (0.60, None, 12, 12, False),  # few: the recall itself
        (0.90, None, 12, 12, True),
        (0.10, None, 8, 8, None),  # every ranking finds everything
    ],
)
def test_a_direction_is_above_chance_with_its_whole_interval(recall, interval, queries, gallery, passed):
    cell = {"text": {"image": recall}}
    evaluation: dict[str, Any] = {
        "recall_at_10": cell,
        "chance": {"text": {"image": min(1.0, 10 / gallery)}},
        "counts": {"text": {"image": {"queries": queries, "gallery": gallery}}},
    }
    if interval:
        evaluation["intervals"] = {"recall_at_10": {"text": {"image": interval}}}
    checks = list(chance_checks(evaluation, GateConfig(), 0.95))
    assert [check.passed for check in checks] == ([] if passed is None else [passed])
    assert list(chance_checks(evaluation, GateConfig(min_over_chance=0), 0.95)) == []


def test_wilsons_interval_is_the_known_one():
    low, high = wilson(0.5, 100, 0.95)
    assert [low, high] == pytest.approx([0.4038, 0.5962], abs=1e-4)


def _contents(records: int, **languages: int) -> SourceContents:
    return SourceContents(records=records, modalities={"text": records, "image": records}, languages=languages)


def test_a_source_a_modality_and_a_language_are_each_compared():
    live = published({}, a=_contents(100, en=80, de=20), b=_contents(40, en=40))

    def failed(**now: SourceContents) -> set[str]:
        return {check.name for check in contents_checks(now, live, GateConfig()) if not check.passed}

    assert failed(a=_contents(100, en=80, de=20), b=_contents(40, en=40)) == set()
    assert failed(a=_contents(100, en=100), b=_contents(40, en=40)) == {"language:de"}
    assert failed(a=_contents(100, en=80, de=20), b=_contents(20, en=40)) == {"records_of:b"}
    fewer = replace(_contents(40, en=40), modalities={"text": 40, "image": 20})
    assert failed(a=_contents(100, en=80, de=20), b=fewer) == {"image_of:b"}
    assert "records_of:b" in failed(a=_contents(200, en=180, de=20))
    assert failed(a=_contents(100), b=_contents(40)) == set()  # languages are no longer found: nothing to compare


def test_a_modality_that_the_project_names_must_exist():
    contents = {"a": _contents(5)}
    [check] = modality_checks({"audio": "model.audio"}, contents, None)
    assert (check.passed, check.value, check.name) == (False, 0, "modality:audio")
    assert "model.audio of the project file names it" in check.detail
    assert check.evidence == ("source a: 0 records with audio",)
    assert [one.passed for one in modality_checks({"text": "index.views"}, contents, None)] == [True]
    assert list(modality_checks({}, contents, None)) == []
