"""Sounds that are the same recording: laid over each other sample by sample, every stretch agrees.

A copy may be encoded again, resampled, louder or quieter, trimmed, padded, or noisier; its waveform remains. Another
take, another pitch, another voice or one other note has another waveform, however alike it sounds or its spectrum is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trichord.transforms.batch import Waveform
from trichord.transforms.libraries import scipy
from trichord.transforms.media import resample

VERSION = 1  # raised when the same sounds would get another verdict

RATE_HZ = 8_000  # at which sounds are compared: codecs change what lies higher
MOST_S = 120.0  # only the first two minutes are compared
MOST_LAG = 0.15  # share of the longer sound by which one may begin later
LEAST_SHARED = 0.8  # share of the longer sound that the shorter has, silence aside
LEAST_LIKENESS = 0.9  # correlation of the waveforms
WINDOW = 1_024  # samples of a frame
QUIET_DB = -30.0  # differences are seen against frames that are at least this loud beside the loudest
MOST_CHANGED = 0.15  # of a frame's energy, in the frame that differs most but one, above the steady noise
MOST_STEADY = 0.004  # of the loudest frequency: a peak in what differs all the time
NOISE_FACTOR = 2.0  # noise rarely passes this many times the median of its energy
PEAK_FACTOR, NOISE_BINS = 20.0, 33  # nor this many times its median at neighbouring frequencies
SILENT = 1e-4  # of full scale

Samples = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundVerdict:
    """Whether two sounds are the same recording, how far they differ, and why they are not."""

    same: bool
    difference: float  # 1 - correlation of the waveforms
    why: str = ""


def compare_sounds(one: Waveform, other: Waveform) -> SoundVerdict:
    """Compare two sounds; the order does not matter."""
    a, b = sorted((_prepare(one), _prepare(other)), key=lambda samples: (len(samples), samples.tobytes()))
    if len(a) < WINDOW:
        return SoundVerdict(same=False, difference=1.0, why="too short to compare")
    if len(a) < LEAST_SHARED * len(b):
        return SoundVerdict(same=False, difference=1.0, why="another length")
    a, b = _overlap(a, b, _lag(a, b))
    power = float((a * a).sum() * (b * b).sum())
    likeness = float((a * b).sum() / np.sqrt(power)) if power > 0 else 0.0
    if abs(likeness) < LEAST_LIKENESS:
        return SoundVerdict(same=False, difference=1 - abs(likeness), why="another waveform")
    changed, steady = _differences(a, b)
    if changed > MOST_CHANGED or steady > MOST_STEADY:
        return SoundVerdict(same=False, difference=max(changed, 1 - abs(likeness)), why="a part sounds different")
    return SoundVerdict(same=True, difference=1 - abs(likeness))


def _differences(a: Samples, b: Samples) -> tuple[float, float]:
    """Return how much differs for a moment, as a share of a frame's energy, and how much of a peak differs steadily.

    The difference of a copy is noise: about as loud all the time, and spread over frequency. That of another beat or
    note is loud for some frames, and that of another tone all along is a peak.
    """
    gain = float((a * b).sum() / (b * b).sum())
    one, other, left = _power(a), _power(gain * b), _power(a - gain * b)
    energy = np.maximum(one.sum(axis=1), other.sum(axis=1))
    floor = 10 ** (QUIET_DB / 10) * energy.max()
    noise = left.sum(axis=1)
    moments = np.maximum(noise - NOISE_FACTOR * np.median(noise), 0) / np.maximum(energy, floor)
    usual, loud = np.median(left, axis=0), energy >= floor
    peak = (usual - PEAK_FACTOR * scipy.ndimage.median_filter(usual, NOISE_BINS, mode="nearest")).max()
    loudest = max(one[loud].mean(axis=0).max(), other[loud].mean(axis=0).max())
    return float(np.sort(moments)[-2:][0]), float(peak / loudest)


def _power(samples: Samples) -> Samples:
    """Return the power of each frame and frequency, (frames, bins)."""
    padded = np.pad(samples, (0, max(0, WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[:: WINDOW // 2]
    spectrum = scipy.fft.rfft(frames * np.hanning(WINDOW), axis=1, workers=1)
    return np.asarray(np.square(spectrum.real) + np.square(spectrum.imag))


def _prepare(wave: Waveform) -> Samples:
    """Return the samples at `RATE_HZ` without silence at the ends and without an offset."""
    cut = Waveform(wave.samples[: int(MOST_S * wave.rate_hz)], wave.rate_hz)
    samples: Samples = resample(cut, RATE_HZ).samples.astype(np.float64)
    samples -= samples.mean() if len(samples) else 0.0
    level = np.abs(samples).max(initial=0.0)
    heard = np.flatnonzero(np.abs(samples) > max(SILENT, 0.02 * level))
    return samples[heard[0] : heard[-1] + 1] if len(heard) else samples[:0]


def _lag(a: Samples, b: Samples) -> float:
    """Return by how many samples `a` begins later in `b`, in quarters: where they correlate best."""
    size = scipy.fft.next_fast_len(len(a) + len(b))
    cross = scipy.fft.rfft(b, size, workers=1) * np.conj(scipy.fft.rfft(a, size, workers=1))
    product = scipy.fft.irfft(np.pad(cross, (0, 3 * (size // 2))), 4 * size, workers=1) * 4
    reach = int(MOST_LAG * len(b)) + 1
    quarters = np.arange(-4 * reach, 4 * (reach + len(b) - len(a)))
    lags = quarters // 4
    start, stop = np.maximum(0, -lags), np.minimum(len(a), len(b) - lags)
    total_a, total_b = (np.concatenate([[0.0], np.cumsum(x * x)]) for x in (a, b))
    energy = (total_a[stop] - total_a[start]) * (total_b[stop + lags] - total_b[start + lags])
    return float(quarters[np.argmax(np.abs(product[quarters % (4 * size)]) / np.sqrt(np.maximum(energy, 1e-20)))]) / 4


def _overlap(a: Samples, b: Samples, lag: float) -> tuple[Samples, Samples]:
    """Return what both have, `b` moved by the lag's fraction of a sample: `a` at i is heard with `b` at i + lag."""
    whole = int(np.floor(lag))
    start, stop = max(0, -whole), min(len(a), len(b) - whole)
    a, b = a[start:stop], b[start + whole : stop + whole]
    size = scipy.fft.next_fast_len(2 * len(b), real=True)
    angle = 2 * np.pi * np.arange(size // 2 + 1) / size
    spectrum_a, spectrum_b = scipy.fft.rfft(a, size, workers=1), scipy.fft.rfft(b, size, workers=1)
    cross = spectrum_b * np.conj(spectrum_a)
    # Newton's step towards the largest correlation, from the quarter that is nearest
    turned = cross * np.exp(1j * angle * (lag - whole))
    slope, bend = float((-angle * turned.imag).sum()), float((angle**2 * turned.real).sum())
    part = lag - whole + (min(0.25, max(-0.25, slope / bend)) if bend > 0 else 0.0)
    return a, np.asarray(scipy.fft.irfft(spectrum_b * np.exp(1j * angle * part), size, workers=1)[: len(b)])
