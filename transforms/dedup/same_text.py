"""Texts that say the same: only case, width, white space, markup and idle punctuation may differ.

Everything that can tell two items apart counts: words in their order, numbers with their signs, points and units,
accents, currencies, and pictures (🟥, 🟦). So `Stout 0.5 l` is neither `Stout 5 l` nor `Porter 0.5 l`. In scripts
without blanks between words (Han, kana, Thai …) each character is a word, so that commas and blanks there are idle.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256

from trichord.transforms.bounded_text import normal_form
from trichord.transforms.clean.markup import strip_markup
from trichord.transforms.word_breaks import is_unspaced

VERSION = 3  # raised when the same text would give another form

FORM_BYTES = 16
_KEPT_PUNCTUATION = frozenset("%‰&#@§")
_IDLE_SYMBOLS = frozenset("®©™℠★☆✓✔➤►▶")  # decorations, and marks that shops add or leave out
_INNER = frozenset(".,:/-'’*")  # count between two digits
_AS_THEY_ARE = ("<super>", "<sub>", "<fraction>", "<circle>")  # m² is not m2, 1½ is not 11/2
_PRIMES = {"″": '"', "”": '"', "′": "'", "’": "'"}  # inches and feet behind a number
_INCH_MARKS = frozenset("\"'″′”’")
_DASHES = frozenset("\u2010\u2011\u2012\u2013\u2212")  # hyphens, a figure dash, an en dash, a minus
_GRADE_CHARS = 2  # of a word whose `-` or `*` counts: blood of group A-, AB-; mark A*; 5* hotel


def text_form(text: str) -> str:
    """Return what counts in a text, as tokens with one blank between; '' if nothing does."""
    return " ".join(_tokens(_fold(strip_markup(html.unescape(text)))))


def form_digest(text: str | None) -> bytes | None:
    """Return a digest of the text's form (16 bytes): equal for texts that say the same; None without a text."""
    return None if text is None else sha256(text_form(text).encode("utf-8", "surrogatepass")).digest()[:FORM_BYTES]


def differing_words(one: str, other: str, most: int = 4) -> tuple[list[str], list[str]]:
    """Return the first words of each text's form, at most `most`, that the other does not have in this place."""
    a, b = text_form(one).split(), text_form(other).split()
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    ends = zip(reversed(a[start:]), reversed(b[start:]), strict=False)
    end = next((i for i, (x, y) in enumerate(ends) if x != y), min(len(a), len(b)) - start)
    return a[start : len(a) - end][:most], b[start : len(b) - end][:most]


def _fold(text: str) -> str:
    if text.isascii():
        return text.casefold()
    return "".join(map(_fold_char, normal_form("NFC", text)))


@lru_cache(maxsize=8_192)
def _fold_char(char: str) -> str:
    if char in _DASHES:
        return "-"
    if char in _INCH_MARKS or unicodedata.decomposition(char).startswith(_AS_THEY_ARE):
        return char
    return unicodedata.normalize("NFKC", char).casefold()


def _tokens(text: str) -> Iterator[str]:
    """Yield words and the signs that count; a sign is a token of its own unless it is inside a number."""
    word: list[str] = []
    quoted = opened = False
    for i, char in enumerate(text):
        kind = _kind(char)
        before, after = text[i - 1] if i else " ", text[i + 1] if i + 1 < len(text) else " "
        if word and _parts(word[-1], char):
            yield "".join(word)
            word.clear()
        if kind == "word" or (kind == "inner" and _is_number(before) and _is_number(after)):
            word.append(char)
            continue
        if kind == "skipped":
            continue
        if kind == "inner" and char == "." and _is_number(after) and not before.isalnum():
            word.append(char)  # .5
            continue
        start = i - len(word)
        marked = text[max(0, start - 1) : start] in ("*", "-")  # *a* is only emphasis
        graded = char in "-*" and 0 < len(word) <= _GRADE_CHARS and not after.isalnum() and not marked
        if word:
            yield "".join(word)
            word.clear()
        if kind == "sign" or graded or (char == "-" and _is_number(after)):
            yield char
        elif char in _INCH_MARKS and _is_number(before) and not (quoted if char == '"' else opened and char == "”"):
            yield '"' if char == after == "'" else _PRIMES.get(char, char)
        elif char == '"':
            quoted = not quoted
        opened = char in "“„" or (opened and char != "”")
    if word:
        yield "".join(word)


@lru_cache(maxsize=8_192)
def _parts(last: str, char: str) -> bool:
    """Return whether a token ends between two characters because one has a script without blanks."""
    if is_unspaced(char):
        return unicodedata.category(char)[0] != "M"
    return is_unspaced(last)


def _is_number(char: str) -> bool:
    return char.isnumeric() and not is_unspaced(char)


@lru_cache(maxsize=8_192)
def _kind(char: str) -> str:
    category = unicodedata.category(char)
    if char in _INNER:
        return "inner"
    if char in _KEPT_PUNCTUATION:
        return "sign"
    if char in _IDLE_SYMBOLS:
        return "break"
    tag = "\U000e0020" <= char <= "\U000e007f"  # says whose flag a flag is
    if not tag and (char in "\ufe0e\ufe0f" or category == "Cf"):
        return "skipped"
    if tag or category[0] in "LNM":
        return "word"
    skin = "\U0001f3fb" <= char <= "\U0001f3ff"
    return "sign" if skin or (category[0] == "S" and category != "Sk") else "break"
