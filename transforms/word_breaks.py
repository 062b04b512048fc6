"""Where words end, by script: words of letters with blanks between, and characters where a script writes no blanks.

Letters, marks and digits are those of Unicode, so a word of Hindi or Arabic keeps its vowel signs. Han, kana and the
scripts of Southeast Asia (Line_Break=SA: Thai, Lao, Khmer, Myanmar …) have no blanks between words. To find words there
takes a dictionary of each language, and finds no better neighbours than characters do (tests/bench/RESULTS.md,
"Languages"): so each character, with its marks (extended grapheme cluster, UAX #29), counts as a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

import regex

_LOOSE = r"\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Bopomofo}\p{scx=Yi}\p{Line_Break=SA}"
_SYLLABIC = r"\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Bopomofo}\p{scx=Yi}\p{sc=Hangul}"
_IN_WORDS = r"\p{L}\p{M}\p{N}"
# V1: sets may be intersected
_ABOVE = r"\u0E00-\U0010FFFF"  # below are letters of scripts with blanks, and tone marks that many share
UNSPACED_CHAR = rf"[[{_LOOSE}]&&[{_IN_WORDS}]&&[{_ABOVE}]]"
_UNSPACED = regex.compile(UNSPACED_CHAR, regex.V1)
_DENSE = regex.compile(rf"[[{_SYLLABIC}]&&[{_IN_WORDS}]&&[{_ABOVE}]]", regex.V1)
# sets, not groups that repeat: `regex` keeps each repetition of a group, and gives up after some millions
_WORD = regex.compile(rf"{UNSPACED_CHAR}\p{{M}}*|[[{_IN_WORDS}]--{UNSPACED_CHAR}]+", regex.V1)
_PIECE = regex.compile(rf"{UNSPACED_CHAR}\p{{M}}*|[^{UNSPACED_CHAR}]+", regex.V1)
_BLANK_BESIDE = regex.compile(rf" (?={UNSPACED_CHAR})|(?<={UNSPACED_CHAR}) ", regex.V1)
_FIRST_UNSPACED = "\u0e00"

# script -> language, where the script decides it
_SCRIPTS = {
    "Hangul": "ko", "Thai": "th", "Lao": "lo", "Khmer": "km", "Myanmar": "my", "Han": "zh", "Arabic": "ar",
    "Hebrew": "he", "Greek": "el", "Devanagari": "hi", "Bengali": "bn", "Tamil": "ta", "Telugu": "te", "Georgian": "ka",
    "Armenian": "hy", "Gujarati": "gu", "Gurmukhi": "pa", "Kannada": "kn", "Malayalam": "ml", "Sinhala": "si",
    "Ethiopic": "am", "Tibetan": "bo", "Cyrillic": "ru", "Latin": "",
}  # fmt: skip
_KANA = regex.compile(r"[\p{sc=Hiragana}\p{sc=Katakana}]")
_SCRIPT = regex.compile("|".join(rf"(?P<{name}>\p{{sc={name}}})" for name in _SCRIPTS))
_READ_CHARS = 2_000  # of a text, to find its script
_SHARE_OF_KANA = 0.05  # of Han and kana, from which they are Japanese


@lru_cache(maxsize=8_192)
def is_unspaced(char: str) -> bool:
    """Return whether a character is a letter, mark or digit of a script without blanks between words."""
    return char >= _FIRST_UNSPACED and _UNSPACED.match(char) is not None


@lru_cache(maxsize=8_192)
def is_dense(char: str) -> bool:
    """Return whether a character is a word or a syllable (Han, kana, Hangul): it says as much as two letters."""
    return char >= _FIRST_UNSPACED and _DENSE.match(char) is not None


def has_unspaced(text: str) -> bool:
    """Return whether a text has a character of a script without blanks."""
    return not text.isascii() and _UNSPACED.search(text) is not None


def words(text: str) -> list[str]:
    """Return the words of a text without punctuation: runs of letters, marks and digits, or single characters."""
    found: list[str] = _WORD.findall(text)
    return found


def pieces(text: str) -> list[str]:
    """Return the runs between blanks, punctuation included, cut into characters where a script has no blanks."""
    parts = text.split()
    return [piece for part in parts for piece in _PIECE.findall(part)] if has_unspaced(text) else parts


def is_mostly_unspaced(text: str) -> bool:
    """Return whether at least half of a text's letters are of scripts without blanks."""
    if not has_unspaced(text):
        return False
    return 2 * len(_UNSPACED.findall(text)) >= sum(map(str.isalnum, text))


def join_unspaced(text: str) -> str:
    """Remove blanks beside characters of scripts without blanks: there they are style, as punctuation is."""
    if not has_unspaced(text):
        return text
    return str(_BLANK_BESIDE.sub("", text))


def language_of_script(texts: Iterable[str]) -> str:
    """Return the language (ISO 639) that the script of most letters suggests; '' for Latin letters and none.

    Kana among Han mean Japanese. A script of many languages counts as its most frequent one: enough to cut words.
    """
    counts = Counter[str]()
    kana = 0
    for text in texts:
        head = text[:_READ_CHARS]
        kana += len(_KANA.findall(head))
        counts.update(match.lastgroup or "" for match in _SCRIPT.finditer(head))
    counts["Han"] += kana
    name, most = max(counts.items(), key=lambda item: item[1])
    if not most:
        return ""
    return "ja" if name == "Han" and kana >= _SHARE_OF_KANA * most else _SCRIPTS[name]
