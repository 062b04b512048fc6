"""Reranking: by a cross-encoder, by a judge on a real server; an unusable judgement keeps the order and says why."""

from __future__ import annotations

import json

import pytest

from tests.encoders.test_crossencoder import build
from tests.pipelines.rag.model_server import model_server
from tests.pipelines.rag.test_prompt import passage
from trichord.infra.config import EndpointConfig, RagConfig
from trichord.infra.errors import ConfigError, ServiceError
from trichord.pipelines.rag.rerank import Reranked, open_reranker, parse_scores
from trichord.pipelines.rag.retrieve import Passage

PASSAGES = [passage("a", "a dog runs"), passage("b", ""), passage("c", "a red bus on the street"), passage("d", "red")]


@pytest.fixture
def server():
    with model_server() as server:
        yield server


def reranked(config: RagConfig, question: str, passages: list[Passage]) -> Reranked:
    reranker = open_reranker(config)
    assert reranker is not None
    return reranker.rerank(question, passages)


def judging(server, model: str = "judge") -> RagConfig:
    return RagConfig(rerank="judge", judge=EndpointConfig(url=server.url, model=model, retries=0))


def test_a_cross_encoder_orders_by_its_scores_and_what_has_no_words_comes_last(tmp_path):
    config = RagConfig(rerank="cross_encoder", cross_encoder=str(build(tmp_path / "model")))
    ranked = reranked(config, "the red bus", PASSAGES)
    assert [(item.key, item.rerank_score) for item in ranked.passages][-1] == ("b", None)
    scores = [item.rerank_score for item in ranked.passages if item.rerank_score is not None]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert sorted(item.key for item in ranked.passages) == ["a", "b", "c", "d"]
    assert ranked.order_kept == ""


def test_a_judge_orders_by_its_numbers_and_equal_ones_stay_in_their_order(server):
    ranked = reranked(judging(server), "Where is the red bus?", PASSAGES)
    assert [(item.key, item.rerank_score) for item in ranked.passages] == [("c", 6.67), ("d", 3.33), ("a", 0), ("b", 0)]
    (request,) = server.requests
    assert request.body["temperature"] == 0
    assert "JSON" in request.body["messages"][0]["content"]


def test_the_judge_is_the_answering_endpoint_where_it_has_no_url_of_its_own(server):
    config = RagConfig(rerank="judge", endpoint=EndpointConfig(url=server.url, model="judge"))
    assert reranked(config, "the red bus", PASSAGES).passages[0].key == "c"


@pytest.mark.usefixtures("json_events")
@pytest.mark.parametrize(
    "told", ["Source 3 is best.", '{"scores": [1, 2, 3]}', '{"scores": [1, 2, 3, 11]}', "[1, 2, 3, 4]"]
)
def test_an_unusable_judgement_keeps_the_order_and_is_told(server, capsys, told):
    server.models["judge"] = lambda body: told
    ranked = reranked(judging(server), "the red bus", PASSAGES)
    assert ranked.passages == PASSAGES
    assert "unusable" in ranked.order_kept
    (event,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (event["event"], event["order"]) == ("judge_unusable", "kept")
    assert event["reason"] in ranked.order_kept


def test_a_judge_that_does_not_answer_is_an_error(server):
    with pytest.raises(ServiceError, match=r"rag\.judge.*404"):
        reranked(judging(server, "unknown"), "the red bus", PASSAGES)


def test_nothing_is_not_judged(server):
    assert reranked(judging(server), "the red bus", []).passages == []
    assert not server.requests


def test_none_is_none_and_a_missing_judge_is_named():
    assert open_reranker(RagConfig()) is None
    with pytest.raises(ConfigError, match=r"rag\.endpoint\.url is not set"):
        open_reranker(RagConfig(rerank="judge"))


@pytest.mark.parametrize(
    "text", ['{"scores": [0, 10, 2.5]}', ' \n{"scores":[0,10,2.5]}\n', '```json\n{"scores": [0, 10, 2.5]}\n```',
             '```\n{"scores": [0,\n10, 2.5]}\n```'],
)  # fmt: skip
def test_scores_are_read_from_json_bare_or_fenced(text):
    assert parse_scores(text, 3) == [0.0, 10.0, 2.5]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not valid JSON"),
        ('Here you are: {"scores": [1, 2, 3]}', "not valid JSON"),
        ('{"scores": [1, 2, 3]} {}', "not valid JSON"),
        ("[" * 50_000, "not valid JSON"),
        ("[1, 2, 3]", "not a JSON object"),
        ('{"scores": {"1": 2}}', "of the form"),
        ('{"scores": [1, 2, 3], "why": "x"}', "of the form"),
        ('{"scores": [1, 2]}', "2 scores for 3"),
        ('{"scores": [1, 2, -1]}', "not a number from 0"),
        ('{"scores": [1, 2, true]}', "not a number from 0"),
        ('{"scores": [1, 2, "3"]}', "not a number from 0"),
        ('{"scores": [1, 2, null]}', "not a number from 0"),
        ('{"scores": [1, 2, NaN]}', "not a number from 0"),
        ('{"scores": [1, 2, 1e999]}', "not a number from 0"),
        pytest.param(f'{{"scores": [1, 2, {"9" * 400}]}}', "not a number from 0", id="400 digits"),
    ],
)
def test_anything_else_is_no_judgement(text, told):
    with pytest.raises(ValueError, match=told):
        parse_scores(text, 3)
