"""rag-eval: questions with known answers, measured from retrieval to the answers' words, and what users thought."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trichord.infra import log
from trichord.infra.errors import ConfigError, GateFailed, ServiceError
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.generation import generation_figures
from trichord.pipelines.rag.answer import Question, Rag, open_rag
from trichord.pipelines.rag.citations import without_citations
from trichord.pipelines.rag.feedback import feedback_rows, ratings_by_question, satisfaction
from trichord.pipelines.rag.jsonl import known_fields, read_objects, text_field, text_list
from trichord.pipelines.rag.retrieve import Passage
from trichord.pipelines.search.search import read_media

_FIELDS = ("id", "question", "image", "audio", "relevant", "references")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A question, the keys of the records that answer it, and good answers; either may be missing, not both."""

    name: str
    question: Question
    relevant: tuple[str, ...]
    references: tuple[str, ...]


def read_cases(workspace: Workspace, path: Path) -> list[Case]:
    """The questions of a JSONL file: `question`; `relevant` (keys), `references` (answers); `id`, `image`, `audio`.

    Media are files beside the questions' file.

    Raises:
        ConfigError: the file cannot be read, or a line is not of that form.
    """
    cases: list[Case] = []
    for place, value in read_objects(workspace.storage, os.path.abspath(path)):
        known_fields(value, _FIELDS, place)
        media = [_beside(path, value, name, place) for name in ("image", "audio")]
        question = Question(text=text_field(value, "question", place), image=media[0], audio=media[1])
        name = text_field(value, "id", place) if "id" in value else str(len(cases) + 1)
        relevant, references = (text_list(value, field, place) for field in ("relevant", "references"))
        if not relevant and not references:
            raise ConfigError(f"{place} has neither relevant nor references: nothing could be measured.")
        cases.append(Case(name=name, question=question, relevant=relevant, references=references))
    return cases


def evaluate_rag(workspace: Workspace, path: Path) -> dict[str, Any]:
    """Answer every question of a file from the live publication and measure it. A question may fail; it is listed.

    Returns:
        JSON-ready: see docs/cli.md.

    Raises:
        ConfigError: nothing is published, or a setting or the questions are wrong.
        ServiceError: no question was answered.
    """
    config = workspace.project.rag
    cases = read_cases(workspace, path)
    rag = open_rag(workspace)
    ratings = ratings_by_question(feedback := feedback_rows(workspace))
    rows = []
    for case in cases:
        rows.append(row := _row(rag, case) | {"ratings": ratings.get(case.question.digest, [])})
        log.event("question", id=case.name, failed=row["failed"])
    if all(row["failed"] for row in rows):
        raise ServiceError(f"None of {len(rows)} questions was answered. The first: {rows[0]['failed']}")
    answered = [
        (without_citations(row["answer"]), case.references)
        for row, case in zip(rows, cases, strict=True)
        if not row["failed"] and case.references
    ]
    return {
        "publication": rag.index.publication,
        "fingerprint": rag.index.model.fingerprint,
        "k": config.k,
        "metric": config.metric,
        "rerank": config.rerank,
        "questions": len(rows),
        "failed": sum(bool(row["failed"]) for row in rows),
        "retrieval": _mean_ranks(rows, "retrieval"),
        "reranked": _mean_ranks(rows, "reranked") if rag.reranker else None,
        "order_kept": sum(bool(row["order_kept"]) for row in rows),
        "citations": _citations(rows),
        "generation": _generation(answered, config.wordnet),
        "satisfaction": satisfaction(feedback) | {"of_these_questions": _rated(rows)},
        "rows": rows,
    }


def refuse_below(result: Mapping[str, Any], least: Mapping[str, float]) -> None:
    """Hold the result of `evaluate_rag` against `rag.least`.

    Raises:
        GateFailed: a figure is below its limit.
        ConfigError: a limit names no figure.
    """
    problems = []
    for path, limit in sorted(least.items()):
        value: Any = result
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if type(value) not in (int, float):
            raise ConfigError(f"rag.least names {path!r}, which is no figure of rag-eval (or was not measured).")
        if value < limit:
            problems.append(f"{path} is {value:.4g}, below {limit:g}")
    if problems:
        raise GateFailed(
            f"{len(problems)} figures are below their limits of rag.least: {'; '.join(problems)}.\n"
            "Every question is listed in the rows of `trichord rag-eval FILE --json`."
        )


def ranks_at_k(passages: Sequence[Passage], relevant: Sequence[str], k: int) -> dict[str, float]:
    """P@k (relevant ones among the first k, divided by k) and R@k (divided by all relevant ones) of one question."""
    found = len({passage.key for passage in passages[:k]} & set(relevant))
    return {"precision_at_k": found / k, "recall_at_k": found / len(set(relevant))}


def _row(rag: Rag, case: Case) -> dict[str, Any]:
    config = rag.workspace.project.rag
    found = rag.find(case.question)
    row: dict[str, Any] = {
        "id": case.name, "answer": None, "answer_id": None, "failed": "", "order_kept": "", "retrieval": None,
        "reranked": None, "cited": [], "cited_unknown": [],
    }  # fmt: skip
    if case.relevant:
        row["retrieval"] = ranks_at_k(found, case.relevant, config.k)
    try:
        ranked = rag.rank(case.question, found)
        answer = rag.answer(case.question, ranked)
    except ServiceError as error:
        return row | {"failed": str(error).splitlines()[0]}
    if case.relevant and rag.reranker is not None:
        row["reranked"] = ranks_at_k(ranked.passages, case.relevant, config.k)
    named = {name: answer[name] for name in ("answer", "order_kept", "cited", "cited_unknown")}
    return row | named | {"answer_id": answer["id"]}


def _mean_ranks(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Over the questions that name relevant records; None where there are none."""
    measured = [row[name] for row in rows if row[name] is not None]
    return {"questions": len(measured)} | {
        figure: sum(row[figure] for row in measured) / len(measured) if measured else None
        for figure in ("precision_at_k", "recall_at_k")
    }


def _generation(answered: Sequence[tuple[str, Sequence[str]]], wordnet: str | None) -> dict[str, Any] | None:
    """Over the answered questions that have references; None where there are none."""
    if not answered:
        return None
    return generation_figures([answer for answer, _ in answered], [several for _, several in answered], wordnet)


def _citations(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Shares of the answers that cite a source, and that cite one there is not."""
    answered = [row for row in rows if not row["failed"]]
    return {
        "citing": sum(bool(row["cited"]) for row in answered) / len(answered),
        "citing_unknown": sum(bool(row["cited_unknown"]) for row in answered) / len(answered),
    }


def _rated(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What users said of answers to these questions, whenever they were given."""
    given = [rating for row in rows for rating in row["ratings"]]
    return {"ratings": len(given), "mean": sum(given) / len(given) if given else None}


def _beside(path: Path, value: Mapping[str, Any], name: str, place: str) -> bytes | None:
    return read_media(path.parent / text_field(value, name, place)) if name in value else None
