"""Hashes of pictures and sounds that copies share: what finds candidates, which are then compared themselves.

A picture's hash holds the signs of the low frequencies of its luminance, 32 x 32 (pHash: Zauner 2010, "Implementation
and Benchmarking of Perceptual Image Hash Functions"). A sound's holds the signs of random projections (Charikar 2002,
"Similarity Estimation Techniques from Rounding Algorithms") of its loudest mel bands: over the whole sound, which
trimming leaves as they are, and over eight parts of it. Maps hold whole numbers and sums of whole numbers are exact in
float64, so equal maps give equal bits on any machine.

A hash has 8 coarse bytes (8 x 8 frequencies; the whole sound), 32 fine ones (16 x 16 frequencies; the parts), and then
a picture's colour (32 bytes) or a sound's length (4 bytes, milliseconds).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from trichord.infra.digest import generator
from trichord.transforms.batch import Image, Samples, Waveform
from trichord.transforms.libraries import cv2, scipy

VERSION = 3  # raised when the same medium would give another hash

SIDE, COARSE, FINE = 32, 8, 16
COARSE_BYTES, FINE_BYTES = COARSE * COARSE // 8, FINE * FINE // 8
HASH_BYTES = COARSE_BYTES + FINE_BYTES
COLOUR_SIDE = 4
COLOUR_BYTES = COLOUR_SIDE * COLOUR_SIDE * 2
LENGTH_BYTES = 4
FLAT_LUMINANCE = 1.5  # standard deviation of the map below which a picture has nothing to compare
FLAT_STEPS = 2.0  # the same of a sound's map, in steps
STEP_DB, FLOOR_DB = 0.5, 40.0  # the map's unit, and how far below the loudest cell it ends
MEL_HZ = (80.0, 7_000.0)
HASHED_BANDS = 24  # up to about 4 kHz: what a narrow copy keeps
LOUD_STEPS = 50  # below the loudest: what light noise does not reach
PARTS, PART_SLICES = 8, 6  # slices of a part; parts overlap
HEARD = 0.02  # of the peak
_WINDOW_S = 0.032
_BLOCK_FRAMES = 2_048  # spectra held at a time

Map = npt.NDArray[np.float64]  # (SIDE, SIDE) of whole numbers


def image_hash(rgb: Image) -> bytes | None:
    """Return the hash of a picture (72 bytes); None if it has only one shade."""
    # down to one half, linear averages all there is; from there on a pixel is the mean of four, which is fast
    way = cv2.INTER_AREA if max(rgb.shape[:2]) > 8 * SIDE else cv2.INTER_LINEAR
    small = cv2.resize(rgb, (4 * SIDE, 4 * SIDE), interpolation=way)
    for size in (2 * SIDE, SIDE):
        small = cv2.resize(small, (size, size), interpolation=cv2.INTER_AREA)
    luminance_chroma = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb)
    grid: Map = luminance_chroma[:, :, 0].astype(np.float64)
    mean = grid.sum() / grid.size
    if np.square(grid - mean).sum() < FLAT_LUMINANCE**2 * grid.size:
        return None
    coarse = cv2.resize(luminance_chroma, (COLOUR_SIDE, COLOUR_SIDE), interpolation=cv2.INTER_AREA)
    shades = np.asarray(coarse[:, :, 1:], np.uint8).tobytes()
    return _signs(grid) + shades


def audio_hash(wave: Waveform) -> bytes | None:
    """Return the hash of a sound (44 bytes); None if it is silent, too short or too even to compare."""
    grid = spectrogram(_heard(wave))
    if grid is None or grid.std() < FLAT_STEPS:
        return None
    loud = np.clip(grid[:HASHED_BANDS] - (grid.max() - LOUD_STEPS), 0, None)  # (HASHED_BANDS, SIDE)
    whole = loud.sum(axis=1)
    parts = np.stack([loud[:, start : start + PART_SLICES].sum(axis=1) for start in range(0, SIDE, SIDE // PARTS)])
    bits = [_projections(len(values), count) @ (len(values) * values - values.sum()) > 0
            for values, count in ((whole, 8 * COARSE_BYTES), (parts.ravel(), 8 * FINE_BYTES))]  # fmt: skip
    return np.packbits(np.concatenate(bits)).tobytes() + round(wave.duration_s * 1_000).to_bytes(LENGTH_BYTES, "little")


def _heard(wave: Waveform) -> Waveform:
    """Return the sound without silence at its ends."""
    level = np.abs(wave.samples)
    heard = np.flatnonzero(level > HEARD * level.max(initial=0.0))
    return Waveform(wave.samples[heard[0] : heard[-1] + 1], wave.rate_hz) if len(heard) else wave


@lru_cache(maxsize=4)
def _projections(size: int, count: int) -> npt.NDArray[np.float64]:
    """Return random rows of -1 and 1, (count, size)."""
    return generator("dedup", "projections", size).choice(np.array([-1.0, 1.0]), (count, size))


def spectrogram(wave: Waveform) -> Map | None:
    """Return mel bands by slices of time, in steps of `STEP_DB` above the floor; None for silence or under 2 windows.

    Slices overlap by half and end at fractions of a frame, so a small shift changes little.
    """
    window = 1 << round(np.log2(_WINDOW_S * wave.rate_hz))
    hop = window // 2
    frames = (len(wave.samples) - window) // hop + 1
    if frames < 2:
        return None
    energy = np.cumsum(np.concatenate([np.zeros((1, SIDE)), _band_energy(wave.samples, wave.rate_hz, window)]), axis=0)
    width = frames / SIDE
    first = np.clip(np.arange(SIDE) - 0.5, 0, None) * width
    last = np.clip(np.arange(SIDE) + 1.5, None, SIDE) * width
    mean = (_at(energy, last) - _at(energy, first)) / (last - first)[:, None]
    loudest = mean.max()
    if loudest < 1e-10:
        return None
    level_db = 10 * np.log10(np.maximum(mean / loudest, 10 ** (-FLOOR_DB / 10)))
    steps: Map = np.rint((level_db + FLOOR_DB) / STEP_DB).T
    return steps


def _band_energy(samples: Samples, rate_hz: int, window: int) -> npt.NDArray[np.float64]:
    """Return the energy of each frame in each mel band, (frames, SIDE)."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[:: window // 2]
    taper = np.hanning(window + 1)[:-1].astype(np.float32)
    edges = _band_edges(rate_hz, window)
    parts = []
    for start in range(0, len(frames), _BLOCK_FRAMES):
        spectrum = scipy.fft.rfft(frames[start : start + _BLOCK_FRAMES] * taper, workers=1)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        total = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1, dtype=np.float64)
        parts.append(total)
    return np.concatenate(parts)


