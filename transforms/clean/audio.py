"""Sound: decoding to canonical rate, length, level and clipping."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from infra.config import AudioConfig
from transforms.batch import Batch, Samples, Waveform
from transforms.media import AUDIO_LIBRARIES, MediaError, decode_audio, resample
from transforms.op import Op, Threshold

FULL_SCALE = 0.999
MIN_RUN = 3  # one sample at full scale is a peak, three in a row are a plateau
SILENCE_DB = -120.0


def clipping(samples: Samples) -> float:
    """Share of the samples that lie in runs of at least three at full scale.

    A sound is clipped where it stays at the end of its range. A pure tone that only just reaches full scale stays there
    for up to 2.8 % of its length as well.
    """
    hot = np.abs(samples) >= FULL_SCALE
    edges = np.flatnonzero(np.diff(hot, prepend=False, append=False))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= MIN_RUN].sum() / len(samples))


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioDecode(Op):
    """Decodes raw sounds to mono, measures them as they came, and resamples them to `rate_hz`.

    All in one op, so that a batch never holds more than one sound at its own rate; and clipping can only be seen there,
    as resampling rounds plateaus off. Measures `audio_duration_s`, `audio_peak_db` (relative to full scale, at least
    -120) and `audio_clipping` (share of the samples).
    """

    version: ClassVar[int] = 1

    max_bytes: int
    max_duration_s: float
    rate_hz: int

    @property
    def name(self) -> str:
        """The op's name."""
        return "audio_decode"

    def settings(self) -> dict[str, Any]:
        """With the libraries that decode and resample: another version may give other samples."""
        return Op.settings(self) | {"libraries": AUDIO_LIBRARIES}

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        waves, measured, refused = list(batch.waves), [dict[str, float]() for _ in batch.rows], {}
        for i, raw in enumerate(batch.raw_audios):
            if raw is None:
                continue
            try:
                waves[i], measured[i] = self._decoded(raw)
            except MediaError as error:
                refused[i] = (error.reason, error.detail)
        decoded = replace(batch, waves=tuple(waves), raw_audios=(None,) * len(batch))
        return decoded.with_scores(measured).reject(refused, self.name)

    def _decoded(self, raw: bytes) -> tuple[Waveform, dict[str, float]]:
        wave = decode_audio(raw, max_bytes=self.max_bytes, max_duration_s=self.max_duration_s)
        peak = max(float(wave.samples.max()), -float(wave.samples.min()))
        measured = {
            "audio_duration_s": wave.duration_s,
            "audio_peak_db": max(SILENCE_DB, 20 * math.log10(peak)) if peak else SILENCE_DB,
            "audio_clipping": clipping(wave.samples) if peak >= FULL_SCALE else 0.0,
        }
        return resample(wave, self.rate_hz), measured


def audio_ops(config: AudioConfig) -> tuple[Op, ...]:
    """The ops on sounds, in order."""
    return (
        AudioDecode(max_bytes=config.max_bytes, max_duration_s=config.max_duration_s, rate_hz=config.rate_hz),
        Threshold(score="audio_duration_s", reason="audio_too_short", least=config.min_duration_s),
        Threshold(score="audio_clipping", reason="audio_clipped", most=config.max_clipping),
    )
