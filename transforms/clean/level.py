"""Level of a sound: silence and constant offset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from trichord.transforms.batch import Batch, Change, Samples, Waveform
from trichord.transforms.op import Op

FRAME_S = 0.02
FLOOR_DB = -120.0


def frame_levels(wave: Waveform) -> npt.NDArray[np.float64]:
    """Return the level of each frame of 20 ms against full scale, dB (at least -120): (ceil(T / frame),).

    A full-scale square wave has 0 dB. The last frame may be shorter. A constant offset is not sound and does not count.
    """
    samples, size = wave.samples, max(1, round(FRAME_S * wave.rate_hz))
    starts = np.arange(0, len(samples), size)
    counts = np.diff(starts, append=len(samples))
    squares = np.square(samples - np.float32(offset(samples)), dtype=np.float32)
    power = np.add.reduceat(squares, starts, dtype=np.float64) / counts
    return np.asarray(10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10))))


def offset(samples: Samples) -> float:
    """Return the mean of the samples; 0 for a sound without direct current."""
    return float(samples.mean(dtype=np.float64))


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioLevel(Op):
    """Measures offset and silence.

    `audio_dc` is the size of the offset, of full scale; `audio_silence` the share of frames that are silent;
    `audio_padding_s` the silence before and after everything else (all of it if there is nothing else).
    """

    version: ClassVar[int] = 1

    silence_db: float

    @property
    def name(self) -> str:
        """The op's name."""
        return "audio_level"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        return batch.with_scores([{} if wave is None else self._measure(wave) for wave in batch.waves])

    def _measure(self, wave: Waveform) -> dict[str, float]:
        silent = frame_levels(wave) < self.silence_db
        heard = np.flatnonzero(~silent)
        padding = len(silent) - (heard[-1] + 1 - heard[0]) if len(heard) else len(silent)
        return {
            "audio_dc": abs(offset(wave.samples)),
            "audio_silence": float(silent.mean()),
            "audio_padding_s": min(wave.duration_s, float(padding) * FRAME_S),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DcRemoval(Op):
    """Subtracts the offset of sounds whose `audio_dc` is above a limit; the result stays within full scale."""

    version: ClassVar[int] = 1

    above: float

    @property
    def name(self) -> str:
        """The op's name."""
        return "audio_dc_removal"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        rows, waves = list(batch.rows), list(batch.waves)
        for i, wave in enumerate(batch.waves):
            if wave is None or not batch.scores[i].get("audio_dc", 0.0) > self.above:
                continue
            constant = offset(wave.samples)
            samples = np.clip(wave.samples - np.float32(constant), -1, 1)
            waves[i] = Waveform(samples, wave.rate_hz)
            change = Change(
                op=self.name, field="audio", before=f"offset {constant:.5f}", after=f"offset {offset(samples):.5f}"
            )
            rows[i] = replace(rows[i], changes=(*rows[i].changes, change))
        return replace(batch, rows=tuple(rows), waves=tuple(waves))
