"""Faint watermarks: one picture is the other with thin strokes of white or black laid over it, everywhere as faint.

The model is `marked = (1 - alpha) plain + alpha ink`. Strokes that cover what is below (alpha near 1), solid areas,
small marks and those of both signs are not a watermark: they may be the difference between two items.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trichord.transforms.libraries import cv2

Grey = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

MOST_ALPHA, LEAST_ALPHA = 0.36, 0.04
MOST_SPREAD = 0.3  # of alpha inside the strokes, relative: quartile range over median
CODED = 3.0  # grey levels that coding adds to the spread
PLAIN_LEVELS = 16  # levels that places without contrast may span: elsewhere a line laid badly looks like a stroke
MOST_STROKE = 0.028  # half the width of a stroke, of the longer side
LEAST_WIDTH = 0.25  # of the mark, of the longer side
MOST_OPPOSED = 0.08  # share of the change that has the other sign
_LEAST_CHANGE = 6.0  # grey levels


def remove_mark(plain: Sequence[Grey], marked: Sequence[Grey], where: Mask) -> list[Grey] | None:
    """Return `marked` without its watermark, which lies within `where`; None if what differs is not a watermark.

    Both are luminance and, of colour pictures, two chroma channels around 128, of one shape (H, W).
    """
    below, above = plain[0], marked[0]
    change = np.asarray(cv2.blur(above - below, (3, 3)), np.float32)
    touched = where & (np.abs(change) > _LEAST_CHANGE)
    if not touched.any():
        return None
    positive = float(change[touched].clip(0).sum())
    total = float(np.abs(change[touched]).sum())
    if not (positive < MOST_OPPOSED * total or positive > (1 - MOST_OPPOSED) * total):
        return None
    ink = 255.0 if positive > total / 2 else 0.0
    room = np.abs(ink - below)
    alpha = np.where(room > 24, np.abs(change) / np.maximum(room, 1), 0).astype(np.float32)
    alpha[~touched] = 0
    strokes = touched & (room > 24)
    if not strokes.any():
        return None
    typical = float(np.percentile(alpha[strokes], 75))
    core = strokes & (alpha > 0.6 * typical)
    plain_core = core & (cv2.morphologyEx(below, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) <= PLAIN_LEVELS)
    judged = plain_core if np.count_nonzero(plain_core) > np.count_nonzero(core) / 4 else core
    low, middle, high = np.percentile(alpha[judged], (25, 50, 75))
    most_spread = MOST_SPREAD * middle + CODED / np.median(room[judged])
    if not LEAST_ALPHA < middle < MOST_ALPHA or (high - low) > most_spread:
        return None
    longer = max(below.shape)
    rows, columns = np.nonzero(core)
    if max(np.ptp(rows), np.ptp(columns)) < LEAST_WIDTH * longer:
        return None
    if cv2.distanceTransform(core.astype(np.uint8), cv2.DIST_L2, 3).max() > max(3.0, MOST_STROKE * longer):
        return None
    faint = np.minimum(alpha, np.float32(1.25 * middle))
    grounds = (ink, *[128.0] * (len(plain) - 1))
    return [(channel - faint * ground) / (1 - faint) for channel, ground in zip(marked, grounds, strict=True)]
