"""A lake with three views in its index is searched under every ranking, and what does not fit is a clear error."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from tests.pipelines.lakes import SETTINGS, result_of, rows_of, trichord, workspace_of, write_project
from trichord.encoders.model import FusionModel
from trichord.encoders.query_model import QueryModel
from trichord.infra.errors import ConfigError
from trichord.pipelines.api import load_model, open_workspace
from trichord.pipelines.search.nearest import nearest
from trichord.pipelines.search.query import Query
from trichord.pipelines.search.search import open_live, read_query, search

VIEWS = ["text", "image", "audio"]
RANKINGS = ("plain", "calibrated", "rank_fusion", "quota")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small lake indexed by three views, a good part of it held out."""
    settings = SETTINGS | {"index": {"views": VIEWS}, "train": SETTINGS["train"] | {"validation": 0.2, "test": 0.2}}
    made = write_project(tmp_path_factory.mktemp("views"), settings=settings, defects=0.0)
    result_of(trichord("reindex", "--project", str(made), "--json"))
    return made


@pytest.fixture(scope="module")
def live(project):
    return open_live(workspace_of(project))


@pytest.fixture(scope="module")
def searcher(project):
    return open_workspace(project).searcher()


def ask(project: Path, *overrides: str, k: int = 10, **parts) -> list[dict]:
    query = dict.fromkeys(("text", "image", "audio")) | parts
    return search(workspace_of(project, *overrides), k=k, **query)["hits"]


def test_the_calibration_is_stored_with_the_model_and_covers_what_is_indexed(project, live):
    calibration = live.model.calibration
    assert {(query, view) for query in VIEWS for view in (*VIEWS, "fused")} <= set(calibration.lines)
    [stored] = (project.parent / "lake" / "models").glob("*/model.json")
    assert json.loads(stored.read_bytes())["calibration"] == calibration.to_json()


def test_the_evaluation_tells_every_ranking(project):
    live = workspace_of(project).publications.live()
    assert live is not None
    rankings = live.verdict.evaluation["rankings"]
    assert set(rankings) == {"records", *RANKINGS}
    assert 0 < rankings["records"] == live.verdict.evaluation["records"], "no calibration saw a test record"
    [story] = (project.parent / "lake" / "models").glob("*/training.json")
    assert "rankings" not in json.loads(story.read_bytes())["after"], "the calibration was fitted on these"


@pytest.mark.parametrize("rankings", RANKINGS)
def test_every_ranking_gives_k_records_once_with_what_ranked_them(project, rankings):
    row = rows_of(project.parent / "corpus")[0]
    for parts in ({"text": row["text"]}, {"text": row["text"], "image": project.parent / "corpus" / row["image"]}):
        hits = ask(project, f"query.ranking={rankings}", **parts)
        assert len(hits) == len({hit["key"] for hit in hits}) == 10
        by = {"calibrated": "calibrated", "rank_fusion": "rank_score"}.get(rankings, "score")
        assert [hit[by] for hit in hits] == sorted((hit[by] for hit in hits), reverse=True)
        assert all(hit["view"] in VIEWS and hit["text"] and -1 <= hit["score"] <= 1.0001 for hit in hits)


def test_calibrated_and_fused_ranks_and_quotas_let_pictures_and_sounds_in(project):
    words = rows_of(project.parent / "corpus")[1]["text"]
    views = {rankings: Counter(hit["view"] for hit in ask(project, f"query.ranking={rankings}", text=words, k=12))
             for rankings in RANKINGS}  # fmt: skip
    assert views["quota"] == dict.fromkeys(VIEWS, 4)
    assert views["calibrated"]["text"] < views["plain"]["text"]
    some = ask(project, "query.ranking=quota", "query.quotas={image: 0.5, text: 0.25}", text=words, k=12)
    assert Counter(hit["view"] for hit in some)["image"] >= 6


def test_calibrated_scores_are_those_of_the_models_lines_and_exact_for_several_parts(project, live):
    workspace = workspace_of(project, "query.ranking=calibrated", "query.weights={image: 2}")
    row = rows_of(project.parent / "corpus")[2]
    picture = (project.parent / "corpus" / row["image"]).read_bytes()
    query = read_query(workspace.project.prepare, row["text"], picture, None)
    found = nearest(live, query, workspace.project.query, 5)
    features = live.model.featurise(query)
    parts = {name: live.model.embed(features, name)[0] for name in ("text", "image")}
    expected: dict[str, float] = {}
    for view in VIEWS:
        cosines: dict[str, dict[str, float]] = {}
        for name, vector in parts.items():
            hits = live.searcher.search(vector, live.searcher.rows, view=view)
            kept = hits.keys[0] != np.array(None)
            cosines[name] = dict(zip(hits.keys[0][kept], hits.scores[0][kept].tolist(), strict=True))
        lines = live.model.calibration.lines
        for key in cosines["text"]:
            score = sum(
                weight * (lines[name, view].scale * cosines[name][key] + lines[name, view].offset)
                for name, weight in (("text", 1), ("image", 2))
            )
            expected[key] = max(score, expected.get(key, -np.inf))
    best = sorted(expected, key=lambda key: -expected[key])[:5]
    assert [hit.key for hit in found] == best
    assert [hit.score for hit in found] == pytest.approx([expected[key] for key in best], abs=1e-4)


