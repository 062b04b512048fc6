"""Text: repaired, normalised and measured."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

from trichord.infra.config import TextConfig
from trichord.infra.packages import version
from trichord.transforms.batch import Batch, Change, Row
from trichord.transforms.bounded_text import normal_form
from trichord.transforms.clean import annotate
from trichord.transforms.clean.language import TextLanguage
from trichord.transforms.clean.markup import strip_markup
from trichord.transforms.clean.pii import TextPii
from trichord.transforms.clean.spelling import TextSpelling
from trichord.transforms.libraries import ftfy
from trichord.transforms.op import Op, Threshold
from trichord.transforms.word_breaks import is_mostly_unspaced, pieces

# Invisible characters without a use inside a sentence: controls (except white space), soft hyphen, zero-width space,
# word joiner, byte-order mark, direction marks, overrides and isolates, lone surrogates. Joiners (U+200C, U+200D) stay:
# they shape scripts and emoji.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u200b\u200e\u200f\u2060\ufeff\u202a-\u202e\u2066-\u2069"
    "\ud800-\udfff]"
)
_REPAIRED_CHARS = 100_000  # longer texts are unchanged
_RAW_CHARS, _RAW_SHARE = 200_000, 4  # a text as it comes may have this many characters, or times `max_chars`
MAX_CAPTIONS = 10_000
_SURELY_ENGLISH = 0.5  # language score from which spelling is corrected
_SYMBOLS = frozenset("#%&*@/\\_§†‡•")  # beside Unicode's symbols
_SYMBOL_KINDS = frozenset(("Sm", "Sc", "Sk", "So", "Co", "Cn"))
_RUN = re.compile(r"(\S)\1{9,}")
_GRAM = 5  # words that count as repeated if they come again in the same order
_CHARACTER_GRAM, _LONGEST_WORD = 12, 40  # characters, for scripts and hostile texts without blanks


@cache
def _mojibake() -> ftfy.TextFixerConfig:
    """Return what ftfy may do: undo wrong decodings. Quotes, ligatures, widths and line breaks are the author's."""
    return ftfy.TextFixerConfig(
        unescape_html=False,
        replace_lossy_sequences=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        remove_control_chars=False,
        normalization=None,
        explain=False,
    )


def repair_encoding(text: str) -> str:
    """Decode mojibake again if that is sure, and remove terminal escapes (ftfy)."""
    return text if text.isascii() and "\x1b" not in text else ftfy.fix_text(text, _mojibake())


def normalize(text: str) -> str:
    """Return the text in NFC, without invisible characters, each run of white space as one blank."""
    text = _INVISIBLE.sub("", text)
    return " ".join(normal_form("NFC", text).split())


def symbol_ratio(text: str) -> float:
    """Return the share of symbols (mathematical, currency, pictures, `#%&*@/_` …) among the characters but blanks."""
    counts = Counter(text)
    blanks = sum(n for letter, n in counts.items() if letter.isspace())
    symbols = sum(
        n for letter, n in counts.items() if letter in _SYMBOLS or unicodedata.category(letter) in _SYMBOL_KINDS
    )
    return symbols / max(1, len(text) - blanks)


def repetition(text: str) -> float:
    """Return the share of characters that repeat: runs of one character, or 5 words that came before in that order.

    After the rules on duplicate n-grams of Rae et al., "Scaling language models" (Gopher), 2021, appendix A.1. Texts
    without blanks are read by 12 characters; those of scripts without blanks by as many, a foreign word being one.
    """
    units, size = text.split(), _GRAM
    if is_mostly_unspaced(text):
        units, size = pieces(text), _CHARACTER_GRAM
    if max(map(len, units), default=0) > _LONGEST_WORD:
        units, size = list("".join(units)), _CHARACTER_GRAM
    runs = sum(len(run[0]) for run in _RUN.finditer(text)) if len(text) >= 10 else 0
    seen: set[tuple[str, ...]] = set()
    marked = 0  # units up to which the text is counted
    repeated = 0
    for i in range(len(units) - size + 1):
        gram = tuple(units[i : i + size])
        if gram in seen:
            repeated += sum(len(unit) for unit in units[max(marked, i) : i + size])
            marked = i + size
        seen.add(gram)
    return max(runs / max(1, len(text)), repeated / max(1, sum(map(len, units))))


@dataclass(frozen=True, slots=True)
class TextEncoding(Op):
    """Repairs the encoding of text and captions."""

    version: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """The op's name."""
        return "text_encoding"

    def libraries(self) -> Mapping[str, str]:
        """Return the library that repairs text."""
        return {"ftfy": version("ftfy")}

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        return replace(batch, rows=tuple(_rewrite(row, self.name, repair_encoding) for row in batch.rows))


@dataclass(frozen=True, slots=True)
class TextMarkup(Op):
    """Takes HTML off text and captions."""

    version: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """The op's name."""
        return "text_markup"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        return replace(batch, rows=tuple(_rewrite(row, self.name, strip_markup) for row in batch.rows))


