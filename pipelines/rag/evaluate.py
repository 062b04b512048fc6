"""rag-eval: measure questions with known answers, from retrieval to the answers' words, and add what users thought."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from trichord.infra import log
from trichord.infra.config import RagConfig
from trichord.infra.errors import ConfigError, GateFailed, ServiceError
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.figures import Figure, figures
from trichord.pipelines.evaluation.generation import GenerationFigures, generation_figures
from trichord.pipelines.rag.answer import Question, Rag, open_rag
from trichord.pipelines.rag.citations import remove_citations
from trichord.pipelines.rag.feedback import Satisfaction, group_by_question, read_feedback, summarise
from trichord.pipelines.rag.jsonl import read_objects, read_text, read_texts, refuse_unknown
from trichord.pipelines.rag.retrieve import Passage
from trichord.pipelines.search.query import read_media
from trichord.transforms.clean.language import KNOWN_LANGUAGES

_FIELDS = ("id", "question", "image", "audio", "relevant", "references", "language")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A question, the keys of the records that answer it, and good answers; one of the two may be missing.

    `language` (ISO 639) is that of the good answers; None where the settings or the script decide.
    """

    name: str
    question: Question
    relevant: tuple[str, ...]
    references: tuple[str, ...]
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """P@k (relevant ones among the first k, divided by k) and R@k (divided by all relevant ones) of one question."""

    precision_at_k: float
    recall_at_k: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanRanks:
    """P@k and R@k over the questions that name relevant records; None where there are none."""

    questions: int
    precision_at_k: float | None
    recall_at_k: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One question measured; `failed` says why it was not answered."""

    id: str
    answer: str | None = None
    answer_id: str | None = None
    failed: str = ""
    order_kept: str = ""
    retrieval: Ranks | None = None
    reranked: Ranks | None = None
    cited: Sequence[int] = ()
    cited_unknown: Sequence[int] = ()
    ratings: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CitationShares:
    """Shares of the answers that cite a source, and of those that cite a number that no source has."""

    citing: float
    citing_unknown: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionRatings:
    """Every rating of an answer to the measured questions, also of earlier answers."""

    ratings: int
    mean: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RagSatisfaction(Satisfaction):
    """What users thought, over all and of the measured questions."""

    of_these_questions: QuestionRatings


@dataclass(frozen=True, slots=True, kw_only=True)
class RagEvaluation(Result):
    """The result of rag-eval (docs/cli.md)."""

    publication: str
    fingerprint: str
    k: int
    metric: str
    rerank: str
    questions: int
    failed: int
    retrieval: MeanRanks
    reranked: MeanRanks | None
    order_kept: int
    citations: CitationShares
    generation: GenerationFigures | None
    satisfaction: RagSatisfaction
    rows: Sequence[CaseResult] = field(repr=False)

    def figures(self) -> dict[str, Figure]:
        """Return every figure by its dotted path: `retrieval.recall_at_k`."""
        return dict(figures(self.to_dict()))


def read_cases(workspace: Workspace, path: Path) -> list[Case]:
    """Read a JSONL file of questions: `question`; `relevant` (keys), `references` (answers) and their `language`; `id`,
    `image`, `audio`.

    Media paths are relative to the file.

    Raises:
        ConfigError: the file cannot be read, or a line is not of that form.
    """
    cases: list[Case] = []
    for place, value in read_objects(workspace.storage, os.path.abspath(path)):
        refuse_unknown(value, _FIELDS, place)
        media = [_read_beside(path, value, name, place) for name in ("image", "audio")]
        question = Question(text=read_text(value, "question", place), image=media[0], audio=media[1])
        name = read_text(value, "id", place) if "id" in value else str(len(cases) + 1)
        relevant, references = (read_texts(value, field, place) for field in ("relevant", "references"))
        if not relevant and not references:
            raise ConfigError(f"{place} has neither relevant nor references, so nothing can be measured.")
        language = read_text(value, "language", place) if "language" in value else None
        _require_language(language, f"{place}: language")
        cases.append(Case(name=name, question=question, relevant=relevant, references=references, language=language))
    return cases


def evaluate_rag(workspace: Workspace, path: Path) -> RagEvaluation:
    """Answer every question of a file from the live publication and measure the answers. Failed questions are listed.

    Raises:
        ConfigError: nothing is published, or a setting or the questions are wrong.
        ServiceError: no question was answered.
    """
    config = workspace.project.rag
    _require_language(config.language, "rag.language")
    cases = read_cases(workspace, path)
    rag = open_rag(workspace)
    ratings = group_by_question(feedback := read_feedback(workspace))
    rows: list[CaseResult] = []
    for case in cases:
        rows.append(row := _measure(rag, case, ratings.get(case.question.digest, [])))
        log.event("question", id=case.name, failed=row.failed)
    if all(row.failed for row in rows):
        raise ServiceError(f"None of {len(rows)} questions was answered. The first: {rows[0].failed}")
    given = [rating for row in rows for rating in row.ratings]
    total = summarise(feedback)
    return RagEvaluation(
        publication=rag.index.publication,
        fingerprint=rag.index.model.fingerprint,
        k=config.k,
        metric=config.metric,
        rerank=config.rerank,
        questions=len(rows),
        failed=sum(bool(row.failed) for row in rows),
        retrieval=_average([row.retrieval for row in rows]),
        reranked=_average([row.reranked for row in rows]) if rag.reranker else None,
        order_kept=sum(bool(row.order_kept) for row in rows),
        citations=_count_citations(rows),
        generation=_compare(rows, cases, config),
        satisfaction=RagSatisfaction(
            overall=total.overall,
            by_publication=total.by_publication,
            by_record=total.by_record,
            of_these_questions=QuestionRatings(ratings=len(given), mean=sum(given) / len(given) if given else None),
        ),
        rows=rows,
    )


def refuse_below(measured: Mapping[str, Figure], least: Mapping[str, float]) -> None:
    """Compare `RagEvaluation.figures` with the limits of `rag.least`.

    Raises:
        GateFailed: a figure is below its limit.
        ConfigError: a limit names no figure.
    """
    problems = []
    for path, limit in sorted(least.items()):
        value = measured.get(path)
        if value is None:
            raise ConfigError(f"rag.least names {path!r}, which is not a figure of rag-eval (or was not measured).")
        if value < limit:
            problems.append(f"{path} is {value:.4g}, below {limit:g}")
    if problems:
        raise GateFailed(
            f"{len(problems)} figures are below their limits of rag.least: {'; '.join(problems)}.\n"
            "`trichord rag-eval FILE --json` lists every question in `rows`."
        )


def rank_at_k(passages: Sequence[Passage], relevant: Sequence[str], k: int) -> Ranks:
    """Measure the passages of one question."""
    found = len({passage.key for passage in passages[:k]} & set(relevant))
    return Ranks(precision_at_k=found / k, recall_at_k=found / len(set(relevant)))


def _require_language(language: str | None, place: str) -> None:
    if language is None or language in KNOWN_LANGUAGES:
        return
    near = get_close_matches(language, sorted(KNOWN_LANGUAGES), 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"{place} is {language!r}, which is not a known language (ISO 639, for example zh){hint}")


def _measure(rag: Rag, case: Case, ratings: Sequence[int]) -> CaseResult:
    k = rag.workspace.project.rag.k
    found = rag.find(case.question)
    retrieval = rank_at_k(found, case.relevant, k) if case.relevant else None
    try:
        ranked = rag.rank(case.question, found)
        answer = rag.answer(case.question, ranked)
    except ServiceError as error:
        return CaseResult(id=case.name, failed=str(error).splitlines()[0], retrieval=retrieval, ratings=ratings)
    reranked = rank_at_k(ranked.passages, case.relevant, k) if case.relevant and rag.reranker is not None else None
    return CaseResult(
        id=case.name,
        answer=answer.answer,
        answer_id=answer.id,
        order_kept=answer.order_kept,
        retrieval=retrieval,
        reranked=reranked,
        cited=answer.cited,
        cited_unknown=answer.cited_unknown,
        ratings=ratings,
    )


def _average(ranks: Sequence[Ranks | None]) -> MeanRanks:
    measured = [one for one in ranks if one is not None]
    if not measured:
        return MeanRanks(questions=0, precision_at_k=None, recall_at_k=None)
    return MeanRanks(
        questions=len(measured),
        precision_at_k=sum(one.precision_at_k for one in measured) / len(measured),
        recall_at_k=sum(one.recall_at_k for one in measured) / len(measured),
    )


def _compare(rows: Sequence[CaseResult], cases: Sequence[Case], config: RagConfig) -> GenerationFigures | None:
    """Compare answers with references; None where no answered question has any."""
    answered = [
        (remove_citations(row.answer), case.references, case.language or config.language)
        for row, case in zip(rows, cases, strict=True)
        if row.answer is not None and case.references
    ]
    if not answered:
        return None
    answers, references, languages = zip(*answered, strict=True)
    return generation_figures(answers, references, config.wordnet, languages)


def _count_citations(rows: Sequence[CaseResult]) -> CitationShares:
    answered = [row for row in rows if not row.failed]
    return CitationShares(
        citing=sum(bool(row.cited) for row in answered) / len(answered),
        citing_unknown=sum(bool(row.cited_unknown) for row in answered) / len(answered),
    )


def _read_beside(path: Path, value: Mapping[str, Any], name: str, place: str) -> bytes | None:
    return read_media(path.parent / read_text(value, name, place)) if name in value else None
