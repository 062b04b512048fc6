"""Speech in a sound: where it is, how much, and how clean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from trichord.transforms.batch import Batch, Row, Samples, Waveform
from trichord.transforms.clean.snr import wada
from trichord.transforms.clean.voice import RATE_HZ, VAD_LIBRARIES, Span, speech_spans
from trichord.transforms.media import resample
from trichord.transforms.op import Op

SPEECH_LABEL = "audio_speech"
LEAST_VOICED_S = 1.0  # less speech has too few samples for statistics
MOST_CLIPPING = 0.001  # plateaus look like noise to WADA


def format_spans(spans: Sequence[Span]) -> str:
    """Format spans as a label: `0.258-1.118 1.282-2.110`."""
    return " ".join(f"{start:.3f}-{end:.3f}" for start, end in spans)


def spans_of(row: Row) -> tuple[Span, ...]:
    """Return the stretches of speech that `AudioVoice` found in a row's sound, seconds, in order."""
    pairs = (pair.split("-") for pair in dict(row.labels).get(SPEECH_LABEL, "").split())
    return tuple((float(start), float(end)) for start, end in pairs)


def with_spans(row: Row, spans: Sequence[Span]) -> Row:
    """Return the row with other stretches of speech; without the label if there are none."""
    others = [label for label in row.labels if label[0] != SPEECH_LABEL]
    return replace(row, labels=tuple(sorted([*others, (SPEECH_LABEL, format_spans(spans))] if spans else others)))


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioVoice(Op):
    """Finds speech: scores `audio_speech_s`, `audio_speech_share` and `audio_snr_db`, label `audio_speech` (where).

    The SNR is WADA's (see `snr`) on the speech alone. Less than a second of speech has no such score, nor has a clipped
    sound, where it would mean nothing.
    """

    version: ClassVar[int] = 2

    @property
    def name(self) -> str:
        """The op's name."""
        return "audio_voice"

    def libraries(self) -> Mapping[str, str]:
        """Return the package whose weights are used."""
        return VAD_LIBRARIES

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        rows, measured = list(batch.rows), [dict[str, float]() for _ in batch.rows]
        heard = {i: resample(wave, RATE_HZ) for i, wave in enumerate(batch.waves) if wave is not None}
        found = speech_spans([wave.samples for wave in heard.values()])
        for (i, wave), spans in zip(heard.items(), found, strict=True):
            speech_s = sum((end - start for start, end in spans), 0.0)
            measured[i] = {"audio_speech_s": speech_s, "audio_speech_share": speech_s / wave.duration_s}
            if speech_s >= LEAST_VOICED_S and batch.scores[i].get("audio_clipping", 0.0) <= MOST_CLIPPING:
                measured[i]["audio_snr_db"] = wada(_within(wave, spans))
            rows[i] = with_spans(rows[i], spans)
        return replace(batch, rows=tuple(rows)).with_scores(measured)


def _within(wave: Waveform, spans: Sequence[Span]) -> Samples:
    pieces = [wave.samples[round(start * wave.rate_hz) : round(end * wave.rate_hz)] for start, end in spans]
    return np.concatenate(pieces)
