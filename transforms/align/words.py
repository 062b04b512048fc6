"""An aligner's result: the transcript's words with their times in the sound, and how well they agree with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from trichord.transforms.align.transcript import Token
from trichord.transforms.batch import Waveform
from trichord.transforms.op import Settings

GOOD = 0.5  # a word with at least this score is in the sound
_PAUSE_S = 0.3  # shorter gaps between words are part of the speech


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A written word, its start and end in seconds (None where it could not be aligned), and its score in [0, 1]."""

    text: str
    span: tuple[float, float] | None
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """The words of a transcript in order, and how well sound and transcript agree as a whole, in [0, 1]."""

    words: tuple[Word, ...]
    score: float

    @property
    def spoken_s(self) -> float:
        """Seconds from word to word, without pauses."""
        spans = [word.span for word in self.words if word.span is not None]
        gaps = (after[0] - before[1] for before, after in pairwise(spans))
        return sum(end - start for start, end in spans) + sum(gap for gap in gaps if 0 < gap < _PAUSE_S)


def mean_score(words: Sequence[Word]) -> float:
    """Return the mean score of the words, weighted by their length in time, times the share of words with times."""
    timed = [(word.span[1] - word.span[0], word.score) for word in words if word.span is not None]
    total = sum(length for length, _ in timed)
    return sum(length * score for length, score in timed) / total * len(timed) / len(words) if total else 0.0


class Aligner(Protocol):
    """Aligns a transcript with a sound; equal inputs give equal results, whatever came before."""

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639 codes of the languages it knows; empty if it takes any."""

    def settings(self) -> Settings:
        """Return what shapes the result, as JSON."""

    def __call__(self, wave: Waveform, tokens: Sequence[Token]) -> Alignment | None:
        """Return the words with times and scores; None if the sound cannot be the transcript's."""
