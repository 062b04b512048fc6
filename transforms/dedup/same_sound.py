"""Sounds that are the same recording: laid over each other sample by sample, every stretch agrees.

A copy may be encoded again, resampled, louder or quieter, trimmed, padded, or noisier; its waveform remains. Another
take, another pitch, another voice or one other note has another waveform, however alike it sounds or its spectrum is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from trichord.transforms.batch import Waveform
from trichord.transforms.libraries import scipy
from trichord.transforms.media import resample

VERSION = 2  # raised when the same sounds would get another verdict

RATE_HZ = 16_000  # at which sounds are compared
BLOCK_S = 120.0  # compared at a time; the first block says where they lie over each other
LAGS = 2  # tried for each sample
MOST_LAG = 0.15  # share of the longer sound by which one may begin later
LEAST_SHARED = 0.8  # share of the longer sound that the shorter has, silence aside
LEAST_LIKENESS = 0.9  # correlation of the waveforms
WINDOW = 2_048  # samples of a frame
QUIET_DB = -30.0  # differences are seen against frames that are at least this loud beside the loudest
MOST_CHANGED = 0.15  # of a frame's energy, in the frame that differs most but one, above the steady noise
MOST_LOUDER = 0.35  # the same of the loudness above 4 kHz
BANDS_HZ, MOST_IN_BAND = (0, 500, 1_000, 2_000, 4_000), 0.75  # of a band's: a consonant has less energy than its vowel
LEAST_BAND_DB = -25.0  # bands are seen against one that is at least this loud beside the loudest frame
MOST_STEADY = 0.004  # of the loudest frequency: a peak in what differs all the time
HIGH, BAND = 512, 64  # frequencies: from 4 kHz on loudness is compared, in bands of 500 Hz: codecs change waveforms
HIGHEST = 896  # 7 kHz: what lies higher is lost when a sound is resampled
NOISE_FACTOR = 2.0  # noise rarely passes this many times the median of its energy
PEAK_FACTOR, NOISE_BINS = 20.0, 33  # nor this many times its median at neighbouring frequencies
NARROW, MOST_LOST = 0.01, 0.25  # share of a frequency's power that counts as none; of all power, if a copy is narrower
TONE_DB = -24.0  # a tone is at least this loud beside the loudest
TONE_FACTOR, LOST_FACTOR = 5.0, 10.0  # times its neighbours' mean power; times the power in the sound that lost it
QUIET = 0.02  # of the highest level: what counts as silence at the ends
SILENT = 1e-4  # of full scale

Samples = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundVerdict:
    """The result of comparing two sounds: the same recording or not, the difference, and the reason."""

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
    size = int(BLOCK_S * RATE_HZ)
    lag = _lag(a[:size], b[: int((1 + MOST_LAG) * size)])
    quiet = QUIET * min(np.abs(a).max(), np.abs(b).max())
    worst = 0.0
    for start in range(0, max(1, len(a) - WINDOW), size):
        first = max(0, start + int(np.floor(lag)) - WINDOW)
        x, y = _overlap(a[start : start + size], b[first : first + size + 2 * WINDOW], lag + start - first)
        if max(np.abs(x).max(initial=0), np.abs(y).max(initial=0)) < quiet:
            continue  # minutes of silence
        found = _compare(x, y)
        if not found.same:
            return found
        worst = max(worst, found.difference)
    return SoundVerdict(same=True, difference=worst)


def _compare(a: Samples, b: Samples) -> SoundVerdict:
    """Compare what lies over each other."""
    likeness, gain = max(_likeness(a, b), _likeness(_below(a), _below(b)), key=lambda found: abs(found[0]))
    if abs(likeness) < LEAST_LIKENESS:
        return SoundVerdict(same=False, difference=1 - abs(likeness), why="another waveform")
    one, other, left = (_power(samples)[:, :HIGHEST] for samples in (a, gain * b, a - gain * b))
    width = _shared_width(one, other)
    if width is None or _lost_tone(one, other) or _lost_tone(other, one):
        return SoundVerdict(same=False, difference=max(0.0, 1 - abs(likeness)), why="a part sounds different")
    changed, steady = _differences(one, other, left[:, :HIGH])
    louder = _high_differences(one, other, width)
    in_band = _band_differences(*(_power(samples, WINDOW // 2) for samples in (a, gain * b, a - gain * b)))
    if changed > MOST_CHANGED or steady > MOST_STEADY or louder > MOST_LOUDER or in_band > MOST_IN_BAND:
        return SoundVerdict(
            same=False, difference=max(changed, louder, 1 - abs(likeness)), why="a part sounds different"
        )
    return SoundVerdict(same=True, difference=max(0.0, 1 - abs(likeness)))


def _likeness(a: Samples, b: Samples) -> tuple[float, float]:
    """Return the correlation of two sounds, and the gain of the second that fits the first best."""
    product, square = float((a * b).sum()), float((b * b).sum())
    power = float((a * a).sum()) * square
    return (product / math.sqrt(power), product / square) if power > 0 else (0.0, 0.0)


def _shared_width(one: Samples, other: Samples) -> int | None:
    """Return the number of frequencies that both have, as a copy may be narrower; None if much lies above them."""
    weak, strong = np.sort(np.stack([one.sum(axis=0), other.sum(axis=0)]), axis=0)
    weak, strong = (scipy.ndimage.uniform_filter1d(power, NOISE_BINS, mode="nearest") for power in (weak, strong))
    shared = np.flatnonzero(weak >= NARROW * strong)
    width = int(shared[-1]) + 1 if len(shared) else 0
    lost = max(float(power[:, width:].sum() / power.sum()) for power in (one, other))
    return None if lost > MOST_LOST else width if width == len(weak) else max(0, width - 2 * NOISE_BINS)


def _lost_tone(one: Samples, other: Samples) -> bool:
    """Return whether a tone of the first, (frames, bins), is missing in the second for two frames."""
    floor = 10 ** (TONE_DB / 10) * max(one.max(), other.max())
    mean = scipy.ndimage.uniform_filter1d(one, NOISE_BINS, axis=1, mode="nearest")
    heard = scipy.ndimage.maximum_filter(other, (3, 5), mode="nearest")
    lost = (one > floor) & (one > TONE_FACTOR * mean) & (one > LOST_FACTOR * heard)
    return bool((lost[1:] & scipy.ndimage.binary_dilation(lost[:-1], np.ones((1, 3)))).any())


def _differences(one: Samples, other: Samples, left: Samples) -> tuple[float, float]:
    """Return how much differs for a moment, as a share of a frame's energy, and how much of a peak differs steadily.

    The difference of a copy is noise: about as loud all the time, and spread over frequency. That of another beat or
    note is loud for some frames, and that of another tone all along is a peak. All are powers, (frames, bins); of the
    difference `left`, those below 4 kHz.
    """
    energy = np.maximum(one.sum(axis=1), other.sum(axis=1))
    floor = 10 ** (QUIET_DB / 10) * energy.max()
    moments = _moments(left.sum(axis=1), energy, floor)
    usual, loud = np.median(left, axis=0), energy >= floor
    peak = (usual - PEAK_FACTOR * scipy.ndimage.median_filter(usual, NOISE_BINS, mode="nearest")).max()
    loudest = max(one[loud].mean(axis=0).max(), other[loud].mean(axis=0).max())
    return moments, float(peak / loudest)


def _high_differences(one: Samples, other: Samples, width: int) -> float:
    """Return how much louder a high band of one is for a moment, as a share of a frame's energy."""
    if width <= HIGH:
        return 0.0
    starts = np.arange(HIGH, width, BAND)
    louder = np.abs(np.subtract(*(np.add.reduceat(power[:, :width], starts, axis=1) for power in (one, other))))
    energy = np.maximum(one.sum(axis=1), other.sum(axis=1))
    return _moments(louder.sum(axis=1), energy, 10 ** (QUIET_DB / 10) * float(energy.max()))


