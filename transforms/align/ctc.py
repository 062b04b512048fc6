"""Forced alignment by connectionist temporal classification (CTC): the model gives each frame letter probabilities.

The caller passes the model; see `trichord.encoders.ctc`. torchaudio finds the path (Viterbi over labels and blanks;
Kürzinger et al., arXiv 2007.09127, describe the use).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from trichord.transforms.align.transcript import Token
from trichord.transforms.align.words import Alignment, Word, mean_score
from trichord.transforms.batch import Waveform
from trichord.transforms.libraries import audio_libraries
from trichord.transforms.op import Settings

Floats = npt.NDArray[np.float32]


class Emitter(Protocol):
    """A CTC model: its labels, and their log-probabilities in each frame of a sound."""

    @property
    def blank(self) -> int:
        """The label for no letter."""

    @property
    def delimiter(self) -> int | None:
        """The label between words; None where the model has none."""

    @property
    def fingerprint(self) -> str:
        """Digest of all that shapes the result."""

    def labels(self, word: str) -> Sequence[int]:
        """Return the labels of a word without its unknown letters."""

    def __call__(self, wave: Waveform) -> tuple[Floats, float]:
        """Return log-probabilities (T frames, V labels) and the length of a frame in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CtcAligner:
    """Aligns a transcript with a sound by a CTC model; a word's score is the mean probability of its labels."""

    version: ClassVar[int] = 1
    languages: ClassVar[tuple[str, ...]] = ()

    emit: Emitter

    def settings(self) -> Settings:
        """Return what shapes the result, as JSON."""
        model = self.emit.fingerprint
        return {"aligner": "ctc", "aligner_version": self.version, "model": model, "libraries": audio_libraries()}

    def __call__(self, wave: Waveform, tokens: Sequence[Token]) -> Alignment | None:
        """Return the words with times and scores; None if the sound is too short for the transcript."""
        words = [self._labels(token) for token in tokens]
        log_probs, frame_s = self.emit(wave)
        spans = align_labels(log_probs, words, self.emit.blank, self.emit.delimiter)
        if spans is None:
            return None
        aligned = tuple(
            Word(text=token.text, span=None, score=0.0)
            if span is None
            else Word(text=token.text, span=(span.start * frame_s, span.stop * frame_s), score=round(span.score, 4))
            for token, span in zip(tokens, spans, strict=True)
        )
        return Alignment(words=aligned, score=mean_score(aligned))

    def _labels(self, token: Token) -> list[int]:
        """Return a word's labels: as written if it is all letters, else as spoken (numbers, signs)."""
        plain = all(char.isalpha() or char in "'’" for char in token.text)
        said = [token.text.replace("’", "'")] if plain or not token.spoken else token.spoken
        return [label for word in said for label in self.emit.labels(word)]


@dataclass(frozen=True, slots=True)
class LabelSpan:
    """Frames start … stop-1 of a word, and the mean probability of its labels."""

    start: int
    stop: int
    score: float


def align_labels(
    log_probs: Floats, words: Sequence[Sequence[int]], blank: int, delimiter: int | None
) -> list[LabelSpan | None] | None:
    """Return where each word is on the likeliest path through (T, V) log-probabilities that says all words in order.

    A word without labels has None. The whole answer is None if no word has labels, or if there are too few frames.
    """
    targets: list[int] = []
    owners: list[int] = []
    for i, labels in enumerate(words):
        if targets and labels and delimiter is not None:
            targets.append(delimiter)
            owners.append(-1)
        targets.extend(labels)
        owners.extend([i] * len(labels))
    repeats = sum(a == b for a, b in pairwise(targets))
    if not targets or len(log_probs) < len(targets) + repeats:
        return None
    import torch
    from torchaudio.functional import forced_align, merge_tokens

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        emission = torch.from_numpy(np.ascontiguousarray(log_probs, np.float32))[None]
        path, scores = forced_align(emission, torch.tensor([targets], dtype=torch.int32), blank=blank)
        runs = merge_tokens(path[0], scores[0].exp(), blank)
    finally:
        torch.set_num_threads(threads)
    mine: dict[int, list[Any]] = {}
    for run, owner in zip(runs, owners, strict=True):
        mine.setdefault(owner, []).append(run)
    return [_span(mine[i]) if i in mine else None for i in range(len(words))]


def _span(runs: Sequence[Any]) -> LabelSpan:
    probability = sum(float(run.score) for run in runs) / len(runs)
    return LabelSpan(runs[0].start, runs[-1].end, min(1.0, max(0.0, probability)))
