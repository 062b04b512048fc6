"""The conversation that asks a model for an answer: instructions, worked examples, numbered sources, the question.

Sources are foreign text and may try to give orders (indirect prompt injection, arXiv 2302.12173). They are put between
tags that they cannot close, because their own angle brackets are escaped, and citations inside them are rewritten.
So an order inside a source is recognisable; only the model can refuse to follow it.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trichord.infra.config import RagConfig
from trichord.infra.errors import ConfigError
from trichord.pipelines.rag.citations import CITATION
from trichord.pipelines.rag.endpoint import Message
from trichord.pipelines.rag.examples import Example
from trichord.pipelines.rag.retrieve import Passage

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A conversation, and how many of the passages it holds: always the first ones."""

    messages: tuple[Message, ...]
    used: int


def source_block(number: int, words: str, max_chars: int) -> str:
    """Write one source for a prompt: cut, escaped, and between tags with its number."""
    cut = words if len(words) <= max_chars else words[: max_chars - 1] + "…"
    safe = html.escape(_CONTROL.sub(" ", CITATION.sub(r"(\1)", cut)), quote=False)
    return f'<source id="{number}">\n{safe}\n</source>'


def build_prompt(
    question: str,
    passages: Sequence[Passage],
    examples: Sequence[Example],
    config: RagConfig,
    pictures: Sequence[bytes | None] = (),
) -> Prompt:
    """Build the conversation for a question; the last passages are left out if it would exceed `max_prompt_chars`.

    Args:
        question: the user's words.
        passages: the sources, best first.
        examples: go before the question.
        config: instructions and limits.
        pictures: JPEG, one a passage (None for none), sent along; may be empty.

    Raises:
        ConfigError: not even one source fits.
    """
    head: list[Message] = [{"role": "system", "content": config.instructions}]
    for example in examples:
        blocks = [source_block(i, words, config.max_source_chars) for i, words in enumerate(example.sources, 1)]
        head += [
            {"role": "user", "content": _write_question(blocks, example.question)},
            {"role": "assistant", "content": example.answer},
        ]
    blocks = [
        source_block(i, passage.words or "(no words)", config.max_source_chars) for i, passage in enumerate(passages, 1)
    ]
    fixed = sum(len(message["content"]) for message in head)
    used = len(blocks)
    while used and fixed + len(_write_question(blocks[:used], question)) > config.max_prompt_chars:
        used -= 1
    if blocks and not used:
        raise ConfigError(
            f"Instructions, examples, question and one source exceed the {config.max_prompt_chars} characters "
            "of rag.max_prompt_chars.\nRaise it, or lower rag.max_source_chars."
        )
    asked: Any = _write_question(blocks[:used], question)
    shown = [(i, data) for i, data in enumerate(pictures[:used], 1) if data is not None]
    if shown:
        asked = [{"type": "text", "text": asked}, *(part for i, data in shown for part in _show_picture(i, data))]
    return Prompt(messages=(*head, {"role": "user", "content": asked}), used=used)


def _write_question(blocks: Sequence[str], question: str) -> str:
    return "\n\n".join([*blocks, f"Question: {_CONTROL.sub(' ', question)}"])


def _show_picture(number: int, data: bytes) -> tuple[Mapping[str, Any], ...]:
    url = f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
    return {"type": "text", "text": f"The picture of source [{number}]:"}, {
        "type": "image_url",
        "image_url": {"url": url},
    }
