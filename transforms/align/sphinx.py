"""Forced alignment of English speech by pocketsphinx, whose package contains its acoustic model and dictionary.

A frame's score is the log-likelihood of the aligned state minus that of the best of *all* states in the same frame (the
likelihood-ratio form of "goodness of pronunciation", Witt and Young 2000). So scores of different clips, readers and
microphones can be compared; raw acoustic scores cannot.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from trichord.infra.packages import version
from trichord.transforms.align.phones import dictionary, pronunciations
from trichord.transforms.align.transcript import Token
from trichord.transforms.align.words import Alignment, Word
from trichord.transforms.batch import Waveform
from trichord.transforms.media import pcm16, resample
from trichord.transforms.op import Settings

RATE_HZ = 16_000
SPHINX_LIBRARIES = {"pocketsphinx": version("pocketsphinx")}
_FRAME_S = 0.01
_LOG_UNIT = 1_024  # the decoder keeps a 1024th of a log-likelihood
_FILLERS = ("<", "[", "+")  # silence and noises: <sil>, [NOISE], +SPN+
# Measured on 208 pages read by at least 17 readers. Mean frame scores: spoken words -3.5, at worst (strong accent,
# noise) -7.5; other words -10; silence -1 to -5.
_MIDDLE = -8.0  # the mean frame score that counts as 0.5
_QUIET = -6.0  # stretches between words that fit silence worse than this hold other speech
_UNSAID = 4.0  # subtracted from the mean frame score if everything is other speech


@dataclass(frozen=True, slots=True, kw_only=True)
class SphinxAligner:
    """Aligns a transcript with English speech."""

    version: ClassVar[int] = 1
    languages: ClassVar[tuple[str, ...]] = ("en",)

    def settings(self) -> Settings:
        """Return what shapes the result, as JSON."""
        return {"aligner": "pocketsphinx", "aligner_version": self.version, "libraries": SPHINX_LIBRARIES}

    def __call__(self, wave: Waveform, tokens: Sequence[Token]) -> Alignment | None:
        """Return the words with times and scores; None if no path through the sound says the transcript."""
        spoken = [word for token in tokens for word in token.spoken]
        decoder, names = _decoder(spoken)
        said = [word for word in spoken if word in names]
        if not said:
            return None
        pieces = _decode(decoder, " ".join(names[word] for word in said), wave)
        if pieces is None:
            return None
        return _alignment(tokens, names, pieces)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Frames start … stop-1 of one word, or of silence, and the sum of their scores."""

    name: str
    start: int
    stop: int
    total: float


def _decoder(spoken: Sequence[str]) -> tuple[Any, dict[str, str]]:
    """Return a decoder that knows only these words, and their names in it.

    Each sound needs a new one (15 ms): a used one remembers the last frames of the sound before it.
    """
    from pocketsphinx import Decoder, get_model_path

    folder = get_model_path("en-us")
    known = dictionary(os.path.join(folder, "cmudict-en-us.dict"))
    decoder = Decoder(
        hmm=os.path.join(folder, "en-us"),
        dict=os.devnull,
        lm=None,
        cmn="batch",  # the whole sound's mean, not that of the sounds before
        compallsen=True,  # scores relative to the best of all states
        bestpath=False,
        loglevel="FATAL",
    )
    names: dict[str, str] = {}
    for word in sorted(set(spoken)):
        readings = pronunciations(word, known)
        if readings:
            names[word] = f"w{len(names)}"
        for i, phones in enumerate(readings):
            decoder.add_word(names[word] if i == 0 else f"{names[word]}({i + 1})", phones, True)
    return decoder, names


def _decode(decoder: Any, text: str, wave: Waveform) -> list[_Piece] | None:
    samples = pcm16(resample(wave, RATE_HZ).samples if wave.rate_hz != RATE_HZ else wave.samples)
    decoder.set_align_text(text)
    decoder.start_utt()
    decoder.process_raw(np.ascontiguousarray(samples).tobytes(), full_utt=True)
    decoder.end_utt()
    if decoder.hyp() is None:
        return None
    return [
        _Piece(piece.word.partition("(")[0], piece.start_frame, piece.end_frame + 1, math.log(piece.ascore) * _LOG_UNIT)
        for piece in decoder.seg()
    ]


def _alignment(tokens: Sequence[Token], names: dict[str, str], pieces: Sequence[_Piece]) -> Alignment | None:
    words, at = [], 0
    said = [piece for piece in pieces if not piece.name.startswith(_FILLERS)]
    for token in tokens:
        count = sum(word in names for word in token.spoken)
        mine = said[at : at + count]
        at += count
        if len(mine) < count:
            return None  # the sound ended before the transcript
        if not mine:
            words.append(Word(text=token.text, span=None, score=0.0))
            continue
        frames = sum(piece.stop - piece.start for piece in mine)
        mean = sum(piece.total for piece in mine) / max(1, frames)
        span = (mine[0].start * _FRAME_S, mine[-1].stop * _FRAME_S)
        words.append(Word(text=token.text, span=span, score=round(_squash(mean), 4)))
    total = sum(piece.total for piece in said) / max(1, sum(piece.stop - piece.start for piece in said))
    share = sum(word.span is not None for word in words) / len(words)
    return Alignment(words=tuple(words), score=_squash(total - _UNSAID * _share_unsaid(pieces)) * share)


def _share_unsaid(pieces: Sequence[_Piece]) -> float:
    """Return the share of frames without silence whose speech is not in the transcript."""
    frames = {True: 0, False: 0}
    for piece in pieces:
        length = piece.stop - piece.start
        filler = piece.name.startswith(_FILLERS)
        if not filler or piece.total < _QUIET * length:
            frames[filler] += length
    return frames[True] / max(1, sum(frames.values()))


def _squash(mean: float) -> float:
    """Map a mean frame score to [0, 1]."""
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, mean - _MIDDLE))))
