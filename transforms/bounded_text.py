"""Unicode normal forms in bounded time.

Sorting a run of combining marks costs the square of its length: 0.8 MB of marks take hours. So runs are cut first, as
in the Stream-Safe Text Format (Unicode Standard Annex 15, section 13): after 30 marks in a row comes a combining
grapheme joiner, which is invisible and ends the run. No text that people write has such a run: it stays as it is.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal

MAX_MARKS = 30  # in a row
_JOINER = "\u034f"  # combining grapheme joiner
_LAST_MARK = 0x1FFFF  # no character beyond is a mark


def stream_safe(text: str) -> str:
    """Return the text with a joiner after each 30 combining marks in a row; other texts are unchanged."""
    return text if text.isascii() else _long_runs().sub(rf"\g<0>{_JOINER}", text)


def normal_form(form: Literal["NFC", "NFD", "NFKC", "NFKD"], text: str) -> str:
    """Return the normal form of a text, whose runs of combining marks are cut first."""
    return text if text.isascii() else unicodedata.normalize(form, stream_safe(text))


def _decomposed(letter: str) -> str:
    return unicodedata.normalize("NFKD", letter)  # U+0F73 is not a mark itself, but decomposes to two


@lru_cache(maxsize=1)
def _long_runs() -> re.Pattern[str]:
    letters = map(chr, range(0x300, _LAST_MARK))
    marks = "".join(letter for letter in letters if all(map(unicodedata.combining, _decomposed(letter))))
    return re.compile(f"[{re.escape(marks)}]{{{MAX_MARKS}}}(?=[{re.escape(marks)}])")