def _rewrite(row: Row, op: str, rewrite: Callable[[str], str]) -> Row:
    """Return the row with rewritten wordings, each change recorded."""
    before = (row.text or "", *row.captions)
    after = tuple(rewrite(wording) if len(wording) <= _REPAIRED_CHARS else wording for wording in before)
    if before == after:
        return row
    row = replace(row, text=after[0] or None, captions=after[1:])
    return annotate.with_changes(row, _changes(op, before, after))


def _changes(op: str, before: Sequence[str], after: Sequence[str]) -> list[Change]:
    """Return the changes of the text and the captions."""
    fields = ("text", *(f"captions[{i}]" for i in range(len(before) - 1)))
    triples = zip(fields, before, after, strict=True)
    return [annotate.change(op, field, old, new) for field, old, new in triples if old != new]


@dataclass(frozen=True, slots=True)
class TextNormalize(Op):
    """Normalises text and captions; empty ones count as absent. A row that then holds nothing is rejected.

    Captions are *other* wordings: repeated ones and those equal to the text are dropped, and the first caption replaces
    an absent text. Each wording that itself changed, or was dropped, is recorded.
    """

    version: ClassVar[int] = 4

    @property
    def name(self) -> str:
        """The op's name."""
        return "text_normalize"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        rows = tuple(_normalize(row, self.name) for row in batch.rows)
        media = zip(batch.raw_images, batch.raw_audios, batch.images, batch.waves, strict=True)
        refused = {
            i: ("row_empty", "the normalised text is empty, and there is no image or audio")
            for i, (row, present) in enumerate(zip(rows, media, strict=True))
            if row.text is None and all(medium is None for medium in present)
        }
        return replace(batch, rows=rows).reject(refused, self.name)


def _normalize(row: Row, op: str) -> Row:
    before = [row.text or "", *row.captions]
    wordings = [normalize(wording) for wording in before]
    seen = set[str]()
    for i, wording in enumerate(wordings):
        wordings[i] = "" if wording in seen else wording
        seen.add(wording)
    text, *captions = [wording for wording in wordings if wording] or [""]
    after = replace(row, text=text or None, captions=tuple(captions))
    return row if after == row else annotate.with_changes(after, _changes(op, before, wordings))


@dataclass(frozen=True, slots=True)
class TextMeasure(Op):
    """Measures the text: `text_chars` (its length), `text_symbol_ratio` and `text_repetition`."""

    version: ClassVar[int] = 2

    @property
    def name(self) -> str:
        """The op's name."""
        return "text_measure"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        return batch.with_scores([{} if row.text is None else _measure(row.text) for row in batch.rows])


def _measure(text: str) -> dict[str, float]:
    return {
        "text_chars": float(len(text)),
        "text_symbol_ratio": symbol_ratio(text),
        "text_repetition": repetition(text),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBounds(Op):
    """Rejects rows whose text or captions are far too long, or too many, before any op works on them."""

    version: ClassVar[int] = 1

    max_chars: int  # of the text, and of each caption, as the source gives it
    max_captions: int = MAX_CAPTIONS

    @property
    def name(self) -> str:
        """The op's name."""
        return "text_bounds"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        faults = {i: fault for i, row in enumerate(batch.rows) if (fault := self._fault(row)) is not None}
        return batch.reject(faults, self.name)

    def _fault(self, row: Row) -> tuple[str, str] | None:
        if row.text is not None and len(row.text) > self.max_chars:
            return "text_too_long", f"{len(row.text)} characters, with markup and blanks; the limit is {self.max_chars}"
        if len(row.captions) > self.max_captions:
            return "captions_too_many", f"{len(row.captions)} captions; the limit is {self.max_captions}"
        longest = max(map(len, row.captions), default=0)
        if longest > self.max_chars:
            return "caption_too_long", f"a caption of {longest} characters; the limit is {self.max_chars}"
        return None


def text_ops(config: TextConfig) -> tuple[Op, ...]:
    """Return the ops on text, in order, without thresholds that have no value and ops that are off."""
    ops: list[Op] = [TextBounds(max_chars=max(_RAW_CHARS, _RAW_SHARE * config.max_chars))]
    if config.repair_encoding:
        ops.append(TextEncoding())
    if config.strip_markup:
        ops.append(TextMarkup())
    ops += [
        TextNormalize(),
        TextMeasure(),
        Threshold(score="text_chars", reason="text_too_short", least=config.min_chars),
        Threshold(score="text_chars", reason="text_too_long", most=config.max_chars),
    ]
    if config.max_symbol_ratio is not None:
        ops.append(Threshold(score="text_symbol_ratio", reason="text_symbols", most=config.max_symbol_ratio))
    if config.max_repetition is not None:
        ops.append(Threshold(score="text_repetition", reason="text_repetitive", most=config.max_repetition))
    ops.append(TextPii(mask=config.pii == "mask", phone_region=config.phone_region, regions=config.pii_regions))
    if config.pii == "reject":
        ops.append(Threshold(score="text_pii", reason="text_pii", most=0))
    ops.append(TextLanguage(allowed=tuple(config.languages)))
    if config.languages:
        most = config.min_language_score
        ops.append(Threshold(score="text_language_foreign", reason="text_language", most=most))
    if config.spelling:
        ops.append(TextSpelling(min_language_score=_SURELY_ENGLISH))
    return tuple(ops)
