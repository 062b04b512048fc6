"""What the canonical size does not show: drawn pictures (pages, charts, screenshots, cut-outs) in grey, larger.

Two forms that were filled in by different hands are the same at 256 pixels. So of a picture with much plain ground,
which is what lettering has around it, a larger grey copy is kept beside the signatures. Photographs have none.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trichord.transforms.batch import Image
from trichord.transforms.dedup.same_picture import content_box, grey_of, strip_frame
from trichord.transforms.libraries import cv2

VERSION = 1  # raised when the same picture would give another detail or map

SIDE, QUALITY = 1_024, 50  # the longer side in pixels, and JPEG quality
LEAST_PLAIN, PLAIN_LEVELS = 0.25, 16  # share of places without contrast, and how many levels these may span
MAP_SIDE = 64


def is_drawn(rgb: Image) -> bool:
    """Return whether much of a picture (H, W, 3) is plain ground."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    around = np.ones((3, 3), np.uint8)
    span = cv2.subtract(cv2.dilate(grey, around), cv2.erode(grey, around))
    return float((span <= PLAIN_LEVELS).mean()) >= LEAST_PLAIN


def detail_of(whole: Image, stored: Image) -> bytes | None:
    """Return a drawn picture as a grey JPEG of at most `SIDE` pixels; None if the stored one shows all there is."""
    longer = max(whole.shape[:2])
    if longer <= max(stored.shape[:2]) or not is_drawn(stored):
        return None
    scale = min(1.0, SIDE / longer)
    size = max(1, round(whole.shape[1] * scale)), max(1, round(whole.shape[0] * scale))
    grey = cv2.cvtColor(whole, cv2.COLOR_RGB2GRAY)
    if scale < 1:
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)  # thin lines must not vanish
    return bytes(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1])[1])


def read_detail(detail: bytes) -> npt.NDArray[np.uint8]:
    """Return a detail's pixels, (H, W)."""
    return np.asarray(cv2.imdecode(np.frombuffer(detail, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)


def without_ground(stored: Image, detail: bytes | None) -> Image | None:
    """Return a drawn picture without the ground around what it shows; None of a photograph."""
    rgb = strip_frame(stored)
    if detail is None and not is_drawn(rgb):
        return None
    grey = grey_of(rgb) if detail is None else strip_frame(read_detail(detail))
    y, x = rgb.shape[0] / grey.shape[0], rgb.shape[1] / grey.shape[1]
    top, left, bottom, right = content_box(grey)
    rows, columns = slice(round(y * top), round(y * bottom)), slice(round(x * left), round(x * right))
    return np.ascontiguousarray(rgb[rows, columns])


def picture_map(stored: Image, detail: bytes | None) -> bytes | None:
    """Return a drawn picture's contents, without the ground around them, on 64 x 64 places; None of a photograph.

    It ranks candidates: a copy that is cropped or framed has nearly the same map.
    """
    if detail is None and not is_drawn(stored):
        return None
    grey = grey_of(stored) if detail is None else read_detail(detail)
    grey = strip_frame(grey)
    top, left, bottom, right = content_box(grey)
    grey = grey[top:bottom, left:right]
    return cv2.resize(grey, (MAP_SIDE, MAP_SIDE), interpolation=cv2.INTER_AREA).tobytes()
