"""ask: answer a question from the published index with a model behind an endpoint, and cite the sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trichord.infra import digest, log
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.rag.citations import find_citations
from trichord.pipelines.rag.endpoint import Endpoint
from trichord.pipelines.rag.examples import Example, read_examples
from trichord.pipelines.rag.prompt import build_prompt
from trichord.pipelines.rag.rerank import Reranked, Reranker, open_reranker
from trichord.pipelines.rag.retrieve import Passage, read_pictures, retrieve
from trichord.pipelines.rag.stored_answer import Answer, Source, keep_answer
from trichord.pipelines.search.query import read_media
from trichord.pipelines.search.search import LiveIndex, open_live, read_query


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question: words, and the picture or sound (file bytes) that they may be about."""

    text: str
    image: bytes | None = None
    audio: bytes | None = None

    @property
    def digest(self) -> str:
        """Equal for equal questions."""
        media = [None if data is None else digest.sha256_hex(data) for data in (self.image, self.audio)]
        return digest.address("question", self.text, *media)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rag:
    """One publication with everything that answers questions from it; later publications change nothing here.

    Open it by `open_rag`.
    """

    workspace: Workspace
    index: LiveIndex
    endpoint: Endpoint
    reranker: Reranker | None
    examples: tuple[Example, ...]

    def find(self, question: Question) -> list[Passage]:
        """Return `rag.candidates` passages, nearest first.

        Raises:
            ConfigError: the question cannot be read, or raised by `retrieve`.
        """
        batch = read_query(self.workspace.project.prepare, question.text, question.image, question.audio)
        return retrieve(self.workspace, self.index, batch)

    def rank(self, question: Question, passages: list[Passage]) -> Reranked:
        """Return the passages in the reranker's order; unchanged where there is no reranker.

        Raises:
            ServiceError: the judge does not answer.
        """
        return self.reranker.rerank(question.text, passages) if self.reranker else Reranked(passages=passages)

    def answer(self, question: Question, ranked: Reranked) -> Answer:
        """Answer from the first `rag.k` passages; with `rag.keep_answers` the answer is kept in the lake.

        Raises:
            ServiceError: the endpoint does not answer.
            ConfigError: no source fits the prompt.
        """
        config = self.workspace.project.rag
        first = ranked.passages[: config.k]
        pictures = read_pictures(self.workspace, self.index, first) if config.pictures else []
        prompt = build_prompt(question.text, first, self.examples, config, pictures)
        completion = self.endpoint.complete(
            prompt.messages, temperature=config.temperature, max_tokens=config.max_answer_tokens, seed=config.seed
        )
        sources = [Source.of_passage(i, passage) for i, passage in enumerate(first[: prompt.used], 1)]
        cited = find_citations(completion.text)
        unknown = [number for number in cited if not 1 <= number <= prompt.used]
        if unknown:
            log.event("citation_of_no_source", cited=unknown, sources=prompt.used)
        publication, shown = self.index.publication, [[source.source, source.key] for source in sources]
        answer = Answer(
            id=digest.address("answer", question.digest, completion.text, publication, completion.model, shown),
            question=question.text,
            question_digest=question.digest,
            answer=completion.text,
            publication=publication,
            fingerprint=self.index.model.fingerprint,
            model=completion.model,
            finish_reason=completion.finish_reason,
            usage=dict(completion.usage),
            sources=sources,
            sources_left_out=len(first) - prompt.used,
            order_kept=ranked.order_kept,
            cited=[number for number in cited if number not in unknown],
            cited_unknown=unknown,
        )
        if config.keep_answers:
            keep_answer(self.workspace.lake, answer)
        return answer


def open_rag(workspace: Workspace) -> Rag:
    """Open the live publication and what answers from it.

    Raises:
        ConfigError: nothing is published, or endpoint, reranker or examples cannot be used.
    """
    config = workspace.project.rag
    endpoint, reranker = Endpoint(config.endpoint, "rag.endpoint"), open_reranker(config)
    examples = () if config.examples is None else read_examples(workspace.storage, config.examples)
    return Rag(workspace=workspace, index=open_live(workspace), endpoint=endpoint, reranker=reranker, examples=examples)


def ask(workspace: Workspace, text: str, *, image: Path | None = None, audio: Path | None = None) -> Answer:
    """Answer one question from the live publication. Raises as `Rag.answer`, `Rag.find` and `open_rag`."""
    question = Question(text=text, image=read_media(image), audio=read_media(audio))
    rag = open_rag(workspace)
    return rag.answer(question, rag.rank(question, rag.find(question)))
