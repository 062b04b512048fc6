"""Steady noise of a sound: mains hum, and how flat its lasting spectrum is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from trichord.transforms.batch import Batch, Samples, Waveform
from trichord.transforms.clean.level import frame_levels, offset
from trichord.transforms.op import Op

MAINS_HZ = (50.0, 60.0)

_HUM_WINDOW_S, _HUM_LEAST_S = 0.512, 1.0
_NEAR_HZ, _FAR_HZ = 5.0, 14.0  # neighbours of a line: beyond the window's main lobe, within the next line
_INAUDIBLE_DB = -80.0  # against full scale: below it, rounding noise makes lines
_QUIET = 0.25  # hum lasts, so a line's level is that of the quietest quarter of the frames
_FLAT_WINDOW_S, _MAX_FRAMES = 0.032, 2_048
_LOWEST_HZ, _HIGHEST_SHARE = 100.0, 0.95  # rumble is below, the slope of the resampling filter above
_TINY = np.float32(1e-14)

Powers = npt.NDArray[np.float32]


@lru_cache(maxsize=8)
def hann(size: int) -> npt.NDArray[np.float32]:
    """Return a periodic Hann window."""
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)
    window.setflags(write=False)
    return window


def spectra(samples: Samples, size: int, starts: npt.NDArray[np.int64], bins: slice) -> Powers:
    """Return power spectra of windows of `size` samples at `starts`: (starts, bins), float32."""
    from scipy import fft  # takes several short frames at once, and keeps float32

    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[starts] * hann(size)
    spectrum = fft.rfft(frames, axis=1, workers=1, overwrite_x=True)[:, bins]
    power: Powers = np.square(spectrum.real)
    power += np.square(spectrum.imag)
    return power


def _spread(length: int, size: int, most: int) -> npt.NDArray[np.int64]:
    """Return starts of half-overlapping windows, evenly thinned to at most `most`, so that memory is bounded."""
    starts = np.arange(0, length - size + 1, size // 2, dtype=np.int64)
    return starts if len(starts) <= most else starts[np.linspace(0, len(starts) - 1, most).astype(np.int64)]


def standing_db(wave: Waveform, lines_hz: Sequence[float]) -> list[float]:
    """Return how far a line at each frequency is above the median of its neighbours at 5 to 14 Hz, in dB.

    0 if the line is inaudible. Beyond 40 dB the window's leakage limits the value.
    """
    size = 1 << round(np.log2(_HUM_WINDOW_S * wave.rate_hz))
    hertz = np.fft.rfftfreq(size, 1 / wave.rate_hz)
    near = slice(*np.searchsorted(hertz, (min(lines_hz) - _FAR_HZ, max(lines_hz) + _FAR_HZ + hertz[1])))
    hertz = hertz[near]
    power = spectra(wave.samples, size, _spread(len(wave.samples), size, 256), near)
    lasting = np.quantile(power, _QUIET, axis=0) + _TINY
    audible = (size / 4 * 10 ** (_INAUDIBLE_DB / 20)) ** 2  # the power of a windowed sine at that peak level
    found = []
    for line in lines_hz:
        away = np.abs(hertz - line)
        level = lasting[away <= 1.5 * (hertz[1] - hertz[0])].max()
        around = np.median(lasting[(away >= _NEAR_HZ) & (away <= _FAR_HZ)])
        found.append(float(10 * np.log10(level / around)) if level >= audible else 0.0)
    return found


def hum(wave: Waveform) -> tuple[float, float] | None:
    """Return how far mains hum is above its neighbours, in dB, and the mains frequency in Hz.

    The line at 50 or 60 Hz or at its double (the hum of a rectifier), whichever stands out most. None for a
    sound shorter than a second.
    """
    if wave.duration_s < _HUM_LEAST_S:
        return None
    lines = [(mains * factor, mains) for mains in MAINS_HZ for factor in (1, 2)]
    return max(zip(standing_db(wave, [line for line, _ in lines]), (mains for _, mains in lines), strict=True))


def flatness(wave: Waveform, silence_db: float) -> float | None:
    """Return the Wiener entropy (geometric over arithmetic mean) of the median spectrum from 100 Hz.

    1 for white noise, near 0 for tones and speech. The median over time ignores what comes and goes, so that noise
    under it shows. Silent frames do not count; None if fewer than eight are left.
    """
    size = 1 << round(np.log2(_FLAT_WINDOW_S * wave.rate_hz))
    starts = _spread(len(wave.samples), size, 1 << 62)
    levels = frame_levels(wave)
    frame = len(wave.samples) / len(levels)
    heard = starts[levels[np.minimum(((starts + size // 2) / frame).astype(np.int64), len(levels) - 1)] >= silence_db]
    if len(heard) < 8:
        return None
    if len(heard) > _MAX_FRAMES:
        heard = heard[np.linspace(0, len(heard) - 1, _MAX_FRAMES).astype(np.int64)]
    hertz = np.fft.rfftfreq(size, 1 / wave.rate_hz)
    band = slice(np.searchsorted(hertz, _LOWEST_HZ), np.searchsorted(hertz, _HIGHEST_SHARE * wave.rate_hz / 2, "right"))
    lasting = _medians(spectra(wave.samples, size, heard, band)).astype(np.float64) + _TINY
    return float(np.exp(np.log(lasting).mean()) / lasting.mean())


def _medians(power: Powers) -> Powers:
    """Return the median of each column: seven times as fast as `np.median`, which parts where this sorts."""
    ranked = np.ascontiguousarray(power.T)
    ranked.sort(axis=1)
    half = len(power) // 2
    return np.asarray(ranked[:, half] if len(power) % 2 else (ranked[:, half - 1] + ranked[:, half]) / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSpectrum(Op):
    """Measures `audio_hum_db` (see `hum`) and `audio_flatness` (see `flatness`)."""

    version: ClassVar[int] = 2

    silence_db: float

    @property
    def name(self) -> str:
        """The op's name."""
        return "audio_spectrum"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        return batch.with_scores([{} if wave is None else self._measure(wave) for wave in batch.waves])

    def _measure(self, wave: Waveform) -> dict[str, float]:
        # windows of an offset would leak into the lowest lines
        level = Waveform(wave.samples - np.float32(offset(wave.samples)), wave.rate_hz)
        measured: dict[str, float] = {}
        if (lines := hum(level)) is not None:
            measured["audio_hum_db"] = lines[0]
        if (flat := flatness(level, self.silence_db)) is not None:
            measured["audio_flatness"] = flat
        return measured
