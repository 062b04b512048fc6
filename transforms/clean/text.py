"""Text: one spelling of the same characters, and its length."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from typing import ClassVar

from infra.config import TextConfig
from transforms.batch import Batch, Row
from transforms.op import Op, Threshold

# Invisible characters without a use inside a sentence: controls (but white space), soft hyphen, zero-width space, word
# joiner, byte-order mark, direction overrides, lone surrogates. Joiners (U+200C, U+200D) shape scripts and emoji: kept.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def normalize(text: str) -> str:
    """NFC, without invisible characters, white space folded to single blanks."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(_INVISIBLE.sub("", text).split())


@dataclass(frozen=True, slots=True)
class TextNormalize(Op):
    """Normalises text and captions; empty ones count as absent. A row that then holds nothing is rejected.

    Captions are *other* wordings: repeated ones and those equal to the text are dropped, and where the text is absent
    the first caption takes its place.
    """

    version: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """The op's name."""
        return "text_normalize"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        rows = tuple(_normalized(row) for row in batch.rows)
        media = zip(batch.raw_images, batch.raw_audios, batch.images, batch.waves, strict=True)
        refused = {
            i: ("row_empty", "no text is left after normalising, and there is no image or audio")
            for i, (row, present) in enumerate(zip(rows, media, strict=True))
            if row.text is None and all(medium is None for medium in present)
        }
        return replace(batch, rows=rows).reject(refused, self.name)


def _normalized(row: Row) -> Row:
    wordings = [normalize(wording) for wording in (row.text or "", *row.captions)]
    text, *others = dict.fromkeys(filter(None, wordings)) or (None,)
    if text == row.text and tuple(others) == row.captions:
        return row
    return replace(row, text=text, captions=tuple(other for other in others if other))


@dataclass(frozen=True, slots=True)
class TextLength(Op):
    """Measures `text_chars`, the text's length in characters."""

    version: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """The op's name."""
        return "text_length"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        texts = (row.text for row in batch.rows)
        return batch.with_scores([{} if text is None else {"text_chars": float(len(text))} for text in texts])


def text_ops(config: TextConfig) -> tuple[Op, ...]:
    """The ops on text, in order."""
    return (
        TextNormalize(),
        TextLength(),
        Threshold(score="text_chars", reason="text_too_short", least=config.min_chars),
        Threshold(score="text_chars", reason="text_too_long", most=config.max_chars),
    )