def _band_differences(one: Samples, other: Samples, left: Samples) -> float:
    """Return how much a band below 4 kHz differs for a moment, in waveform and in loudness: codecs change only one."""
    floor = 10 ** (LEAST_BAND_DB / 10) * np.maximum(one.sum(axis=1), other.sum(axis=1)).max()
    worst = 0.0
    for low, high in pairwise(edge * (WINDOW // 2) // RATE_HZ for edge in BANDS_HZ):
        first, second, noise = (power[:, low:high].sum(axis=1) for power in (one, other, left))
        energy = np.maximum(np.maximum(first, second), floor)
        louder = np.abs(first - second - np.median(first - second))
        changed = np.maximum(noise - NOISE_FACTOR * np.median(noise), 0)
        worst = max(worst, float(np.sort(np.sqrt(changed * louder) / energy)[-2:][0]))
    return worst


def _moments(noise: Samples, energy: Samples, floor: float) -> float:
    """Return what is above the steady noise in the frame that differs most but one, as a share of its energy."""
    moments = np.maximum(noise - NOISE_FACTOR * np.median(noise), 0) / np.maximum(energy, floor)
    return float(np.sort(moments)[-2:][0])


def _power(samples: Samples, window: int = WINDOW) -> Samples:
    """Return the power of each frame and frequency, (frames, bins)."""
    padded = np.pad(samples, (0, max(0, window - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[:: window // 2]
    spectrum = scipy.fft.rfft(frames * np.hanning(window), axis=1, workers=1)
    return np.asarray(np.square(spectrum.real) + np.square(spectrum.imag))


def _prepare(wave: Waveform) -> Samples:
    """Return the samples at `RATE_HZ` without silence at the ends and without an offset."""
    samples: Samples = resample(wave, RATE_HZ).samples.astype(np.float64)
    samples -= samples.mean() if len(samples) else 0.0
    level = np.abs(samples).max(initial=0.0)
    heard = np.flatnonzero(np.abs(samples) > max(SILENT, QUIET * level))
    return samples[heard[0] : heard[-1] + 1] if len(heard) else samples[:0]


def _below(samples: Samples) -> Samples:
    """Return what lies below 4 kHz, where codecs and rates change least."""
    spectrum = scipy.fft.rfft(samples, workers=1)
    spectrum[len(spectrum) // 2 :] = 0
    return np.asarray(scipy.fft.irfft(spectrum, len(samples), workers=1))


def _lag(a: Samples, b: Samples) -> float:
    """Return by how many samples `a` begins later in `b`, in halves: where they correlate best."""
    size = scipy.fft.next_fast_len(len(a) + len(b))
    cross = scipy.fft.rfft(b, size, workers=1) * np.conj(scipy.fft.rfft(a, size, workers=1))
    product = scipy.fft.irfft(np.pad(cross, (0, (LAGS - 1) * (size // 2))), LAGS * size, workers=1) * LAGS
    reach = int(MOST_LAG * len(b)) + 1
    steps = np.arange(-LAGS * reach, LAGS * (reach + len(b) - len(a)))
    lags = steps // LAGS
    start, stop = np.maximum(0, -lags), np.minimum(len(a), len(b) - lags)
    total_a, total_b = (np.concatenate([[0.0], np.cumsum(x * x)]) for x in (a, b))
    energy = (total_a[stop] - total_a[start]) * (total_b[stop + lags] - total_b[start + lags])
    return float(steps[np.argmax(np.abs(product[steps % (LAGS * size)]) / np.sqrt(np.maximum(energy, 1e-20)))]) / LAGS


def _overlap(a: Samples, b: Samples, lag: float) -> tuple[Samples, Samples]:
    """Return what both have, `b` moved by the lag's fraction of a sample: `a` at i is heard with `b` at i + lag."""
    whole = int(np.floor(lag))
    start, stop = max(0, -whole), min(len(a), len(b) - whole)
    a, b = a[start:stop], b[start + whole : stop + whole]
    size = scipy.fft.next_fast_len(2 * len(b), real=True)
    angle = 2 * np.pi * np.arange(size // 2 + 1) / size
    spectrum_a, spectrum_b = scipy.fft.rfft(a, size, workers=1), scipy.fft.rfft(b, size, workers=1)
    cross = spectrum_b * np.conj(spectrum_a)
    # Newton's step towards the largest correlation, from the step that is nearest
    turned = cross * np.exp(1j * angle * (lag - whole))
    slope, bend = float((-angle * turned.imag).sum()), float((angle**2 * turned.real).sum())
    part = lag - whole + (min(1 / LAGS, max(-1 / LAGS, slope / bend)) if bend > 0 else 0.0)
    return a, np.asarray(scipy.fft.irfft(spectrum_b * np.exp(1j * angle * part), size, workers=1)[: len(b)])
