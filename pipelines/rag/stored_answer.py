"""Answers as values, and the folder of the lake that keeps them, so that users can rate them later."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trichord.infra import digest
from trichord.infra.errors import ConfigError
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.redaction import redact_values
from trichord.pipelines.core.json_objects import read_object
from trichord.pipelines.core.result import Result
from trichord.pipelines.rag.retrieve import Passage

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A passage that the model was given, under the number that the answer cites it by."""

    number: int
    key: str
    source: str
    view: str
    score: float
    rerank_score: float | None
    text: str

    @classmethod
    def of_passage(cls, number: int, passage: Passage) -> Source:
        """Number a passage."""
        return cls(
            number=number,
            key=passage.key,
            source=passage.source,
            view=passage.view,
            score=passage.score,
            rerank_score=passage.rerank_score,
            text=passage.words,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Result):
    """A model's answer to a question, with its sources.

    Attributes:
        id: equal for equal answers from equal sources.
        question: its words.
        question_digest: of its words and media.
        answer: the model's words.
        publication: where the sources come from.
        fingerprint: of the model that embedded the question.
        model: the model that answered, as the service names it.
        finish_reason: why it stopped, as the service says.
        usage: tokens, as the service counts them.
        sources: what the prompt held.
        sources_left_out: passages that did not fit into the prompt.
        order_kept: why reranking did not change the order; '' where it did.
        cited: numbers of cited sources.
        cited_unknown: cited numbers that no source has.
    """

    id: str
    question: str
    question_digest: str
    answer: str
    publication: str
    fingerprint: str
    model: str
    finish_reason: str
    usage: Mapping[str, int]
    sources: Sequence[Source]
    sources_left_out: int
    order_kept: str
    cited: Sequence[int]
    cited_unknown: Sequence[int]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Answer:
        """Read what `to_dict` gave."""
        return cls(**{**values, "sources": [Source(**source) for source in values["sources"]]})


def keep_answer(lake: Lake, answer: Answer) -> None:
    """Write an answer to the lake, without the credentials of URLs in its words."""
    lake.write(layout.answer_path(answer.id), digest.canonical_json(redact_values(answer.to_dict())))


def read_answer(lake: Lake, answer: str) -> Answer:
    """Read a kept answer by its id.

    Raises:
        ConfigError: there is none.
        StorageError: it is damaged.
    """
    if _ID.fullmatch(answer) is None or not lake.exists(layout.answer_path(answer)):
        raise ConfigError(
            f"No answer with the id {answer!r} is kept in {lake.root}.\n"
            "`trichord ask --json` prints the id; with rag.keep_answers: false no answer is kept."
        )
    return Answer.from_dict(read_object(lake, layout.answer_path(answer)))
