"""The colour of thin lines and small letters: of how much colour there is, not of how it lies.

A line of two pixels loses its colour to its surroundings: JPEG keeps half the resolution of colours or less, and a
smaller copy mixes it with the ground. But the sum over line and surroundings stays. So on plain ground the mean of both
chroma channels around ink is compared, beside the mean of the ink itself: black and brown lines differ, copies hardly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trichord.transforms.libraries import cv2

Grey = npt.NDArray[np.float32]  # (H, W)
Mask = npt.NDArray[np.bool_]

THIN = 15  # pixels: what is gone in a median of this width is ink, and the median is its ground
EDGE, REACH = 8, 17  # levels between neighbours of one ground; pixels over which coding spreads the colour of another
INK = 12  # levels from the ground
AROUND, STEP = 8.0, 4  # pixels: sigma of the means, and how far they are apart
LEAST_INK, LEAST_GROUND = 1.0, 0.1  # mean levels, and share of ground without ink
PALER = 0.25  # share of its colour that a line on white may lose: what spreads onto white is cut
OF_COLOUR, OF_INK, LEAST = 0.08, 0.03, 0.3  # what copies differ in besides: of the colour, of the ink, and levels


def compare_ink(a: Sequence[Grey], b: Sequence[Grey], inside: Mask) -> float:
    """Return by how much the colour of ink differs where it differs most: from 1 on it is another colour.

    Both are luminance and, of colour pictures, two chroma channels of one shape (H, W), laid over each other; `inside`
    is where both show something. Without ink on plain ground, and of grey pictures, it is 0.
    """
    if len(a) == 1:
        return 0.0
    around = np.ones((3, 3), np.uint8)
    mean_ink = np.zeros(inside.shape, np.float32)
    plain = inside.copy()
    for planes in (a, b):
        grounds = [cv2.medianBlur(cv2.convertScaleAbs(plane), THIN) for plane in planes]
        mean_ink += cv2.absdiff(planes[0], grounds[0].astype(np.float32)) / 2
        for ground in grounds:
            plain &= cv2.morphologyEx(ground, cv2.MORPH_GRADIENT, around) <= EDGE
    plain = cv2.erode(plain.astype(np.uint8), np.ones((REACH, REACH), np.uint8)) > 0
    mean_ink *= plain
    inked = cv2.dilate((mean_ink > INK).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    bare = plain & ~inked
    share, ink, of_plain = _mean(bare) + np.float32(1e-6), _mean(mean_ink), _mean(plain)
    seen = (share > LEAST_GROUND) & (ink > LEAST_INK)
    if not seen.any():
        return 0.0
    one, other = (
        [(_mean(plane * plain) - _mean(plane * bare) / share * of_plain)[seen] for plane in planes[1:]]
        for planes in (a, b)
    )
    strength = [np.hypot(*mean) for mean in (one, other)]
    colour = np.maximum(*strength) + np.float32(1e-6)
    dot, cross = one[0] * other[0] + one[1] * other[1], one[0] * other[1] - one[1] * other[0]
    lost = np.maximum(colour - dot / colour - PALER * colour, 0)
    return float((np.hypot(lost, cross / colour) / (OF_COLOUR * colour + OF_INK * ink[seen] + LEAST)).max())


def _mean(plane: npt.NDArray[Any]) -> Grey:
    """Return the mean around every fourth pixel."""
    height, width = plane.shape
    size = max(1, width // STEP), max(1, height // STEP)
    smaller = cv2.resize(plane.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(smaller, (0, 0), AROUND / STEP), np.float32)
