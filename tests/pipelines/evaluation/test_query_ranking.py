"""Rankings are measured on every record given, and equal the plain measures where they must."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.pipelines.evaluation.test_retrieval import held_out_of
from trichord.encoders.calibration import Calibration, Line
from trichord.infra.config import RANKINGS
from trichord.infra.digest import generator
from trichord.pipelines.evaluation.calibrate import calibrate
from trichord.pipelines.evaluation.galleries import FORMS, MODALITIES, HeldOut
from trichord.pipelines.evaluation.query_ranking import Asked, evaluate_rankings
from trichord.pipelines.evaluation.retrieval import evaluate
from trichord.pipelines.search.fusion import RankedHit, by_quota, by_score, rank_fusion, rescore


def gap(rows: int = 400, *, noise: float = 0.6) -> HeldOut:
    """A space whose modalities agree, each off in a direction of its own: texts find texts, pictures are lost."""
    random = generator("gap of rankings")
    content = random.normal(size=(rows, 24)) / np.sqrt(24)
    offset = dict(zip(MODALITIES, 1.2 * np.eye(27)[24:], strict=True))

    def embedded(form: str) -> np.ndarray:
        seen = content + noise * random.normal(size=(rows, 24)) / np.sqrt(24)
        vectors = np.pad(seen, ((0, 0), (0, 3))) + np.mean([offset[name] for name in form.split("+")], axis=0)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    return HeldOut(
        keys=tuple(f"k{row}" for row in range(rows)),
        text_ids=np.arange(rows),
        present=np.ones((rows, 3), bool),
        queries={name: embedded(name) for name in MODALITIES},
        other_caption=np.ones(rows, bool),
        gallery={form: embedded(form) for form in FORMS},
    )


@pytest.fixture(scope="module")
def space() -> HeldOut:
    return gap()


@pytest.fixture(scope="module")
def report(space: HeldOut) -> dict:
    return evaluate_rankings(space, calibrate(space), 10, 0).to_dict()


def test_a_calibration_does_not_depend_on_the_order_of_the_records(space):
    assert calibrate(space.take(generator("order").permutation(len(space.keys)))) == calibrate(space)


def test_every_ranking_is_measured_and_brings_back_what_a_gap_took(report):
    assert json.loads(json.dumps(report)) == report
    plain = report["plain"]["all_views"]
    assert plain["by_query"]["text"]["recall_at_10"]["image"] < 0.1
    assert plain["retention"]["image"] < 0.5
    for ranking in RANKINGS[1:]:
        ranked = report[ranking]["all_views"]
        assert ranked["by_query"]["text"]["recall_at_10"]["image"] > 0.25, ranking
        assert ranked["retention"]["image"] > plain["retention"]["image"] + 0.2, ranking
        assert report[ranking]["mixed"]["retention"]["image"] > report["plain"]["mixed"]["retention"]["image"]
    assert report["calibrated"]["all_views"]["ndcg_at_10"] > plain["ndcg_at_10"]
    assert report["calibrated"]["mixed"]["ndcg_at_10"] > report["plain"]["mixed"]["ndcg_at_10"]


@pytest.mark.parametrize("case", [(0, 40, 30), (1, 90, 0), (2, 12, 9)])
def test_the_plain_ranking_measures_what_evaluate_measures(case):
    seed, rows, captions = case
    held_out = held_out_of(seed, rows, captions=captions)
    plain = evaluate_rankings(held_out, None, 3, 5).to_dict()["plain"]
    expected = evaluate(held_out, 3, 5, draws=1).to_dict()
    for name in ("recall_at_3", "ndcg_at_3", "retention", "retention_overall"):
        assert plain["mixed"][name] == expected["mixed"][name]
    for query, part in expected["all_views"].items():
        told = {kind: value for kind, value in part["recall_at_3"].items() if value is not None} if part else None
        assert plain["all_views"]["by_query"].get(query, {}).get("recall_at_3") == told


def test_one_line_for_every_pair_changes_no_figure_and_no_calibration_leaves_the_ranking_out(space):
    same = Calibration(lines={(query, form): Line(scale=2.0, offset=-1.0) for query in MODALITIES for form in FORMS})
    report = evaluate_rankings(space, same, 10, 0).to_dict()
    assert report["calibrated"] == report["plain"]
    some = Calibration(lines={key: line for key, line in same.lines.items() if key != ("text", "image")})
    for calibration in (None, some):
        assert set(evaluate_rankings(space, calibration, 10, 0).to_dict()) == {"records", *RANKINGS} - {"calibrated"}


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_next_to_no_records_give_no_calibration_and_no_figures(rows):
    few = space_of(rows)
    assert calibrate(few) is None
    report = evaluate_rankings(few, None, 10, 0).to_dict()
    assert report["records"] == rows
    if not report["records"]:
        assert report["plain"]["mixed"]["ndcg_at_10"] is report["plain"]["all_views"]["ndcg_at_10"] is None


def space_of(rows: int) -> HeldOut:
    return gap(8).take(np.arange(rows))


@pytest.mark.parametrize("ranking", ["plain", "rank_fusion", "quota", "calibrated"])
@pytest.mark.parametrize("seed", range(4))
def test_ranking_a_gallery_at_once_ranks_as_search_does(ranking: str, seed: int) -> None:
    rng = generator("ranking at once", seed)
    queries, items, k = 20, (60, 12, 5)[seed % 3], 10
    labels_N, labels_G = np.arange(queries), rng.integers(0, queries, items)
    forms_G = rng.integers(0, 3, items)
    vectors = rng.integers(-2, 3, (queries + items, 4)).astype(np.float32)  # many cosines are equal
    hidden_N = rng.integers(-1, items, queries)
    lines = {("text", form): Line(scale=1.0 + place, offset=0.1 * place) for place, form in enumerate(FORMS)}
    calibration = Calibration(lines=lines)
    asked = Asked("text", vectors[:queries], labels_N, vectors[queries:], labels_G, forms_G, k, hidden_N)
    ranked = asked.rank(ranking, calibration, k)
    for row in range(queries):
        lists = {
            form: [
                RankedHit(key=f"{item:09d}", view=form, source=None, cosine=cosine, score=cosine)
                for item, cosine in zip(found[row].tolist(), cosines[row].tolist(), strict=True)
                if cosine != -np.inf
            ]
            for form, (found, cosines) in asked.found.items()
        }
        if ranking == "calibrated":
            lists = {form: rescore(hits, lines["text", form].scale, lines["text", form].offset)
                     for form, hits in lists.items()}  # fmt: skip
        if ranking == "rank_fusion":
            expected = rank_fusion(list(lists.values()), k, constant=1)
        elif ranking == "quota":
            expected = by_quota(lists, k, dict.fromkeys(lists, 1 / len(lists)))
        else:
            expected = by_score(list(lists.values()), k)
        assert [item for item in ranked.items_NK[row].tolist() if item >= 0] == [int(hit.key) for hit in expected]
