"""Which words of a text must not change: sides, negations, numbers, colours."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from trichord.transforms.batch import Row

# English sides that a mirrored picture exchanges; longer words are built on these two.
_SIDE = re.compile(
    r"(?<![^\W_])(left|right)(?=(?:most|ward|wards|hand|handed|side|er|ers|y)?(?![^\W_]))", re.IGNORECASE
)
# The same in some other languages: enough not to mirror, too little to rewrite.
_FOREIGN_SIDE = re.compile(
    r"\b(?:links|rechts|linke[nmrs]?|rechte[nmrs]?|gauche|droite?|izquierd[ao]s?|derech[ao]s?|sinistr[ao]|destr[ao]"
    r"|esquerd[ao]s?|direit[ao]s?|clockwise|anti-?clockwise|counter-?clockwise)\b",
    re.IGNORECASE,
)
_OTHER = {"left": "right", "right": "left"}

_COLOUR = re.compile(
    r"\b(?:red|orange|yellow|green|blue|purple|violet|pink|magenta|cyan|turquoise|teal|brown|beige|tan|golden?|silver"
    r"|maroon|navy|crimson|scarlet|lime|olive|colou?r\w*)(?:ish)?\b",
    re.IGNORECASE,
)

_TURNING = (
    "no|not|none|never|nothing|nobody|nowhere|neither|nor|without|cannot|left|right|leftmost|rightmost|left-hand"
    "|right-hand|leftward|rightward|leftwards|rightwards|clockwise|counterclockwise|anticlockwise|one|two|three|four"
    r"|five|six|seven|eight|nine|ten|\w*n['’]t"
)
# One pattern for whole tokens, with or without punctuation about them.
PROTECTED = rf"(?i)^\W*(?:{_TURNING}|.*\d.*)?\W*$"
_PROTECTED = re.compile(PROTECTED, re.DOTALL)
TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|\s+|(?:[^\w\s]|_)+")


def words_of(row: Row) -> Iterator[str]:
    """Yield all words of a row: text, captions, segments."""
    if row.text is not None:
        yield row.text
    yield from row.captions
    for segment in row.segments:
        yield segment.text


def tokens(text: str) -> list[str]:
    """Split a text into words, white space and punctuation; joined, they are the text."""
    return TOKEN.findall(text)


def is_protected(token: str) -> bool:
    """Return whether a token must not change: a number, a negation, a side, or not a word."""
    return _PROTECTED.match(token) is not None


def protected_words(text: str) -> Counter[str]:
    """Count the protected words of a text."""
    return Counter(token.casefold() for token in tokens(text) if is_protected(token) and token.strip().isalnum())


def says_side(text: str) -> bool:
    """Return whether a text says left or right, in English or another language known here."""
    return says_foreign_side(text) or _SIDE.search(text) is not None


def says_foreign_side(text: str) -> bool:
    """Return whether it does so in words that `swap_sides` does not exchange."""
    return _FOREIGN_SIDE.search(text) is not None


def swap_sides(text: str) -> str:
    """Exchange left and right, keeping capitals."""

    def other(match: re.Match[str]) -> str:
        word = match[0]
        swapped = _OTHER[word.lower()]
        return swapped.upper() if word.isupper() else swapped.capitalize() if word[0].isupper() else swapped

    return _SIDE.sub(other, text)


def names_colour(text: str) -> bool:
    """Return whether an English text names a colour."""
    return _COLOUR.search(text) is not None
