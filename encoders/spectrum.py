"""Log-mel spectra of sound at 16 kHz, without BLAS: equal bits whatever the threads."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from trichord.encoders.base import AUDIO_RATE_HZ

BAND_HZ = (60.0, 7_800.0)  # from the lowest filter's lower edge to the highest one's upper edge


def log_mel(clip: np.ndarray, window: int, hop: int, bands: int) -> np.ndarray:
    """Log energies, float32 (bands, frames), of Hann windows centred every `hop` samples, block by block."""
    padded = np.pad(clip, window // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    shape = np.hanning(window + 1)[:-1].astype(np.float32)
    bank = _mel_bank(window, bands)
    blocks = []
    for start in range(0, len(frames), 2_000):
        spectrum = np.fft.rfft(frames[start : start + 2_000] * shape).T
        blocks.append(bank(spectrum.real**2 + spectrum.imag**2))
    return np.log(np.concatenate(blocks, axis=1) + np.float32(1e-4))


@lru_cache(maxsize=8)
def _mel_bank(window: int, bands: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return triangular filters evenly spaced in mel (HTK), applied by sums over bins, so without BLAS."""
    lowest, highest = (2_595 * math.log10(1 + hz / 700) for hz in BAND_HZ)
    mel = np.linspace(lowest, highest, bands + 2)
    edges_hz = 700 * (10 ** (mel / 2_595) - 1)
    bins_hz = np.fft.rfftfreq(window, 1 / AUDIO_RATE_HZ)
    first, last = np.searchsorted(bins_hz, edges_hz[[0, -1]])
    bins_hz = bins_hz[first:last]
    segment = np.searchsorted(edges_hz, bins_hz, side="right") - 1
    starts = np.searchsorted(segment, np.arange(bands + 1))
    assert len(np.unique(segment)) == bands + 1, "a mel band between two FFT bins"
    rising = ((bins_hz - edges_hz[segment]) / (edges_hz[segment + 1] - edges_hz[segment])).astype(np.float32)[:, None]

    def apply(power: np.ndarray) -> np.ndarray:
        up = np.add.reduceat(power[first:last] * rising, starts, axis=0)
        down = np.add.reduceat(power[first:last] * (1 - rising), starts, axis=0)
        return up[:-1] + down[1:]

    return apply


def by_part(series: np.ndarray, parts: int) -> np.ndarray:
    """Return means over equal parts of time, float32 (rows, parts); a frame on a border counts in both by its share."""
    frames = series.shape[1]
    borders = np.linspace(0, frames, parts + 1)
    whole = np.minimum(borders.astype(np.int64), frames - 1)
    sums = np.concatenate([np.zeros((len(series), 1)), np.cumsum(series, axis=1, dtype=np.float64)], axis=1)
    at_border = sums[:, whole] + (borders - whole) * series[:, whole]
    return (np.diff(at_border, axis=1) * (parts / frames)).astype(np.float32)
