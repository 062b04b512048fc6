"""The words spoken when a text is read aloud, numbers spelled out."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from trichord.transforms.bounded_text import normal_form
from trichord.transforms.word_breaks import pieces

_SPOKEN = re.compile(r"\d+|[a-z]+(?:'[a-z]+)*")
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SIGNS = {"&": " and ", "%": " percent ", "+": " plus ", "@": " at ", "’": "'", "‘": "'", "`": "'"}
_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_POWERS = ((10**9, "billion"), (10**6, "million"), (1_000, "thousand"), (100, "hundred"))
_LONGEST_NUMBER, _LONGEST_WORD = 12, 40


@dataclass(frozen=True, slots=True)
class Token:
    """A written word and its spoken lower-case words of a to z; none if unknown."""

    text: str
    spoken: tuple[str, ...]


def tokens_of(text: str) -> tuple[Token, ...]:
    """Return the words of a text, spoken as in English; punctuation alone is not a word.

    A character of a script without blanks is a word; it is `spoken` by none of the letters a to z.
    """
    found = []
    for piece in pieces(text):
        written = piece.strip("\"'“”‘’«»()[]{}<>.,;:!?…—–-*_#~/\\|")
        if any(char.isalnum() for char in written):
            found.append(Token(written, _spoken(written)))
    return tuple(found)


def _spoken(written: str) -> tuple[str, ...]:
    plain = normal_form("NFKD", written).lower()
    for sign, name in _SIGNS.items():
        plain = plain.replace(sign, name)
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    words: list[str] = []
    for part in _SPOKEN.findall(_GROUPED.sub("", plain)):
        words.extend(number_words(part) if part.isdigit() else [part[:_LONGEST_WORD]])
    return tuple(words)


def number_words(digits: str) -> list[str]:
    """Return digits as spoken: a number, a year in two halves; digit by digit if very long or with a leading 0."""
    if len(digits) > _LONGEST_NUMBER or (digits[0] == "0" and len(digits) > 1):
        return [_UNITS[int(digit)] for digit in digits[:_LONGEST_WORD]]
    value = int(digits)
    if 1_100 <= value < 2_000 and value % 100 >= 10:
        return _spell_out(value // 100) + _spell_out(value % 100)
    return _spell_out(value)


def _spell_out(value: int) -> list[str]:
    if value < len(_UNITS):
        return [_UNITS[value]]
    for power, name in _POWERS:
        if value >= power:
            rest = value % power
            return [*_spell_out(value // power), name, *(_spell_out(rest) if rest else [])]
    return [_TENS[value // 10], *([_UNITS[value % 10]] if value % 10 else [])]