@lru_cache(maxsize=8)
def _band_edges(rate_hz: int, window: int) -> npt.NDArray[np.int64]:
    """Return the first bin of each mel band and the end of the last, (SIDE + 1,); every band has its own bin."""
    low, high = MEL_HZ[0], min(MEL_HZ[1], 0.45 * rate_hz)
    mel = np.linspace(1_127 * np.log1p(low / 700), 1_127 * np.log1p(high / 700), SIDE + 1)
    bins = np.rint(700 * np.expm1(mel / 1_127) * window / rate_hz).astype(np.int64)
    for i in range(1, len(bins)):
        bins[i] = max(bins[i], bins[i - 1] + 1)
    return bins


def _at(cumulated: npt.NDArray[np.float64], places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return rows of `cumulated` at fractional places, linear in between."""
    below = np.minimum(places.astype(np.int64), len(cumulated) - 2)
    share = (places - below)[:, None]
    between: npt.NDArray[np.float64] = cumulated[below] * (1 - share) + cumulated[below + 1] * share
    return between


@lru_cache(maxsize=1)
def _cosines() -> npt.NDArray[np.float64]:
    """Return rows of the DCT-II, scaled to whole numbers, (FINE, SIDE): sums of products stay below 2^53."""
    k, n = np.arange(FINE)[:, None], np.arange(SIDE)[None, :]
    rows: npt.NDArray[np.float64] = np.rint(np.cos(np.pi * k * (2 * n + 1) / (2 * SIDE)) * 4_096)
    return rows


def _signs(grid: Map) -> bytes:
    """Return whether each low frequency of a map is above their median: coarse bits, then fine ones."""
    frequencies = _cosines() @ grid @ _cosines().T
    coarse = frequencies[:COARSE, :COARSE].ravel()
    fine = frequencies.ravel()
    return np.packbits(coarse > _median(coarse)).tobytes() + np.packbits(fine > _median(fine)).tobytes()


def _median(values: npt.NDArray[np.float64]) -> float:
    half = len(values) // 2
    parted = np.partition(values, (half - 1, half))
    return float((parted[half - 1] + parted[half]) / 2)
