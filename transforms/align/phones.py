"""How English words sound: pocketsphinx's dictionary, and letter rules for words it does not have."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

# Graphemes (the longest that fits is used) and their usual ARPAbet phones. Words that a dictionary lacks are mostly
# names, so vowels have their "continental" values; a second reading is below.
_RULES = {
    "tion": "SH AH N", "sion": "ZH AH N", "ough": "AO", "eigh": "EY", "augh": "AO", "igh": "AY", "tch": "CH",
    "dge": "JH", "sch": "S K", "eau": "OW", "air": "EH R", "ear": "IH R", "eer": "IH R", "oor": "AO R", "our": "AW R",
    "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "wh": "W", "gh": "G", "kh": "K", "ck": "K", "ng": "NG", "qu": "K W",
    "zh": "ZH", "kn": "N", "wr": "R", "rh": "R", "ps": "P S", "ee": "IY", "ea": "IY", "oo": "UW", "ou": "AW",
    "ow": "OW", "oi": "OY", "oy": "OY", "ai": "AY", "ay": "EY", "au": "AW", "aw": "AO", "ei": "EY", "ey": "IY",
    "ie": "IY", "oa": "OW", "ue": "UW", "ui": "UW IY", "ia": "IY AH", "io": "IY OW", "aa": "AA", "ar": "AA R",
    "er": "ER", "ir": "ER", "or": "AO R", "ur": "ER", "ce": "S EH", "ci": "S IH", "cy": "S IY", "ge": "JH EH",
    "gi": "JH IH", "a": "AA", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IY",
    "j": "JH", "k": "K", "l": "L", "m": "M", "n": "N", "o": "OW", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T",
    "u": "UW", "v": "V", "w": "W", "x": "K S", "y": "IY", "z": "Z", "'": "",
}  # fmt: skip
_ENGLISH = {"a": "AE", "i": "IH", "o": "AA", "u": "AH", "ai": "EY", "au": "AO", "e": "EH"}  # the second reading
_GRAPHEME = re.compile("|".join(sorted(_RULES, key=len, reverse=True)))
_ENDINGS = (("'s", "Z"), ("s", "Z"), ("ed", "D"), ("ing", "IH NG"))


@lru_cache(maxsize=4)
def dictionary(path: str) -> dict[str, tuple[str, ...]]:
    """Read a dictionary in CMU's format: words and their pronunciations (ARPAbet phones separated by spaces)."""
    found: dict[str, tuple[str, ...]] = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        word, _, phones = line.partition(" ")
        word = word.partition("(")[0] if word.endswith(")") else word
        found[word] = (*found.get(word, ()), phones.strip())
    return found


def pronunciations(word: str, known: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return how a lower-case word may sound: from the dictionary, else from its stem's entry, else by letter rules."""
    if word in known:
        return known[word]
    for ending, phones in _ENDINGS:
        if word.endswith(ending) and word.removesuffix(ending) in known:
            return tuple(f"{stem} {phones}" for stem in known[word.removesuffix(ending)])
    if word.endswith("s") and len(word) > 3 and not word.endswith("ss"):
        return tuple(f"{stem} Z" for stem in by_letters(word.removesuffix("s").removesuffix("'")))
    return by_letters(word)


def by_letters(word: str) -> tuple[str, ...]:
    """Return two readings of a word's letters, one if they agree, none without letters."""
    once = re.sub(r"([^aeo])\1+|([aeo])\2{2,}", r"\1\2", word)
    silent = once[:-1] if re.search(r"[aeiou][^aeiou']e$", once) else once  # as in millipede, make
    readings = (_read(once, _RULES), _read(silent, _RULES | _ENGLISH))
    return tuple(dict.fromkeys(reading for reading in readings if reading))


def _read(letters: str, rules: dict[str, str]) -> str:
    return " ".join(phones for match in _GRAPHEME.finditer(letters) if (phones := rules[match.group()]))
