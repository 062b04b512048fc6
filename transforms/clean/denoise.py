"""Reduce steady noise in a sound: notches against mains hum, a spectral gate against the rest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from trichord.infra.packages import version
from trichord.transforms.batch import Batch, Change, Samples, Waveform
from trichord.transforms.clean.noise import hann, hum, standing_db
from trichord.transforms.op import Op

_HARMONICS, _NOTCH_HZ, _STANDS_OUT_DB = 10, 1.0, 10.0
_WINDOW_S, _OVERLAP = 0.032, 4
_BLOCK, _PROFILE_FRAMES = 2_048, 4_096  # frames processed at a time, and frames that noise is estimated from
_QUIET = 0.2  # a fifth of the frames of each frequency is assumed to be noise alone
_MEMORY = 0.96  # how much the gate follows its own last decision

Powers = npt.NDArray[np.float64]


def remove_hum(wave: Waveform, mains_hz: float) -> Samples:
    """Notch out those of ten multiples of the mains frequency that stand out, each 1 Hz wide."""
    from scipy import signal

    lines = [mains_hz * factor for factor in range(1, _HARMONICS + 1) if mains_hz * factor < 0.45 * wave.rate_hz]
    samples = wave.samples.astype(np.float64)
    for line, level_db in zip(lines, standing_db(wave, lines), strict=True):
        if level_db >= _STANDS_OUT_DB:
            notch = signal.iirnotch(line, line / _NOTCH_HZ, wave.rate_hz)
            samples = signal.filtfilt(*notch, samples)  # forward and backward: nothing is delayed
    return np.clip(samples, -1, 1).astype(np.float32)


def gate_noise(wave: Waveform, reduction_db: float) -> Samples:
    """Lower steady noise by up to `reduction_db` with a soft gate on each frequency.

    The noise of a frequency is estimated from the quietest fifth of its frames. The gate is Wiener's, with the
    decision-directed estimate of Ephraim and Malah, "Speech enhancement using a minimum mean-square error short-time
    spectral amplitude estimator", IEEE TASSP 32(6), 1984. A sound that is steady throughout (rain) counts as noise.
    """
    size = 1 << round(math.log2(_WINDOW_S * wave.rate_hz))
    hop, length = size // _OVERLAP, len(wave.samples)
    count = -(-(length + size) // hop)
    padded = np.zeros((count - 1) * hop + size, np.float32)
    padded[size - hop : size - hop + length] = wave.samples
    views = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    noise = _noise(views, size)
    floor, before = 10 ** (-reduction_db / 20), np.zeros(size // 2 + 1)
    out = np.zeros_like(padded)
    for first in range(0, count, _BLOCK):
        spectrum = np.fft.rfft(views[first : first + _BLOCK] * hann(size), axis=1)
        for i, ratio in enumerate(np.square(np.abs(spectrum)) / noise):
            expected = _MEMORY * before + (1 - _MEMORY) * np.maximum(ratio - 1, 0)
            gain = expected / (1 + expected)
            before = gain * gain * ratio  # what the next frame remembers of this one
            spectrum[i] *= np.maximum(gain, floor)
        made = np.fft.irfft(spectrum, size, axis=1) * (hann(size) / 1.5)  # squared windows at a quarter add up to 1.5
        for phase in range(_OVERLAP):
            run = made[phase::_OVERLAP].ravel()
            at = (first + phase) * hop
            out[at : at + len(run)] += run
    return np.clip(out[size - hop : size - hop + length], -1, 1)


def _noise(views: npt.NDArray[np.float32], size: int) -> Powers:
    """Return the mean power of the noise at each frequency, from evenly spaced frames."""
    chosen = (
        views if len(views) <= _PROFILE_FRAMES else views[np.linspace(0, len(views) - 1, _PROFILE_FRAMES).astype(int)]
    )
    power = np.square(np.abs(np.fft.rfft(chosen * hann(size), axis=1))).astype(np.float32)
    quiet = np.quantile(power, _QUIET, axis=0).astype(np.float64)
    # powers of Gaussian noise are exponentially distributed: their quantile q is -ln(1 - q) of their mean
    return np.asarray(quiet / -math.log1p(-_QUIET) + 1e-12)


@dataclass(frozen=True, slots=True, kw_only=True)
class HumRemoval(Op):
    """Notches mains hum and its harmonics out of sounds whose `audio_hum_db` is above a limit."""

    version: ClassVar[int] = 2

    above_db: float

    @property
    def name(self) -> str:
        """The op's name."""
        return "audio_hum_removal"

    def libraries(self) -> Mapping[str, str]:
        """Return the library that filters."""
        return {"scipy": version("scipy")}

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        rows, waves = list(batch.rows), list(batch.waves)
        for i, wave in enumerate(batch.waves):
            if wave is None or not batch.scores[i].get("audio_hum_db", -math.inf) > self.above_db:
                continue
            before = hum(wave)
            if before is None:
                continue
            waves[i] = cleaned = Waveform(remove_hum(wave, before[1]), wave.rate_hz)
            after = hum(cleaned)
            change = Change(
                op=self.name,
                field="audio",
                before=f"hum of {before[1]:g} Hz {before[0]:.1f} dB above its neighbours",
                after="" if after is None else f"{after[0]:.1f} dB",
            )
            rows[i] = replace(rows[i], changes=(*rows[i].changes, change))
        return replace(batch, rows=tuple(rows), waves=tuple(waves))


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseReduction(Op):
    """Lowers steady noise by spectral gating (see `gate_noise`)."""

    version: ClassVar[int] = 1

    reduction_db: float

    @property
    def name(self) -> str:
        """The op's name."""
        return "audio_noise_reduction"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        rows, waves = list(batch.rows), list(batch.waves)
        for i, wave in enumerate(batch.waves):
            if wave is None:
                continue
            waves[i] = cleaned = Waveform(gate_noise(wave, self.reduction_db), wave.rate_hz)
            change = Change(op=self.name, field="audio", before=_level(wave), after=_level(cleaned))
            rows[i] = replace(rows[i], changes=(*rows[i].changes, change))
        return replace(batch, rows=tuple(rows), waves=tuple(waves))


def _level(wave: Waveform) -> str:
    power = float(np.square(wave.samples, dtype=np.float64).mean())
    return f"{10 * math.log10(max(power, 1e-12)):.2f} dB"
