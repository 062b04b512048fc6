"""Weight-free features: the embedded default of each modality. Nothing is downloaded, nothing is learned here.

| encoder | what it measures |
|---|---|
| `HashedNgrams` | words, word pairs and parts of words, hashed (feature hashing: Weinberger et al., arXiv 0902.2206) |
| `ImageStatistics` | a thumbnail, colours by place, gradient directions by place, pairs of directions anywhere |
| `LogMelStatistics` | log-mel energies over the clip (level, spread, change, spectrum) and in 24 parts of its time |

Gradient directions by place are HOG (Dalal & Triggs 2005); pairs of them are CoHOG (Watanabe et al. 2009), which tells
round from angular anywhere in the picture.

Each vector is computed alone and without BLAS, so its bits depend neither on its neighbours nor on threads.
They are raw measurements; `fusion.Head` standardises them by the training set.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import ClassVar

import numpy as np

from trichord.encoders.base import AUDIO_RATE_HZ, Modality
from trichord.encoders.spectrum import by_part, log_mel
from trichord.encoders.words import USUAL_CHARS, word_runs
from trichord.infra import digest
from trichord.transforms.libraries import cv2

_TURN = np.arange(21) % 9  # a direction as one of nine; a table is faster than the remainder


@dataclass(frozen=True, slots=True)
class HashedNgrams:
    """Text: words and neighbouring pairs hashed into one half, parts of words (character n-grams) into the other.

    Signed hashing, 1 + ln(count) weights, each half L2-normalised. Case, width and punctuation do not matter. Where no
    blanks part words (Chinese, Thai ...) each character counts as one: see `encoders.words`.
    """

    modality: ClassVar[Modality] = "text"
    tokens: ClassVar[int] = 1
    dimension: int = 1_024
    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.dimension < 2 or self.dimension % 2:
            raise ValueError(f"dimension must be even and at least 2, not {self.dimension}")

    @property
    def fingerprint(self) -> str:
        """Digest of the algorithm's version and settings."""
        return digest.address("hashed_ngrams", self.version, self.dimension)

    def encode(self, inputs: Sequence[str]) -> np.ndarray:
        """Return features, float32 (N, dimension), of N texts; a text without a word is all zeros."""
        return _stack([self._vector(text) for text in inputs], self.dimension)

    def _vector(self, text: str) -> np.ndarray:
        runs = word_runs(text)
        half = self.dimension // 2
        words = [word for run in runs for word in run.words]
        pairs = (f"{first} {second}" for first, second in pairwise(words))
        grams = (gram for run in runs for gram in run.parts)
        return np.concatenate([_hashed([*words, *pairs], half), _hashed(grams, half)])


@lru_cache(maxsize=200_000)
def _usual_hash(gram: str) -> int:
    return _mixed_hash(gram)


