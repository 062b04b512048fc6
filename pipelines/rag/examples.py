"""Worked examples that a prompt shows before the question (few-shot prompting, arXiv 2005.14165)."""

from __future__ import annotations

from dataclasses import dataclass

from trichord.infra.errors import ConfigError
from trichord.infra.lake.storage import Storage
from trichord.pipelines.rag.citations import find_citations
from trichord.pipelines.rag.jsonl import read_objects, read_text, read_texts, refuse_unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A question, its sources, and a good answer that cites them."""

    question: str
    sources: tuple[str, ...]
    answer: str


def read_examples(storage: Storage, path: str) -> tuple[Example, ...]:
    """Read the worked examples of a JSONL file: `question`, `sources` (a list of texts), `answer`.

    Raises:
        ConfigError: the file cannot be read, a line is not of that form, or cites a source it does not have.
    """
    examples = []
    for place, value in read_objects(storage, path):
        refuse_unknown(value, ("question", "sources", "answer"), place)
        example = Example(
            question=read_text(value, "question", place),
            sources=read_texts(value, "sources", place),
            answer=read_text(value, "answer", place),
        )
        if wrong := [number for number in find_citations(example.answer) if not 1 <= number <= len(example.sources)]:
            raise ConfigError(f"{place}: the answer cites [{wrong[0]}], but there are {len(example.sources)} sources.")
        examples.append(example)
    return tuple(examples)
