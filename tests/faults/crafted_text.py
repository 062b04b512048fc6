"""Texts made to hurt, of any size, and everything that reads a text.

Each text is one that some pattern, table or normal form answers with more work than it has characters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from trichord.encoders.features import HashedNgrams
from trichord.infra.config import PrepareConfig, TextConfig
from trichord.infra.errors import ConfigError
from trichord.pipelines.search.query import Query, read_queries
from trichord.transforms.align.cue import SegmentsError
from trichord.transforms.align.cut_rows import alignment_of
from trichord.transforms.align.subtitles import parse_segments
from trichord.transforms.align.transcript import tokens_of
from trichord.transforms.augment import words
from trichord.transforms.batch import Batch, Row
from trichord.transforms.clean.text import text_ops
from trichord.transforms.dedup.shingles import text_sketches
from trichord.transforms.op import Op, Threshold, run_chain

# A text of size n is its unit repeated to n characters.
UNITS = {
    "plain": "the quick brown fox jumps over the lazy dog. ",
    "one word": "a",
    "short words": "a b ",
    "blanks": " \t",
    "marks": "\u0301\u0323",
    "mark and letter": "a\u0323\u0301\u0323\u0301\u0323\u0301",
    "marks of two": "\u0344\u0f73",
    "jamo": "\u1100\u1161\u11a8",
    "wide ligature": "\ufdfa",
    "mojibake": "Ã©â€™",
    "half mojibake": "Ã",
    "escapes": "\x1b[0;",
    "escape": "\x1b[",
    "invisible": "\u200b\u202e\u00ad",
    "surrogates": "\ud800",
    "tags": "<s>",
    "closed tags": "<s></s>",
    "open tags": "<a ",
    "tag of blanks": "<a" + " " * 1_990,
    "brackets": "<",
    "comments": "<!--",
    "almost comments": "<!-- - -",
    "scripts": "<script>",
    "almost scripts": "<script></scrip",
    "ampersands": "&",
    "entities": "&amp;",
    "open entities": "&#1",
    "digits": "1",
    "groups of digits": "1234 ",
    "cards": "4111 1111 1111 1111 ",
    "phones": "+1 (555) 0",
    "open phones": "(+",
    "addresses": "1.1.1.1.",
    "colons": ":",
    "hex": "a:",
    "mail": "a@a.",
    "at signs": "@",
    "mail names": "a.b+c%d-",
    "quotes": "\"'“",
    "apostrophes": "a'a'",
    "hyphens": "a-",
    "underscores": "_",
    "sides": "left-hand ",
    "negations": "n't ",
    "misspelt": "exampel ",
    "symbols": "#%&",
    "runs": "aaaaaaaaaab",
    "grouped numbers": "1,111",
    "punctuation": ".,;:!?",
    "lines": "\n",
    "arrows": "00:00:01,000 --> 00:00:02,000\n",
    "cues": "1\n00:00:01,000 --> 00:00:02,000\nword\n\n",
    "open cues": "1\n00:00:01,000 -->",
    "styles": "{\\an8}<b>",
    "lists": "[",
    "objects": '{"a":',
    "numbers": "[1e9,",
}  # fmt: skip


def text_of(unit: str, size: int) -> str:
    """A text of `size` characters."""
    text = UNITS[unit]
    return (text * (size // len(text) + 1))[:size]


def everything() -> TextConfig:
    """Settings under which every op on text runs."""
    return TextConfig(spelling=True, phone_region="US", languages=("en",), pii="mask")


def _op(op: Op) -> Callable[[str], object]:
    def run(text: str) -> object:
        scores = {"text_language_score": 1.0}
        row = Row(key="k", text=text, captions=(text[::2], text[1::2]), labels=(("text_language", "en"),))
        return op(Batch(rows=(row,), scores=(scores,)))

    return run


def _chain(text: str) -> object:
    return run_chain(Batch(rows=(Row(key="k", text=text, captions=(text, "a")),)), text_ops(everything()))


def _segments(form: str) -> Callable[[str], object]:
    def run(text: str) -> object:
        head = "WEBVTT\n\n" if form == "vtt" else ""
        try:
            return parse_segments((head + text).encode("utf-8", "replace"), form)
        except SegmentsError as error:
            return error

    return run


def _query(text: str) -> object:
    try:
        return read_queries(PrepareConfig(), [Query(text=text)])
    except ConfigError as error:
        return error


def _captions(text: str) -> object:
    """As many captions as the text has pieces of four characters."""
    pieces = tuple(text[at : at + 4] for at in range(0, len(text), 4))
    return run_chain(Batch(rows=(Row(key="k", text="a", captions=pieces),)), text_ops(everything()))


@lru_cache(maxsize=1)
def readers() -> dict[str, Callable[[str], object]]:
    """Everything that reads a text, by name."""
    found: dict[str, Callable[[str], object]] = {
        f"clean: {op.name}": _op(op) for op in text_ops(everything()) if not isinstance(op, Threshold)
    }
    found |= {
        "clean: the whole chain": _chain,
        "clean: captions": _captions,
        "align: transcript": tokens_of,
        "align: alignment": lambda text: alignment_of(Row(key="k", alignment=text)),
        "align: srt": _segments("srt"),
        "align: vtt": _segments("vtt"),
        "align: json": _segments("json"),
        "search: query": _query,
        "augment: tokens": words.tokens,
        "augment: protected": words.protected_words,
        "augment: sides": lambda text: (words.says_side(text), words.swap_sides(text), words.names_colour(text)),
        "dedup: sketch": lambda text: text_sketches([text]),
        "encode: hashed n-grams": lambda text: HashedNgrams().encode([text]),
    }
    return found