def _mixed_hash(gram: str) -> int:
    # CRC-32 is fast and everywhere the same, but linear: the finaliser of splitmix64 spreads it over all bits.
    value = (zlib.crc32(gram.encode("utf-8", "surrogatepass")) + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return value ^ (value >> 31)


def _hashed(grams: Iterable[str], dimension: int) -> np.ndarray:
    found: dict[int, float] = {}
    for gram, count in Counter(grams).items():
        value = _usual_hash(gram) if len(gram) <= 2 * USUAL_CHARS else _mixed_hash(gram)
        place = (value >> 1) % dimension
        weight = 1.0 if count == 1 else 1 + math.log(count)
        found[place] = found.get(place, 0.0) + (weight if value & 1 else -weight)
    norm = math.sqrt(math.fsum(value * value for value in found.values())) or 1.0
    vector = np.zeros(dimension)
    vector[list(found)] = list(found.values())
    return (vector / norm).astype(np.float32)


@dataclass(frozen=True, slots=True)
class ImageStatistics:
    """Image: measured on a square of `SIDE` pixels into which the picture is squeezed, so that places are relative.

    Thumbnail (8 x 8, CIE Lab) + colour shares (30 colours, whole and 3 x 3 places) + gradient directions (8 x 8 places,
    9 directions) + pairs of directions at 8 distances.
    """

    modality: ClassVar[Modality] = "image"
    tokens: ClassVar[int] = 1
    dimension: ClassVar[int] = 8 * 8 * 3 + (1 + 9) * 30 + 8 * 8 * 9 + 8 * 64
    version: ClassVar[int] = 1
    SIDE: ClassVar[int] = 128

    @property
    def fingerprint(self) -> str:
        """Digest of the algorithm's version."""
        return digest.address("image_statistics", self.version)

    def encode(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Return features, float32 (N, dimension), of N pictures, uint8 (H, W, 3) RGB of any size.

        Raises:
            ValueError: a picture has another type or shape.
        """
        return _stack([self._vector(picture) for picture in inputs], self.dimension)

    def _vector(self, picture: np.ndarray) -> np.ndarray:
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise ValueError(f"a picture must be uint8 (H, W, 3), not {picture.dtype} {picture.shape}")
        square = cv2.resize(picture, (self.SIDE, self.SIDE), interpolation=cv2.INTER_AREA)
        smooth = cv2.GaussianBlur(square, (5, 5), 1.0)  # grain of the sensor or the JPEG is not a gradient
        magnitude, angle = _gradients(smooth)
        return np.concatenate([_thumbnail(square), _colours(smooth), _hog(magnitude, angle), _cohog(magnitude, angle)])


def _thumbnail(square: np.ndarray) -> np.ndarray:
    small = cv2.resize(square.astype(np.float32), (8, 8), interpolation=cv2.INTER_AREA) / np.float32(255)
    return cv2.cvtColor(small, cv2.COLOR_RGB2LAB).ravel() / np.float32(100)


def _colours(square: np.ndarray) -> np.ndarray:
    """Return square roots of the shares of 30 colours (12 hues dark or light, 6 greys), whole and by a 3 x 3 raster."""
    hue, saturation, value = cv2.split(cv2.cvtColor(square, cv2.COLOR_RGB2HSV))  # OpenCV: hue in [0, 180)
    chroma = saturation.astype(np.int32) * value
    hues = (hue.astype(np.int32) + 7) // 15 % 12 * 2 + (value > 153)
    colour = np.where(chroma < 9_754, 24 + value.astype(np.int32) * 6 // 256, hues)  # chroma below 0.15 is grey
    places = _raster(len(square), 3)
    counts = np.bincount((places * 30 + colour).ravel(), minlength=9 * 30).reshape(9, 30)
    sizes = np.bincount(places.ravel())[:, None]
    shares = np.vstack([counts.sum(0, keepdims=True) / sizes.sum(), counts / sizes])
    return np.sqrt(shares).astype(np.float32).ravel()


def _gradients(square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the magnitude and angle in [0, 2 pi), float32 (S, S), of each pixel's strongest colour channel."""
    along_x = cv2.Sobel(square, cv2.CV_32F, 1, 0)
    along_y = cv2.Sobel(square, cv2.CV_32F, 0, 1)
    power = along_x * along_x + along_y * along_y
    (x, y, most), *others = zip(*map(cv2.split, (along_x, along_y, power)), strict=True)
    for other_x, other_y, other in others:
        stronger = other > most
        x, y, most = np.where(stronger, other_x, x), np.where(stronger, other_y, y), np.where(stronger, other, most)
    angle = np.arctan2(y, x)
    return np.sqrt(most), np.where(angle < 0, angle + np.float32(2 * np.pi), angle)


def _hog(magnitude: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Return gradient mass by 8 x 8 places and 9 unsigned directions, shared between the two nearest, square-rooted."""
    position = angle * np.float32(9 / np.pi)
    lower = position.astype(np.int32)
    upper_share = position - lower
    cells = _raster(len(magnitude), 8) * 9
    mass = np.zeros(8 * 8 * 9)
    for direction, share in ((lower, 1 - upper_share), (lower + 1, upper_share)):
        mass += np.bincount((cells + _TURN[direction]).ravel(), (magnitude * share).ravel(), minlength=len(mass))
    return np.sqrt(mass / (256 * 100)).astype(np.float32)


def _cohog(magnitude: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Return how often two of 8 signed directions are 4 or 8 pixels apart, in 4 ways each, square-rooted."""
    directions = np.rint(angle * np.float32(4 / np.pi)).astype(np.uint8) & np.uint8(7)
    edges = np.where(magnitude > 60, directions, np.uint8(8))
    side, parts = len(edges), []
    for step in (4, 8):
        for down, right in ((0, step), (step, 0), (step, step), (step, -step)):
            first = edges[: side - down, max(0, -right) : side - max(0, right)]
            second = edges[down:, max(0, right) : side + min(0, right)]
            parts.append(np.bincount((first * 9 + second).ravel(), minlength=81).reshape(9, 9)[:8, :8])
    return np.sqrt(np.stack(parts) / 100).astype(np.float32).ravel()


@lru_cache(maxsize=8)
def _raster(side: int, parts: int) -> np.ndarray:
    """Return the number of each pixel's place in a square, int64 (side, side), in reading order."""
    along = np.arange(side) * parts // side
    return along[:, None] * parts + along


@dataclass(frozen=True, slots=True)
class LogMelStatistics:
    """Audio: log-mel energies of sound brought to one loudness: they describe what sounds, not how loud it was.

    Over the clip: mean, spread and spread of change of 64 bands (32 ms windows every 10 ms), long-term spectrum of 96
    bands (128 ms windows, for pitch), loudness and length. In each of 24 equal parts of its time: 32 bands and onsets.
    """

    modality: ClassVar[Modality] = "audio"
    tokens: ClassVar[int] = 1
    dimension: ClassVar[int] = 3 * 64 + 96 + 2 + 24 * (32 + 1)
    version: ClassVar[int] = 1
    PARTS: ClassVar[int] = 24

    @property
    def fingerprint(self) -> str:
        """Digest of the algorithm's version."""
        return digest.address("log_mel_statistics", self.version)

    def encode(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Return features, float32 (N, dimension), of N clips, float32 (T,) at 16 kHz, T >= 1.

        Raises:
            ValueError: a clip has another type or shape, or holds NaN or infinity.
        """
        return _stack([self._vector(clip) for clip in inputs], self.dimension)

    def _vector(self, clip: np.ndarray) -> np.ndarray:
        if clip.dtype != np.float32 or clip.ndim != 1 or not clip.size:
            raise ValueError(f"a clip must be float32 (T,), not {clip.dtype} {clip.shape}")
        loudness = math.sqrt(float(np.mean(np.square(clip, dtype=np.float64))))
        if not math.isfinite(loudness):
            raise ValueError("a clip must be finite")
        levelled = clip * np.float32(0.1 / max(loudness, 1e-4))
        mel = log_mel(levelled, 512, 160, 64)
        change = np.diff(mel, axis=1, prepend=mel[:, :1])
        onset = np.maximum(change, 0).mean(axis=0)
        halved = mel.reshape(32, 2, -1).mean(axis=1)
        return np.concatenate(
            [
                mel.mean(axis=1),
                mel.std(axis=1),
                change.std(axis=1),
                log_mel(levelled, 2_048, 1_024, 96).mean(axis=1),
                np.array([math.log(loudness + 1e-4), math.log(len(clip) / AUDIO_RATE_HZ)], np.float32),
                by_part(np.vstack([halved, onset]), self.PARTS).ravel(),
            ]
        )


def _stack(vectors: list[np.ndarray], dimension: int) -> np.ndarray:
    return np.stack(vectors) if vectors else np.zeros((0, dimension), np.float32)