@pytest.mark.parametrize("ranking", RANKINGS)
def test_many_queries_are_ranked_as_each_alone(searcher, project, ranking):
    corpus, rows = project.parent / "corpus", rows_of(project.parent / "corpus")[:6]
    queries = [Query(text=row["text"]) for row in rows]
    queries += [Query(image=corpus / rows[0]["image"]), Query(text="a bell", audio=corpus / rows[1]["audio"])]
    together = searcher.search_many(queries, k=7, ranking=ranking)
    alone = [
        searcher.search(query.text, image=query.image, audio=query.audio, k=7, ranking=ranking) for query in queries
    ]
    assert together == alone
    plain = [[hit.to_dict() for hit in hits] for hits in searcher.search_many(queries, k=7, ranking="plain")]
    assert (ranking == "plain") == ([[hit.to_dict() for hit in hits] for hits in together] == plain)


def test_a_model_alone_gives_the_vectors_that_are_stored(searcher, project):
    workspace = searcher._workspace
    live = workspace.publications.live()
    rows = workspace.vectors().to_table(filter=pc.field("view") == "text").to_pylist()[:20]
    texts = workspace.records().to_table(columns=["key", "text"]).to_pylist()
    by_key = {row["key"]: row["text"] for row in texts}
    stored = np.array([row["vector"] for row in rows], np.float32)
    for model in (workspace.model(), load_model(workspace.lake.uri(live.model))):
        assert model.fingerprint == live.fingerprint
        vectors = model.encode_text([by_key[row["key"]] for row in rows])
        np.testing.assert_allclose(vectors, stored, atol=1e-6)
        np.testing.assert_allclose(model.encode_text(by_key[rows[0]["key"]]), stored[0], atol=1e-6)


@pytest.mark.parametrize("ranking", RANKINGS)
def test_a_search_without_torch_finds_what_the_model_of_torch_finds(project, live, ranking):
    workspace = workspace_of(project, f"query.ranking={ranking}")
    row = rows_of(project.parent / "corpus")[2]
    picture, sound = ((project.parent / "corpus" / row[name]).read_bytes() for name in ("image", "audio"))
    asked = [("three red circles", None, None), (row["text"], picture, None), (None, picture, sound)]
    assert isinstance(live.model, QueryModel)
    by_torch = dataclasses.replace(live, model=open_workspace(project).model())
    for parts in asked:
        query = read_query(workspace.project.prepare, *parts)
        found, expected = (nearest(index, query, workspace.project.query, 10) for index in (live, by_torch))
        assert [hit.key for hit in found] == [hit.key for hit in expected]  # in its own views a record has 1.0 each
        assert [hit.cosine for hit in found] == pytest.approx([hit.cosine for hit in expected], abs=1e-6)


def test_rankings_of_the_command_line_win_over_the_project_file(project):
    done = trichord("search", "--text", "a red circle", "--ranking", "rank_fusion", "--project", str(project), "--json")
    result = result_of(done)
    assert result["ranking"] == "rank_fusion"
    assert all("rank_score" in hit for hit in result["hits"])
    refused = trichord("search", "--text", "a", "--ranking", "best", "--project", str(project), check=2)
    assert "rank_fusion" in refused.stderr


def test_a_quota_of_a_view_that_is_not_indexed_or_of_no_view_is_refused(project):
    with pytest.raises(ConfigError, match="'fused', but the live index holds only"):
        ask(project, "query.ranking=quota", "query.quotas={fused: 0.5}", text="a")
    for wrong, why in (("{smell: 0.5}", "'smell' is none of"), ("{image: 0.9, text: 0.2}", "1.1 in all"),
                       ("{image: 0}", "above 0")):  # fmt: skip
        with pytest.raises(ConfigError, match=why):
            workspace_of(project, f"query.quotas={wrong}")


def test_without_a_calibration_only_the_calibrated_ranking_is_refused(project, live):
    whole = open_workspace(project).model()
    bare = FusionModel(whole.config, whole.encoders, whole.network)
    assert bare.fingerprint != live.model.fingerprint
    for rankings in RANKINGS:
        config = workspace_of(project, f"query.ranking={rankings}").project
        query = read_query(config.prepare, "a red circle", None, None)
        if rankings != "calibrated":
            assert len(nearest(dataclasses.replace(live, model=bare), query, config.query, 5)) == 5
            continue
        with pytest.raises(ConfigError, match="no calibration of text queries against the view 'audio'"):
            nearest(dataclasses.replace(live, model=bare), query, config.query, 5)
