"""Loudness by ITU-R BS.1770-4 (pyloudnorm), and its normalisation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np

from trichord.transforms.batch import Batch, Change, Waveform
from trichord.transforms.op import Op

FLOOR_LUFS = -70.0  # the standard's absolute gate: quieter sounds have no loudness
LOUDNESS_LIBRARIES = {"pyloudnorm": version("pyloudnorm"), "scipy": version("scipy")}

_BLOCK_S = 0.4
_SMALLEST_DB = 0.05  # smaller changes are not made


def loudness(wave: Waveform) -> float:
    """Return the integrated loudness in LUFS, at least -70. A sound shorter than a block of 0.4 s is one block."""
    long = len(wave.samples) >= math.ceil(_BLOCK_S * wave.rate_hz)
    block_s = _BLOCK_S if long else (len(wave.samples) - 0.5) / wave.rate_hz
    found = float(_meter(wave.rate_hz, block_s).integrated_loudness(wave.samples.astype(np.float64)))
    return max(FLOOR_LUFS, found) if math.isfinite(found) else FLOOR_LUFS


@lru_cache(maxsize=8)
def _meter(rate_hz: int, block_s: float) -> Any:
    import pyloudnorm  # with scipy.signal: only where there is sound

    return pyloudnorm.Meter(rate_hz, block_size=block_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioLoudness(Op):
    """Measures `audio_loudness_lufs` and, if a target is set, brings the sound to it.

    The score is measured before. A gain never lifts the peak over `max_peak_db`, so nothing is clipped and a sound may
    stay below the target; a sound without loudness (-70) is unchanged.
    """

    version: ClassVar[int] = 1

    target_lufs: float | None
    max_peak_db: float

    @property
    def name(self) -> str:
        """The op's name."""
        return "audio_loudness"

    def libraries(self) -> Mapping[str, str]:
        """Return the libraries that measure loudness."""
        return LOUDNESS_LIBRARIES

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        rows, waves, measured = list(batch.rows), list(batch.waves), [dict[str, float]() for _ in batch.rows]
        for i, wave in enumerate(batch.waves):
            if wave is None:
                continue
            found = loudness(wave)
            measured[i] = {"audio_loudness_lufs": found}
            gain_db = self._gain_db(wave, found)
            if abs(gain_db) < _SMALLEST_DB:
                continue
            waves[i] = Waveform(wave.samples * np.float32(10 ** (gain_db / 20)), wave.rate_hz)
            change = Change(
                op=self.name, field="audio", before=f"{found:.2f} LUFS", after=f"{found + gain_db:.2f} LUFS"
            )
            rows[i] = replace(rows[i], changes=(*rows[i].changes, change))
        return replace(batch, rows=tuple(rows), waves=tuple(waves)).with_scores(measured)

    def _gain_db(self, wave: Waveform, found: float) -> float:
        if self.target_lufs is None or found <= FLOOR_LUFS:
            return 0.0
        peak = max(float(wave.samples.max()), -float(wave.samples.min()))
        return min(self.target_lufs - found, self.max_peak_db - 20 * math.log10(peak))
