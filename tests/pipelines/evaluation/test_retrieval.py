"""Every retrieval measure equals its plain-loop definition, and no gallery holds what the query was made from."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trichord.infra.digest import generator
from trichord.pipelines.evaluation.figures import figures
from trichord.pipelines.evaluation.galleries import FORMS, MODALITIES, HeldOut
from trichord.pipelines.evaluation.mixed import DRAWS, ask_draws, ask_mixed, draw_often
from trichord.pipelines.evaluation.outcomes import Outcomes
from trichord.pipelines.evaluation.ranking import rank
from trichord.pipelines.evaluation.retrieval import evaluate, mixed_score

K = 3


def _unit(random: np.random.Generator, rows: int, dimension: int = 6) -> np.ndarray:
    vectors = random.normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def held_out_of(seed: int, rows: int, *, captions: int = 0, complete: bool = False) -> HeldOut:
    """Random records: some without text, image or audio, some of equal text, some with only one caption."""
    random = generator("held out", seed)
    present = random.random((rows, 3)) < (2 if complete else 0.75)
    ids = random.integers(2**63, size=max(1, rows * 2 // 3))  # as large as digests are
    texts = np.where(present[:, 0], random.choice(ids, size=rows), -1)
    other = present[:, 0] & (random.random(rows) < 0.7)
    further = np.flatnonzero(other)
    rows_of = random.choice(further, size=captions) if captions and len(further) else None
    return HeldOut(
        keys=tuple(f"r{seed}-{row}" for row in range(rows)),
        text_ids=texts,
        present=present,
        queries={name: _unit(random, rows) for name in MODALITIES},
        other_caption=other,
        gallery={form: _unit(random, rows) for form in FORMS},
        captions=None if rows_of is None else _unit(random, len(rows_of)),
        caption_rows=rows_of,
    )


# --- the reference: one item after the other, as one would say it ---


def _names(h: HeldOut, row: int) -> set[str]:
    return {name for i, name in enumerate(MODALITIES) if h.present[row, i]}


def _may_answer(h: HeldOut, row: int, query: str, form: str) -> bool:
    parts = set(form.split("+"))
    return parts <= _names(h, row) and (query not in parts or (query == "text" and bool(h.other_caption[row])))


def _relevant(h: HeldOut, a: int, b: int) -> bool:
    return a == b or (h.text_ids[a] >= 0 and h.text_ids[a] == h.text_ids[b])


def _ranking(query: np.ndarray, gallery: list[tuple[int, np.ndarray]]) -> list[int]:
    scores = [float(query @ vector) for _, vector in gallery]
    return sorted(range(len(gallery)), key=lambda item: (-scores[item], item))[:K]


def _measures(relevances: list[bool], total: int) -> tuple[float, float, float]:
    gain = sum(1 / math.log2(place + 2) for place, hit in enumerate(relevances) if hit)
    ideal = sum(1 / math.log2(place + 2) for place in range(min(K, total)))
    return sum(relevances) / K, sum(relevances) / total, gain / ideal


def _ask(h: HeldOut, query: str, row: int, gallery: list[tuple[int, np.ndarray]]) -> tuple[float, float, float]:
    places = _ranking(h.queries[query][row], gallery)
    total = sum(_relevant(h, row, item) for item, _ in gallery)
    return _measures([_relevant(h, row, gallery[place][0]) for place in places], total)


def _fused_form(h: HeldOut, row: int, query: str) -> str | None:
    able = [form for form in FORMS if _may_answer(h, row, query, form)]
    return max(able, key=lambda form: form.count("+")) if able else None


def _drawn_form(h: HeldOut, row: int, query: str, seed: int, draw: int) -> str | None:
    able = [form for form in FORMS if _may_answer(h, row, query, form)]
    number = generator(seed, "mixed", h.keys[row]).random((DRAWS, 3))[draw][MODALITIES.index(query)]
    return able[int(number * len(able))] if able else None


def _close(found: float | None, expected: list[float]) -> bool:
    if not expected:
        return found is None
    return found is not None and abs(found - sum(expected) / len(expected)) < 2e-6


CASES = st.tuples(st.integers(0, 10_000), st.integers(1, 25))


@given(CASES)
@settings(max_examples=40, deadline=None)
def test_the_matrix_equals_its_plain_definition(case):
    h = held_out_of(*case)
    report = evaluate(h, K, seed=1).to_dict()
    for query in MODALITIES:
        for target in (*MODALITIES, "fused"):
            forms = {r: _fused_form(h, r, query) if target == "fused" else target for r in range(len(h.keys))}
            standing = [r for r, form in forms.items() if form and set(form.split("+")) <= _names(h, r)]
            gallery = [(r, h.gallery[str(forms[r])][r]) for r in standing]
            asking = [r for r in standing if query in _names(h, r) and _may_answer(h, r, query, str(forms[r]))]
            results = [_ask(h, query, r, gallery) for r in asking]
            for place, name in enumerate(("precision", "recall", "ndcg")):
                assert _close(report[f"{name}_at_{K}"][query][target], [result[place] for result in results])
            assert report["counts"][query][target] == {"queries": len(asking), "gallery": len(gallery)}
            assert _close(report["chance"][query][target], [min(1.0, K / len(gallery))] if asking else [])


@given(CASES, st.integers(0, 3), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_the_mixed_gallery_equals_its_plain_definition(case, seed, draws):
    h = held_out_of(*case)
    report = evaluate(h, K, seed, draws=draws).to_dict()["mixed"]
    by_query = {query: [_ask_drawn(h, query, seed, draw) for draw in range(draws)] for query in MODALITIES}
    for query, parts in by_query.items():
        _check_mixed(report["by_query"][query], parts)
    by_draw = [[by_query[query][draw] for query in MODALITIES] for draw in range(draws)]
    _check_mixed(report, [_joined(parts) for parts in by_draw])
    score, first = mixed_score(h, K, seed), _joined(by_draw[0])["ndcg"]
    assert _close(score, first) if first else score == 0.0


def _ask_drawn(h: HeldOut, query: str, seed: int, draw: int) -> dict[str, list]:
    one: dict[str, list] = {"recall": [], "ndcg": [], "alone": [], "forms": [], "top": [], "truth": []}
    forms = {r: form for r in range(len(h.keys)) if (form := _drawn_form(h, r, query, seed, draw))}
    gallery = [(r, h.gallery[form][r]) for r, form in forms.items()]
    for row in (r for r in forms if query in _names(h, r)):
        _, recall, ndcg = _ask(h, query, row, gallery)
        alike = [r for r in range(len(h.keys)) if _may_answer(h, r, query, forms[row])]
        one["recall"].append(recall)
        one["ndcg"].append(ndcg)
        one["alone"].append(_ask(h, query, row, [(r, h.gallery[forms[row]][r]) for r in alike])[1])
        one["forms"].append(forms[row])
        one["top"] += [forms[gallery[place][0]] for place in _ranking(h.queries[query][row], gallery)]
        one["truth"] += [form for r, form in forms.items() if _relevant(h, row, r)]
    return one


def _joined(parts: list[dict[str, list]]) -> dict[str, list]:
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def _retained(one: dict[str, list], form: str | None) -> list[float]:
    chosen = [n for n, own in enumerate(one["forms"]) if form in (None, own)]
    alone = sum(one["alone"][n] for n in chosen)
    return [sum(one["recall"][n] for n in chosen) / alone] if alone else []


def _spread(values: list[list[float]]) -> list[float]:
    known = [value for one in values for value in one]
    return [statistics.stdev(known)] if len(known) > 1 else []


def _check_mixed(report: dict, parts: list[dict[str, list]]) -> None:
    """Figures are over all draws together; their spread is the standard deviation over the draws."""
    expected = _joined(parts)
    assert (report["draws"], report["queries"]) == (len(parts), len(parts[0]["recall"]))
    assert _close(report[f"recall_at_{K}"], expected["recall"])
    assert _close(report[f"ndcg_at_{K}"], expected["ndcg"])
    assert set(report["retention"]) == set(expected["forms"])
    for form, found in [*report["retention"].items(), (None, report["retention_overall"])]:
        assert _close(found, _retained(expected, form))
    assert set(report["share"]) == set(expected["top"]) | set(expected["truth"])
    for form, share in report["share"].items():
        for name in ("top", "truth"):
            assert abs(share[name] - expected[name].count(form) / len(expected[name])) < 2e-6
    assert ("spread" in report) == (len(parts) > 1)
    if len(parts) > 1:
        spread = report["spread"]
        for name, own in (("ndcg", f"ndcg_at_{K}"), ("recall", f"recall_at_{K}")):
            assert _close(spread[own], _spread([[statistics.fmean(p[name])] if p[name] else [] for p in parts]))
        assert _close(spread["retention_overall"], _spread([_retained(part, None) for part in parts]))
        for form, found in spread.get("retention", {}).items():
            assert _close(found, _spread([_retained(part, form) for part in parts]))


@given(CASES, st.integers(0, 12))
@settings(max_examples=40, deadline=None)
def test_the_gallery_of_all_views_equals_its_plain_definition(case, captions):
    h = held_out_of(*case, captions=captions)
    report = evaluate(h, K, seed=0).to_dict()["all_views"]
    items = [(name, r, h.gallery[name][r]) for name in MODALITIES for r in range(len(h.keys)) if name in _names(h, r)]
    if h.captions is not None and h.caption_rows is not None:
        items += [("text", int(r), vector) for r, vector in zip(h.caption_rows, h.captions, strict=True)]
    for query in MODALITIES:
        recall: dict[str, list[float]] = {name: [] for name in MODALITIES}
        top: list[str] = []
        truth: list[str] = []
        asking = [
            r
            for r in range(len(h.keys))
            if query in _names(h, r) and any(_may_answer(h, r, query, name) for name in MODALITIES)
        ]
        for row in asking:
            own_source = not _may_answer(h, row, query, query)
            gallery = [item for item in items if not (own_source and item[:2] == (query, row))]
            places = _ranking(h.queries[query][row], [(r, vector) for _, r, vector in gallery])
            top += [gallery[place][0] for place in places]
            truth += [name for name, r, _ in gallery if _relevant(h, row, r)]
            for target in (name for name in MODALITIES if _may_answer(h, row, query, name)):
                wanted = [p for p, (name, r, _) in enumerate(gallery) if name == target and _relevant(h, row, r)]
                recall[target].append(len(set(wanted) & set(places)) / len(wanted))
        if not asking:
            assert report[query] is None
            continue
        assert (report[query]["gallery"], report[query]["queries"]) == (len(items), len(asking))
        for target in MODALITIES:
            assert _close(report[query][f"recall_at_{K}"][target], recall[target])
            assert abs(report[query]["share"][target]["top"] - top.count(target) / len(top)) < 2e-6
            assert abs(report[query]["share"][target]["truth"] - truth.count(target) / len(truth)) < 2e-6


def test_draws_that_share_their_scores_see_what_one_draw_alone_sees():
    for rows, captions in ((40, 9), (300, 0)):
        h = held_out_of(7, rows, captions=captions)
        drawn = draw_often(h, 2, 4)
        for query in MODALITIES:
            for shared, numbers in zip(ask_draws(h, query, K, drawn), drawn, strict=True):
                alone = ask_mixed(h, query, K, numbers)
                assert alone is not None
                for name in ("records_N", "own_forms_N", "item_forms_G", "truth_F", "alone_N"):
                    np.testing.assert_array_equal(getattr(shared, name), getattr(alone, name))
                for name in ("items_NK", "relevant_NK", "total_N"):
                    np.testing.assert_array_equal(getattr(shared.ranked, name), getattr(alone.ranked, name))


def test_outcomes_add_up_to_the_figures_and_survive_their_file():
    h = held_out_of(3, 60, captions=20)
    evaluation = evaluate(h, K, seed=1)
    outcomes = evaluation.outcomes
    assert outcomes is not None
    known, stored = dict(figures(evaluation)), Outcomes.from_bytes(replace(outcomes, sources=("s",) * 60).to_bytes())
    assert len(outcomes.parts) > 20
    for one in (outcomes, stored):
        assert one.keys == tuple(sorted(h.keys))
        for path, (above, below) in one.parts.items():
            assert known[path] == pytest.approx(above.sum() / below.sum(), abs=2e-6), path
        for path in (f"mixed.recall_at_{K}", f"mixed.ndcg_at_{K}"):
            assert known[path] == pytest.approx(one.drawn[path].mean(), abs=2e-6), path


def test_a_perfect_space_scores_one_and_a_collapsed_one_scores_chance():
    rows, random = 200, generator("perfect")
    exact = _unit(random, rows, 32)
    same = np.tile(exact[:1], (rows, 1))
    for vectors in (exact, same):
        h = HeldOut(
            keys=tuple(f"k{row}" for row in range(rows)),
            text_ids=np.arange(rows),
            present=np.ones((rows, 3), bool),
            queries=dict.fromkeys(MODALITIES, vectors),
            other_caption=np.ones(rows, bool),
            gallery=dict.fromkeys(FORMS, vectors),
        )
        report, expected = evaluate(h, 10, 0).to_dict(), 1.0 if vectors is exact else 0.05
        cells = [value for row in report["recall_at_10"].values() for value in row.values() if value is not None]
        assert len(cells) == 10  # image to image and audio to audio cannot be asked
        assert cells == [expected] * 10
        assert report["mixed"]["recall_at_10"] == expected
        assert report["chance"]["text"]["image"] == report["mixed"]["chance"] == 0.05
        if vectors is exact:
            assert report["mixed"]["ndcg_at_10"] == mixed_score(h, 10, 0) == 1.0
            assert set(report["mixed"]["retention"].values()) == {1.0}
            assert report["mixed"]["by_query"]["text"]["retention"].keys() == set(FORMS)
            for form, share in report["mixed"]["share"].items():
                assert share["truth"] > 0.02, form


def test_a_space_in_which_texts_find_texts_loses_its_pictures_in_the_mixed_gallery():
    rows, random = 300, generator("gap")
    content, noise = _unit(random, rows, 24), 0.3
    offset = dict(zip(MODALITIES, 1.5 * np.eye(27)[24:], strict=True))

    def embedded(name: str) -> np.ndarray:
        vectors = np.pad(content + noise * _unit(random, rows, 24), ((0, 0), (0, 3))) + offset[name]
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    h = HeldOut(
        keys=tuple(f"k{row}" for row in range(rows)),
        text_ids=np.arange(rows),
        present=np.tile([True, True, False], (rows, 1)),
        queries={name: embedded(name) for name in MODALITIES},
        other_caption=np.ones(rows, bool),
        gallery={form: embedded(form.split("+")[0]) for form in FORMS},
    )
    report = evaluate(h, 10, 0).to_dict()
    text = report["mixed"]["by_query"]["text"]
    assert report["recall_at_10"]["text"]["image"] > 0.9
    assert text["retention"]["text"] > 0.9
    assert text["retention"]["image"] < 0.3
    assert text["share"]["image"]["top"] < 0.1 < 0.25 < text["share"]["image"]["truth"]
    assert report["all_views"]["text"]["recall_at_10"]["image"] < 0.1


def test_a_records_drawn_form_does_not_depend_on_the_others_or_on_their_order():
    h = held_out_of(5, 40, complete=True)
    order = generator("order").permutation(40)
    shuffled = h.take(order)
    assert evaluate(shuffled, 5, 3) == evaluate(h, 5, 3)
    assert evaluate(h, 5, 4) != evaluate(h, 5, 3)


def test_the_report_is_json_also_where_nothing_can_be_asked():
    for h in (held_out_of(1, 0), held_out_of(2, 1), held_out_of(3, 12)):
        report = evaluate(h, 10, 0).to_dict()
        assert json.loads(json.dumps(report, allow_nan=False)) == report
    nothing = evaluate(held_out_of(1, 0), 10, 0).to_dict()
    assert nothing["mixed"]["recall_at_10"] is None
    assert nothing["all_views"] == dict.fromkeys(MODALITIES)


@pytest.mark.parametrize(
    "change",
    [
        {"keys": ("a", "a")},
        {"text_ids": np.zeros(3, int)},
        {"present": np.ones((2, 2), bool)},
        {"queries": {"text": np.zeros((2, 6), np.float32)}},
        {"gallery": {"text": np.zeros((2, 6), np.float32)}},
        {"gallery": {form: np.zeros((3, 6), np.float32) for form in FORMS}},
        {"queries": {"smell": np.zeros((2, 6), np.float32)}},
        {"captions": np.zeros((1, 6), np.float32)},
    ],
)
def test_held_out_parts_that_contradict_each_other_are_a_callers_mistake(change):
    sound = held_out_of(0, 2, complete=True)
    fields = {name: getattr(sound, name) for name in HeldOut.__slots__}
    assert isinstance(HeldOut(**fields), HeldOut)
    with pytest.raises(ValueError):
        HeldOut(**(fields | change))


def test_a_query_without_anything_relevant_is_a_callers_mistake():
    one = _unit(generator("one"), 1)
    with pytest.raises(ValueError, match="query 0"):
        rank(one, np.array([4]), one, np.array([5]), 1)
    with pytest.raises(ValueError, match="query 0"):
        rank(one, np.array([4]), one, np.array([4]), 1, excluded_N=np.array([0]))
    with pytest.raises(ValueError, match="k is 0"):
        rank(one, np.array([4]), one, np.array([4]), 0)


def test_the_forms_are_all_sets_of_modalities():
    sets = [set(form.split("+")) for form in FORMS]
    assert sets == [set(c) for size in (1, 2, 3) for c in combinations(MODALITIES, size)]
