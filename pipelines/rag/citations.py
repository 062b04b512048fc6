"""How an answer cites its sources: `[1]`, or `[2, 3]`; Chinese and Japanese answers also 【1】, ［2］ or [1、2]."""

from __future__ import annotations

import re

CITATION = re.compile(r"[\[［【](\d{1,4}(?:\s*[,，、]\s*\d{1,4})*)[\]］】]")


def find_citations(answer: str) -> list[int]:
    """Return the source numbers that an answer cites, ascending."""
    return sorted({int(number) for group in CITATION.findall(answer) for number in re.split("[,，、]", group)})


def remove_citations(answer: str) -> str:
    """Return the answer without its citations."""
    # one space between words first: searching for more spaces from every place of a long run takes quadratic time
    return re.sub(" ?" + CITATION.pattern, "", " ".join(answer.split())).strip()
