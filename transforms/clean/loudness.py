"""Loudness by ITU-R BS.1770-4 (pyloudnorm), and its normalisation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from trichord.infra.packages import version
from trichord.transforms.batch import Batch, Change, Samples, Waveform
from trichord.transforms.clean.sections import sosfilt
from trichord.transforms.op import Op

FLOOR_LUFS = -70.0  # the standard's absolute gate: quieter sounds have no loudness
# The library whose measure this is, and the one that filters. Records of other versions are measured again.
LOUDNESS_LIBRARIES = {"pyloudnorm": version("pyloudnorm"), "scipy": version("scipy")}

_SHELF_DB, _SHELF_HZ, _HIGH_PASS_HZ = 4.0, 1500.0, 38.0
_BLOCK_S, _STEP = 0.4, 0.25  # a block begins a quarter of a block behind the one before
_RELATIVE_GATE_DB = 10.0  # further below the mean, a block is a pause
_TINY = 1e-30
_SMALLEST_DB = 0.05  # smaller changes are not made


def loudness(wave: Waveform) -> float:
    """Return the integrated loudness in LUFS, at least -70. A sound shorter than a block of 0.4 s is one block.

    What pyloudnorm's meter returns, in half the time: its two filters run in one pass, and what blocks share is squared
    and summed once.
    """
    samples, rate_hz = wave.samples, wave.rate_hz
    long = len(samples) >= math.ceil(_BLOCK_S * rate_hz)
    block_s = _BLOCK_S if long else (len(samples) - 0.5) / rate_hz
    blocks = np.arange(round((wave.duration_s - block_s) / (block_s * _STEP)) + 1) * _STEP
    starts, stops = ((block_s * at * rate_hz).astype(np.int64) for at in (blocks, blocks + 1))
    stops = np.minimum(stops, len(samples))
    edges = np.unique(np.concatenate((starts, stops)))
    squares = np.square(_weighted(samples, rate_hz)[: edges[-1]])
    sums = np.concatenate(([0.0], np.cumsum(np.add.reduceat(squares, edges[:-1]))))
    power = (sums[np.searchsorted(edges, stops)] - sums[np.searchsorted(edges, starts)]) / (block_s * rate_hz)
    gated = power[_lufs(power) >= FLOOR_LUFS]
    if len(gated):
        gated = gated[_lufs(gated) > max(FLOOR_LUFS, float(_lufs(gated.mean())) - _RELATIVE_GATE_DB)]
    return max(FLOOR_LUFS, float(_lufs(gated.mean()))) if len(gated) else FLOOR_LUFS


def _lufs(power: npt.NDArray[np.float64] | np.float64) -> npt.NDArray[np.float64]:
    return np.asarray(-0.691 + 10 * np.log10(np.maximum(power, _TINY)))


def _weighted(samples: Samples, rate_hz: int) -> npt.NDArray[np.float64]:
    """Return the samples as an ear weighs them: the standard's shelf and high pass."""
    return sosfilt(_sections(rate_hz), samples.astype(np.float64))


@lru_cache(maxsize=8)
def _sections(rate_hz: int) -> npt.NDArray[np.float64]:
    """Return the standard's two filters as second-order sections, to the last bit those of pyloudnorm's meter.

    They are the shelf and the high pass of Bristow-Johnson's cookbook. The library itself imports `scipy.signal`.
    """
    gain = 10 ** (_SHELF_DB / 40)
    root, (alpha, cosine) = np.sqrt(gain), _at(_SHELF_HZ, 1 / np.sqrt(2), rate_hz)
    shelf = (
        gain * ((gain + 1) + (gain - 1) * cosine + 2 * root * alpha),
        -2 * gain * ((gain - 1) + (gain + 1) * cosine),
        gain * ((gain + 1) + (gain - 1) * cosine - 2 * root * alpha),
        (gain + 1) - (gain - 1) * cosine + 2 * root * alpha,
        2 * ((gain - 1) - (gain + 1) * cosine),
        (gain + 1) - (gain - 1) * cosine - 2 * root * alpha,
    )
    alpha, cosine = _at(_HIGH_PASS_HZ, 0.5, rate_hz)
    high_pass = ((1 + cosine) / 2, -(1 + cosine), (1 + cosine) / 2, 1 + alpha, -2 * cosine, 1 - alpha)
    return np.stack([np.array(one) / one[3] for one in (shelf, high_pass)])


def _at(frequency_hz: float, quality: float, rate_hz: int) -> tuple[np.float64, np.float64]:
    angle = 2 * np.pi * (frequency_hz / rate_hz)
    return np.sin(angle) / (2 * quality), np.cos(angle)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioLoudness(Op):
    """Measures `audio_loudness_lufs` and, if a target is set, brings the sound to it.

    The score is measured before. A gain never lifts the peak over `max_peak_db`, so nothing is clipped and a sound may
    stay below the target; a sound without loudness (-70) is unchanged.
    """

    version: ClassVar[int] = 2

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
