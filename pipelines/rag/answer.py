"""ask: a question answered from the published index by a model behind an endpoint, with its sources cited."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trichord.infra import digest, log
from trichord.infra.errors import ConfigError
from trichord.infra.lake import layout
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.rag.citations import citations
from trichord.pipelines.rag.endpoint import Endpoint
from trichord.pipelines.rag.examples import Example, read_examples
from trichord.pipelines.rag.prompt import build_prompt
from trichord.pipelines.rag.rerank import Reranked, Reranker, open_reranker
from trichord.pipelines.rag.retrieve import Passage, pictures_of, retrieve
from trichord.pipelines.search.search import LiveIndex, open_live, read_media, read_query

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: words, and a picture or a sound (file bytes) that they may be about."""

    text: str
    image: bytes | None = None
    audio: bytes | None = None

    @property
    def digest(self) -> str:
        """Equal for equal questions, whenever they are asked."""
        media = [None if data is None else digest.sha256_hex(data) for data in (self.image, self.audio)]
        return digest.address("question", self.text, *media)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rag:
    """A publication with everything that answers questions from it. It stays the one it was. Made by `open_rag`."""

    workspace: Workspace
    index: LiveIndex
    endpoint: Endpoint
    reranker: Reranker | None
    examples: tuple[Example, ...]

    def find(self, question: Question) -> list[Passage]:
        """`rag.candidates` passages, nearest first.

        Raises:
            ConfigError: the question cannot be read, or raised by `retrieve`.
        """
        batch = read_query(self.workspace.project.prepare, question.text, question.image, question.audio)
        return retrieve(self.workspace, self.index, batch)

    def rank(self, question: Question, passages: list[Passage]) -> Reranked:
        """The passages in the reranker's order; as they are where there is none.

        Raises:
            ServiceError: the judge does not answer.
        """
        return self.reranker.rerank(question.text, passages) if self.reranker else Reranked(passages=passages)

    def answer(self, question: Question, ranked: Reranked) -> dict[str, Any]:
        """The model's answer from the first `rag.k` passages; kept in the lake where the project says so.

        Returns:
            JSON-ready: see docs/cli.md.

        Raises:
            ServiceError: the endpoint does not answer.
            ConfigError: no source fits the prompt.
        """
        config = self.workspace.project.rag
        first = ranked.passages[: config.k]
        pictures = pictures_of(self.workspace, self.index, first) if config.pictures else []
        prompt = build_prompt(question.text, first, self.examples, config, pictures)
        told = self.endpoint.complete(
            prompt.messages, temperature=config.temperature, max_tokens=config.max_answer_tokens, seed=config.seed
        )
        sources = [passage.told() | {"number": i} for i, passage in enumerate(first[: prompt.used], 1)]
        cited = citations(told.text)
        result = {
            "question": question.text,
            "question_digest": question.digest,
            "answer": told.text,
            "publication": self.index.publication,
            "fingerprint": self.index.model.fingerprint,
            "model": told.model,
            "finish_reason": told.finish_reason,
            "usage": dict(told.usage),
            "sources": sources,
            "sources_left_out": len(first) - prompt.used,
            "order_kept": ranked.order_kept,
            "cited": [number for number in cited if 1 <= number <= prompt.used],
            "cited_unknown": [number for number in cited if not 1 <= number <= prompt.used],
        }
        if result["cited_unknown"]:
            log.event("citation_of_no_source", cited=result["cited_unknown"], sources=prompt.used)
        named = ("question_digest", "answer", "publication", "model")
        result["id"] = digest.address(
            "answer", *(result[name] for name in named), [[source["source"], source["key"]] for source in sources]
        )
        if config.keep_answers:
            uri = self.workspace.lake.uri(layout.answer_path(str(result["id"])))
            self.workspace.storage.write(uri, digest.canonical_json(result))
        return result


def open_rag(workspace: Workspace) -> Rag:
    """Open the live publication and what answers from it.

    Raises:
        ConfigError: nothing is published, or endpoint, reranker or examples cannot be used.
    """
    config = workspace.project.rag
    endpoint, reranker = Endpoint(config.endpoint, "rag.endpoint"), open_reranker(config)
    examples = () if config.examples is None else read_examples(workspace.storage, config.examples)
    return Rag(workspace=workspace, index=open_live(workspace), endpoint=endpoint, reranker=reranker, examples=examples)


def ask(workspace: Workspace, text: str, *, image: Path | None = None, audio: Path | None = None) -> dict[str, Any]:
    """Answer one question from the live publication. Returns and raises as `Rag.answer`, `Rag.find` and `open_rag`."""
    question = Question(text=text, image=read_media(image), audio=read_media(audio))
    rag = open_rag(workspace)
    return rag.answer(question, rag.rank(question, rag.find(question)))


def kept_answer(workspace: Workspace, answer: str) -> Mapping[str, Any]:
    """An answer that was given before.

    Raises:
        ConfigError: there is none of this id.
    """
    uri = workspace.lake.uri(layout.answer_path(answer))
    if _ID.fullmatch(answer) is None or not workspace.storage.exists(uri):
        raise ConfigError(
            f"No answer with the id {answer!r} is kept in {workspace.lake.root}.\n"
            "`trichord ask --json` prints the id; with rag.keep_answers: false nothing is kept."
        )
    kept: Mapping[str, Any] = json.loads(workspace.storage.read(uri))
    return kept
