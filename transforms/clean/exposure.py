"""Grey levels of a picture: contrast, exposure, noise, and the frame around it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from trichord.transforms.libraries import cv2

GreyImage = npt.NDArray[np.uint8]  # (H, W)

DARK, BRIGHT = 16, 239  # grey levels up to, and from, which a pixel counts as nearly black or white
_LEVELS = np.arange(256.0)
_SQUARES = _LEVELS**2
_NOISE_WINDOW = 128  # pixels a side, from the middle, in which noise is measured
_NOISE_TILES = 8
# second differences both ways: blind to slopes and straight edges
_SECOND_DIFFERENCE = np.array([1, -2, 1], np.float32)
_NOISE_GAIN = 6.0  # standard deviation of what it makes of white noise of deviation 1
_FRAME_RANGE = 12  # grey levels within a uniform line, and between the lines of a frame, after JPEG


def grey_of(rgb: npt.NDArray[np.uint8]) -> GreyImage:
    """Return the luma (BT.601) of an RGB picture, uint8 (H, W)."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def exposure(grey: GreyImage) -> dict[str, float]:
    """Return `image_contrast` (deviation of the grey levels), `image_dark` and `image_bright` (shares of pixels)."""
    counts = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    total = float(grey.size)
    # whole numbers below 2^53: the sums are exact on every machine
    mean, square = float(counts @ _LEVELS) / total, float(counts @ _SQUARES) / total
    return {
        "image_contrast": math.sqrt(max(0.0, square - mean * mean)),
        "image_dark": float(counts[: DARK + 1].sum()) / total,
        "image_bright": float(counts[BRIGHT:].sum()) / total,
    }


def noise(rgb: npt.NDArray[np.uint8]) -> float:
    """Return the standard deviation of noise in grey levels (0 to 255), from at most 128 × 128 px in the middle.

    Immerkaer's fast estimate ("Fast noise variance estimation", CVIU 1996) by tile; the result is the lower quartile of
    the tiles that are neither nearly black nor nearly white, so that texture does not count as noise. Noise strong
    enough to clip at black and white (from 30 levels on) is somewhat underestimated.
    """
    height, width = rgb.shape[:2]
    top, left = max(0, (height - _NOISE_WINDOW) // 2), max(0, (width - _NOISE_WINDOW) // 2)
    window = rgb[top : top + _NOISE_WINDOW, left : left + _NOISE_WINDOW]
    if min(window.shape[:2]) < _NOISE_TILES:
        return 0.0
    grey, size = grey_of(np.ascontiguousarray(window)), (_NOISE_TILES, _NOISE_TILES)
    found = cv2.sepFilter2D(grey, cv2.CV_16S, _SECOND_DIFFERENCE, _SECOND_DIFFERENCE)
    strength = cv2.resize(np.abs(found), size, interpolation=cv2.INTER_AREA)
    level = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    strengths = strength[(level > DARK) & (level < BRIGHT)]
    values = np.sort(strengths if len(strengths) else strength, axis=None)
    return float(values[len(values) // 4]) * math.sqrt(math.pi / 2) / _NOISE_GAIN


def frame(grey: GreyImage) -> tuple[int, int, int, int]:
    """Return the picture inside a uniform frame (bars, mats): top, left, bottom, right (exclusive), in pixels.

    Lines belong to the frame, from the outside in, while each has one grey, that of the outermost. A picture that is
    uniform all over has no frame.
    """
    height, width = grey.shape
    top, bottom = _bars(grey)
    if top + bottom >= height:
        return 0, 0, height, width
    left, right = _bars(grey[top : height - bottom].T)
    if left + right >= width:
        return 0, 0, height, width
    return top, left, height - bottom, width - right


def _bars(grey: GreyImage) -> tuple[int, int]:
    """Return how many lines are uniform, from the first and from the last."""
    if not (_uniform(grey[0]) or _uniform(grey[-1])):
        return 0, 0  # most pictures
    least, most = grey.min(axis=1).astype(np.int16), grey.max(axis=1).astype(np.int16)
    return _count_leading(least, most), _count_leading(least[::-1], most[::-1])


def _uniform(line: npt.NDArray[np.uint8]) -> bool:
    if abs(int(line[0]) - int(line[len(line) // 2])) > _FRAME_RANGE:
        return False  # most lines end here, cheaply
    return int(line.max()) - int(line.min()) <= _FRAME_RANGE


def _count_leading(least: npt.NDArray[np.int16], most: npt.NDArray[np.int16]) -> int:
    """Return how many first lines together stay within the range."""
    inside = np.maximum.accumulate(most) - np.minimum.accumulate(least) <= _FRAME_RANGE
    return len(inside) if inside.all() else int(inside.argmin())
