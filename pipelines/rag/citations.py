"""How an answer cites its sources: `[1]`, or `[2, 3]`."""

from __future__ import annotations

import re

CITATION = re.compile(r"\[(\d{1,4}(?:\s*,\s*\d{1,4})*)\]")


def citations(answer: str) -> list[int]:
    """The source numbers that an answer cites, ascending."""
    return sorted({int(number) for group in CITATION.findall(answer) for number in group.split(",")})


def without_citations(answer: str) -> str:
    """The answer's words alone."""
    # words are set apart by one space first: to look for more at every place of a long run takes its square
    return re.sub(" ?" + CITATION.pattern, "", " ".join(answer.split())).strip()
