"""Words of a text by script, and their parts, for hashed features.

| script | words | parts |
|---|---|---|
| with blanks between words | runs of letters, marks, digits and `_` | character 3- to 5-grams of `<word>` |
| Han, Kana, Bopomofo, Thai, Lao, Khmer, Myanmar ... | single characters | 1- to 3-grams of the run |

So a pair of neighbouring words is a character 2-gram in the second row: most words of Chinese have one or two. These
are the words of Unicode Standard Annex 29 but for apostrophes, which part words here. A character is a letter with its
marks. Scripts without blanks are those of Unicode's line breaking class SA (Annex 14) and the ideographs and kana.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from trichord.infra.lazy import lazy
from trichord.transforms.bounded_text import normal_form

if TYPE_CHECKING:
    import regex
else:
    regex = lazy("regex")

PARTS, PARTS_WITHOUT_BLANKS = (3, 4, 5), (1, 2, 3)  # characters of a part
USUAL_CHARS = 64  # of a word: longer ones are not kept, or a few texts without blanks would fill the memory
_ASCII_WORD = re.compile(r"\w+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Run:
    """Words that stand together without a blank, and the parts of them."""

    words: tuple[str, ...]
    parts: tuple[str, ...]


def word_runs(text: str) -> list[Run]:
    """Return the words of a text with their parts, in order, in one case and width (NFKC, casefold).

    Punctuation and symbols part words. Invisible characters (joiners, variation selectors, soft hyphens) are left out.
    """
    folded = normal_form("NFKC", text).casefold()
    if folded.isascii():
        return [_with_blanks(word) for word in _ASCII_WORD.findall(folded)]
    patterns = _patterns()
    found = patterns.run.finditer(patterns.invisible.sub("", folded))
    return [_without_blanks(patterns.letter.findall(run[1])) if run[1] else _with_blanks(run[0]) for run in found]


def _with_blanks(word: str) -> Run:
    return _usual_word(word) if len(word) <= USUAL_CHARS else _parted(word)


@lru_cache(maxsize=50_000)
def _usual_word(word: str) -> Run:
    return _parted(word)


def _parted(word: str) -> Run:
    return Run((word,), tuple(_grams(f"<{word}>", PARTS)))


def _without_blanks(letters: Sequence[str]) -> Run:
    return Run(tuple(letters), tuple(_grams(letters, PARTS_WITHOUT_BLANKS)))


def _grams(letters: Sequence[str], sizes: Sequence[int]) -> Iterator[str]:
    return ("".join(letters[i : i + n]) for n in sizes for i in range(len(letters) - n + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Patterns:
    run: regex.Pattern[str]  # group 1 where it is of a script without blanks
    letter: regex.Pattern[str]  # with its marks
    invisible: regex.Pattern[str]


@lru_cache(maxsize=1)
def _patterns() -> _Patterns:
    """Compile at the first use: Latin texts in ASCII need none of it."""
    from trichord.transforms.word_breaks import UNSPACED_CHAR

    # sets, not groups that repeat: `regex` keeps each repetition of a group, and gives up after some millions
    letter, other = rf"[{UNSPACED_CHAR}--\p{{M}}]", rf"[[\w--\p{{M}}]--{UNSPACED_CHAR}]"
    return _Patterns(
        run=regex.compile(rf"({letter}[{letter}\p{{M}}]*+)|{other}[{other}\p{{M}}]*+", regex.V1),
        letter=regex.compile(rf"{letter}\p{{M}}*+", regex.V1),
        invisible=regex.compile(r"\p{Default_Ignorable_Code_Point}+"),
    )
