"""Questions answered from a published index by a real server: retrieval, answers, feedback, and their evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from tests.pipelines.lakes import SETTINGS, copy_of, result_of, trichord, unknown_files, workspace_of, write_project
from tests.pipelines.rag.model_server import SOURCE, model_server, words
from tests.pipelines.rag.test_prompt import passage as made
from trichord.infra.errors import ConfigError, ServiceError
from trichord.infra.lake.shard import read_shard
from trichord.pipelines.cli import render_rag
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.figures import figures
from trichord.pipelines.publish.gc import gc
from trichord.pipelines.publish.status import status
from trichord.pipelines.rag.answer import Question, ask, open_rag
from trichord.pipelines.rag.evaluate import Ranks, evaluate_rag, rank_at_k, refuse_below
from trichord.pipelines.rag.feedback import give_feedback, read_feedback, summarise
from trichord.pipelines.rag.retrieve import read_pictures, retrieve
from trichord.pipelines.search.search import open_live, read_query, search
from trichord.transforms.batch import Batch

Distance = Callable[[np.ndarray, np.ndarray], float]
VIEWS = ["fused", "text", "image"]


@pytest.fixture(scope="module")
def all_views(tmp_path_factory):
    """A lake whose index holds several views, and every vector of it."""
    settings = SETTINGS | {"index": {"views": VIEWS, "rows_per_shard": 20}}
    project = write_project(tmp_path_factory.mktemp("rag"), records=60, settings=settings)
    trichord("reindex", "--project", str(project), "--json")
    workspace = workspace_of(project)
    shards = workspace.table("vectors").shards().values()
    return project, pa.concat_tables([read_shard(workspace.lake, ref) for ref in shards])


@pytest.fixture
def server():
    with model_server() as server:
        yield server


@pytest.fixture
def project(all_views, tmp_path):
    """A copy of the lake that may be changed."""
    return copy_of(all_views[0].parent, tmp_path / "copy")


def to(server, model: str = "extractive") -> list[str]:
    return [f"rag.endpoint.url={server.url}", f"rag.endpoint.model={model}", "rag.endpoint.retries=0"]


def truth(vectors: pa.Table, query: np.ndarray, value: Distance, views: list[str]) -> list[tuple[str, float]]:
    """Every record by its best vector of these views, best first; `value` is better when smaller."""
    best: dict[str, float] = {}
    for row in vectors.to_pylist():
        if row["view"] in views:
            told = value(query.astype(np.float64), np.array(row["vector"], np.float64))
            best[row["key"]] = min(told, best.get(row["key"], np.inf))
    return sorted(best.items(), key=lambda pair: (pair[1], pair[0]))


METRICS: dict[str, Distance] = {
    "cosine": lambda q, x: -(q @ x) / (np.linalg.norm(q) * np.linalg.norm(x)),
    "inner_product": lambda q, x: -float(q @ x),
    "l2": lambda q, x: float(np.linalg.norm(q - x)),
}


def query(workspace: Workspace, text: str) -> Batch:
    return read_query(workspace.project.prepare, text, None, None)


@pytest.mark.parametrize("views", [[], ["fused"], ["image"], ["text", "image"]], ids=lambda views: "+".join(views))
def test_cosine_l2_and_inner_product_rank_alike_and_each_reports_its_own_value(all_views, views):
    project, vectors = all_views
    for text in ("a red circle", "three blue stars on grey", "Where is the arrow?"):
        orders = []
        for metric, value in METRICS.items():
            named = f"rag.views=[{', '.join(views)}]"
            workspace = workspace_of(project, f"rag.metric={metric}", named, "rag.candidates=12")
            index = open_live(workspace)
            vector = index.model.encode(query(workspace, text), "fused")[0][0]
            best = truth(vectors, vector, value, views or VIEWS)[:12]
            found = retrieve(workspace, index, query(workspace, text))
            sign = 1 if metric == "l2" else -1
            assert [passage.score for passage in found] == pytest.approx([sign * told for _, told in best], abs=1e-4)
            assert {passage.view for passage in found} <= set(views or VIEWS)
            assert {passage.key for passage in found} == {key for key, _ in best}
            orders.append([passage.key for passage in found])
        assert orders[0] == orders[1] == orders[2]


def test_the_rankings_of_search_hold_for_all_views_together(all_views):
    text = "a red circle"
    mixed = workspace_of(all_views[0], "query.ranking=rank_fusion", "rag.candidates=8")
    found = retrieve(mixed, open_live(mixed), query(mixed, text))
    asked = search(mixed, text=text, image=None, audio=None, k=8)["hits"]
    assert [(passage.key, passage.view) for passage in found] == [(hit["key"], hit["view"]) for hit in asked]
    assert [passage.score for passage in found] == pytest.approx([hit["score"] for hit in asked], abs=1e-6)


def test_a_passage_holds_the_records_words_captions_and_on_demand_its_picture(all_views):
    workspace = workspace_of(all_views[0], "rag.candidates=60")
    shards = workspace.table("records").shards().values()
    rows = [row for ref in shards for row in read_shard(workspace.lake, ref).to_pylist()]
    records = {row["key"]: row for row in rows}
    index = open_live(workspace)
    passages = retrieve(workspace, index, query(workspace, "a red circle"))
    assert len(passages) == index.searcher.rows // len(VIEWS)
    for item, picture in zip(passages, read_pictures(workspace, index, passages), strict=True):
        record = records[item.key]
        assert item.words.splitlines() == list(dict.fromkeys([*filter(None, [record["text"]]), *record["captions"]]))
        assert picture == record["image"]
        assert picture is not None


def test_a_view_that_the_publication_lacks_is_named(all_views):
    workspace = workspace_of(all_views[0], "index.views=[fused, audio]", "rag.views=[audio]")
    with pytest.raises(ConfigError, match=r"holds no audio view.*\n.*reindex"):
        retrieve(workspace, open_live(workspace), query(workspace, "a red circle"))


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("rag.views=[audio]", "rag.views: audio is none of index.views"),
        ("rag.k=30", "rag.k: 30 is more than the 20 of candidates"),
        ("rag.rerank=cross_encoder", "rag.cross_encoder: is needed"),
        ("rag.endpoint.url=ftp://x", "rag.endpoint.url: expected text matching"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_read(all_views, setting, told):
    with pytest.raises(ConfigError, match=told.replace(".", r"\.")):
        workspace_of(all_views[0], setting)


def test_ask_answers_from_its_sources_and_cites_them(project, server, capsys):
    flags = [word for setting in to(server) for word in ("--set", setting)]
    result = result_of(trichord("ask", "Where is the red circle?", "--project", str(project), "--json", *flags))
    assert {
        "id", "answer", "model", "finish_reason", "usage", "publication", "fingerprint", "sources", "sources_left_out",
        "cited", "cited_unknown", "order_kept",
    } <= set(result)  # fmt: skip
    (number,) = result["cited"]
    source = result["sources"][number - 1]
    assert source["number"] == number
    assert result["answer"].removesuffix(f" [{number}]") in source["text"].splitlines()
    assert result["cited_unknown"] == []
    assert len(result["sources"]) == 5
    shown = SOURCE.findall(server.requests[0].body["messages"][-1]["content"])
    assert [int(number) for number, _ in shown] == [source["number"] for source in result["sources"]]
    assert {name: server.requests[0].body[name] for name in ("temperature", "max_tokens", "seed")} == {
        "temperature": 0.0, "max_tokens": 512, "seed": 0,
    }  # fmt: skip
    again = ask(workspace_of(project, *to(server)), "Where is the red circle?")
    assert again.to_dict() == result, "the same question has the same answer, and the same id"
    render_rag.answer(again.to_dict())
    told = capsys.readouterr().out
    assert result["id"] in told
    assert "Sources in" in told


def test_a_question_may_be_about_a_picture(project, server):
    picture = next((project.parent / "corpus").rglob("*.jpg"))
    workspace = workspace_of(project, *to(server))
    with_picture = ask(workspace, "What is shown here?", image=picture)
    assert with_picture.question_digest != ask(workspace, "What is shown here?").question_digest
    assert with_picture.sources[0].score != ask(workspace, "What is shown here?").sources[0].score
    with pytest.raises(ConfigError, match="cannot be read"):
        ask(workspace, "What is shown here?", image=project.parent / "none.jpg")


def test_pictures_reach_a_model_that_sees(project, server):
    asked = ask(workspace_of(project, *to(server), "rag.pictures=true", "rag.k=3"), "Where is the red circle?")
    parts = server.requests[0].body["messages"][-1]["content"]
    assert [part["type"] for part in parts] == ["text", *["text", "image_url"] * 3]
    assert len(asked.sources) == 3


def test_a_citation_of_no_source_is_flagged(project, server):
    server.models["liar"] = lambda body: "It is so [2], and so [9]."
    result = ask(workspace_of(project, *to(server, "liar")), "Where is the red circle?")
    assert (result.cited, result.cited_unknown) == ([2], [9])


def test_a_judge_moves_the_source_that_answers_to_the_front(project, server):
    judged = ["rag.rerank=judge", f"rag.judge.url={server.url}", "rag.judge.model=judge"]
    question = Question(text="a red circle and a green star")
    rag = open_rag(workspace_of(project, *to(server), *judged))
    found = rag.find(question)
    ranked = rag.rank(question, found)
    shares = [len(words(passage.words) & words(question.text)) for passage in ranked.passages]
    assert shares == sorted(shares, reverse=True)
    assert {passage.key for passage in ranked.passages} == {passage.key for passage in found}
    assert len(found) == 20


def test_examples_of_the_project_come_before_the_question(project, server):
    example = {"question": "What barks?", "sources": ["A dog barks."], "answer": "A dog barks [1]."}
    (project.parent / "examples.jsonl").write_text(json.dumps(example))
    ask(workspace_of(project, *to(server), f"rag.examples={project.parent / 'examples.jsonl'}"), "What is red?")
    roles = [message["role"] for message in server.requests[0].body["messages"]]
    assert roles == ["system", "user", "assistant", "user"]


def test_nothing_is_asked_of_a_server_that_is_not_named(all_views):
    with pytest.raises(ConfigError, match=r"rag\.endpoint\.url is not set"):
        ask(workspace_of(all_views[0]), "What?")


def test_a_service_that_refuses_exits_8(all_views, server):
    flags = [word for setting in to(server, "unknown") for word in ("--set", setting)]
    done = trichord("ask", "What?", "--project", str(all_views[0]), *flags, check=8)
    assert "there is no such model" in done.stderr
    assert "Traceback" not in done.stderr


def test_feedback_is_appended_and_adds_up_by_publication_and_record(project, server):
    workspace = workspace_of(project, *to(server))
    answers = [ask(workspace, text) for text in ("Where is the red circle?", "What is blue?")]
    row = result_of(trichord("feedback", answers[0].id, "--rating", "1", "--comment", "so it is", "--project",
                             str(project), "--json"))  # fmt: skip
    assert (row["rating"], row["comment"], row["publication"]) == (1, "so it is", answers[0].publication)
    give_feedback(workspace, answers[0].id, 0)
    give_feedback(workspace, answers[1].id, -1)
    rows = read_feedback(workspace)
    assert sorted(item.rating for item in rows) == [-1, 0, 1]
    told = summarise(rows).to_dict()
    assert told["overall"] == {"ratings": 3, "mean": 0.0, "good": pytest.approx(1 / 3)}
    assert told["by_publication"] == {answers[0].publication: told["overall"]}
    blamed = {item["key"]: item["mean"] for item in told["by_record"]}
    cited = [answer.sources[answer.cited[0] - 1].key for answer in answers]
    assert cited[0] != cited[1]
    assert blamed == {cited[0]: 0.5, cited[1]: -1.0}, "what was not cited is not blamed"
    assert next(iter(blamed)) == cited[1], "the worst comes first"
    assert unknown_files(project.parent / "lake") == []
    kept = gc(workspace_of(project, "gc_grace_s=0"), delete=True).paths
    assert not any(path.startswith(("feedback", "answers")) for path in kept)
    assert read_feedback(workspace) == rows
    assert status(workspace).tables["feedback"].rows == 3


def test_no_feedback_is_lost_among_many_at_once(project, server):
    workspace = workspace_of(project, *to(server))
    answer = ask(workspace, "Where is the red circle?").id
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: give_feedback(workspace, answer, 1, str(number)), range(4)))
    assert sorted(row.comment for row in read_feedback(workspace)) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("answer", ["0" * 32, "../publications", "", "x"])
def test_feedback_on_no_answer_is_refused(project, server, answer):
    with pytest.raises(ConfigError, match="No answer with the id"):
        give_feedback(workspace_of(project), answer, 1)
    assert read_feedback(workspace_of(project)) == []


def test_an_answer_that_is_not_kept_can_get_no_feedback(project, server):
    workspace = workspace_of(project, *to(server), "rag.keep_answers=false")
    answer = ask(workspace, "Where is the red circle?").id
    with pytest.raises(ConfigError, match="keep_answers"):
        give_feedback(workspace, answer, 1)
    with pytest.raises(ValueError):
        give_feedback(workspace, answer, 2)


def test_without_feedback_satisfaction_is_unknown():
    nothing = {"ratings": 0, "mean": None, "good": None}
    assert summarise([]).to_dict() == {"overall": nothing, "by_publication": {}, "by_record": []}


def write_questions(folder, *values):
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def test_rag_eval_measures_retrieval_answers_citations_and_satisfaction(project, server, tmp_path):
    workspace = workspace_of(project, *to(server))
    first = ask(workspace, "Where is the red circle?")
    give_feedback(workspace, first.id, 1)
    keys = [source.key for source in first.sources]
    path = write_questions(
        tmp_path,
        {"id": "a", "question": "Where is the red circle?", "relevant": [keys[0], keys[3], "elsewhere"],
         "references": [first.answer.rpartition(" [")[0]]},
        {"question": "What is blue?", "relevant": ["elsewhere"]},
        {"question": "What is green?", "references": ["zzz"]},
    )  # fmt: skip
    result = evaluate_rag(workspace, path).to_dict()
    assert (result["questions"], result["failed"], result["k"]) == (3, 0, 5)
    assert result["retrieval"] == {
        "questions": 2, "precision_at_k": pytest.approx((2 / 5 + 0) / 2), "recall_at_k": pytest.approx((2 / 3 + 0) / 2),
    }  # fmt: skip
    assert result["reranked"] is None
    assert result["generation"]["answers"] == 2
    assert result["generation"]["rouge_l"] == pytest.approx(0.5), "one answer is its reference, one is nothing like it"
    assert result["citations"] == {"citing": 1.0, "citing_unknown": 0.0}
    assert result["satisfaction"]["overall"]["ratings"] == 1
    assert result["satisfaction"]["of_these_questions"] == {"ratings": 1, "mean": 1.0}
    rows = {row["id"]: row for row in result["rows"]}
    assert rows["a"]["ratings"] == [1]
    assert rows["a"]["answer_id"] == first.id
    assert set(rows) == {"a", "2", "3"}


def test_a_figure_below_its_limit_exits_3_after_the_result_was_printed(project, server, tmp_path):
    path = write_questions(tmp_path, {"question": "What is blue?", "relevant": ["elsewhere"]})
    flags = [word for setting in to(server) for word in ("--set", setting)]
    limit = ["--set", "rag.least={retrieval.recall_at_k: 0.5}"]
    done = trichord("rag-eval", str(path), "--project", str(project), *flags, *limit, check=3)
    assert "retrieval recall@5" in done.stdout
    assert "retrieval.recall_at_k is 0, below 0.5" in done.stderr


def test_a_limit_of_a_figure_that_is_not_there_is_a_mistake_of_the_settings():
    result = {"retrieval": {"recall_at_k": 0.5}, "generation": None}
    measured = dict(figures(result))
    refuse_below(measured, {"retrieval.recall_at_k": 0.5})
    for path in ("retrieval.recal_at_k", "retrieval", "generation.bleu", ""):
        with pytest.raises(ConfigError, match="not a figure"):
            refuse_below(measured, {path: 0.5})


def test_a_question_that_fails_is_listed_and_the_others_are_measured(project, server, tmp_path):
    path = write_questions(
        tmp_path, {"question": "one", "references": ["x"], "relevant": ["y"]}, {"question": "two", "references": ["x"]}
    )
    server.queue += [lambda exchange: exchange.send(b"overloaded", 500)]
    result = evaluate_rag(workspace_of(project, *to(server)), path).to_dict()
    assert result["failed"] == 1
    assert "overloaded" in result["rows"][0]["failed"]
    assert (result["retrieval"]["questions"], result["generation"]["answers"]) == (1, 1)
    with pytest.raises(ServiceError, match="None of 2 questions"):
        evaluate_rag(workspace_of(project, *to(server, "unknown")), path)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"question": "Q"}, "neither relevant nor references"),
        ({"question": "", "relevant": ["a"]}, "question must be a text"),
        ({"question": "Q", "relevant": "a"}, "relevant must be a list"),
        ({"question": "Q", "relevant": ["a"], "answer": "x"}, "unknown key 'answer'"),
        ({"question": "Q", "relevant": ["a"], "image": "none.jpg"}, "cannot be read"),
        ({"question": "Q", "references": ["a"], "language": "xh-CN"}, "language is 'xh-CN', which is not a known"),
    ],
)
def test_a_bad_question_is_named(all_views, server, tmp_path, value, told):
    path = write_questions(tmp_path, {"question": "Q", "relevant": ["a"]}, value)
    with pytest.raises(ConfigError, match=told):
        evaluate_rag(workspace_of(all_views[0], *to(server)), path)
    assert not server.requests


def test_precision_and_recall_count_each_relevant_record_once():
    passages = [made(str(number), "x") for number in range(10)]
    assert rank_at_k(passages, ["0", "0", "9", "none"], 5) == Ranks(precision_at_k=1 / 5, recall_at_k=1 / 3)
