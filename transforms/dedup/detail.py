"""What the canonical size does not show: drawn pictures (pages, charts, screenshots, cut-outs) in grey, larger.

Two forms that were filled in by different hands are the same at 256 pixels. So of a picture with much plain ground,
which is what lettering has around it, a larger grey copy is kept beside the signatures. Photographs have none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trichord.transforms.batch import Image
from trichord.transforms.dedup.same_picture import (
    PictureVerdict,
    compare_pictures,
    content_box,
    grey_of,
    strip_frame,
)
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
    return bool(np.count_nonzero(span <= PLAIN_LEVELS) >= LEAST_PLAIN * span.size)


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


def compare_shown(one: tuple[Image, Image | None], other: tuple[Image, Image | None]) -> PictureVerdict:
    """Compare two pictures as records hold them, in colour, and drawn ones also in detail: (stored, detail) each."""
    if one[1] is None and other[1] is None:
        return compare_pictures(one[0], other[0])
    largest = [stored if detail is None else detail for stored, detail in (one, other)]
    closer = compare_pictures(*map(_in_grey, largest))
    if not closer.same:
        return closer
    found = compare_pictures(one[0], other[0], only_colour=True)
    return found if not found.same or found.difference > closer.difference else closer


def _in_grey(image: Image) -> Image:
    return image if image.ndim == 2 else grey_of(image)


@dataclass(frozen=True, slots=True)
class Contents:
    """A picture without its frame and, of a drawn one, without the ground around what it shows.

    `map` is what a drawn picture shows on 64 x 64 places. It ranks candidates: a copy that is cropped or framed has
    nearly the same map.
    """

    stripped: Image
    inner: Image | None
    map: bytes | None


def contents_of(stored: Image, detail: bytes | None) -> Contents:
    """Return a picture's contents; its frame, if any, is looked for once."""
    stripped = strip_frame(stored)
    whole = stripped.shape == stored.shape
    if detail is not None:
        grey = inside = strip_frame(read_detail(detail))
        drawn = drawn_inside = True
    else:
        grey, drawn = grey_of(stored), is_drawn(stored)
        inside, drawn_inside = (grey, drawn) if whole else (grey_of(stripped), is_drawn(stripped))
    inner, shown = None, None
    if drawn:
        grey = grey if detail is not None else strip_frame(grey)
        box = top, left, bottom, right = content_box(grey)
        shown = cv2.resize(grey[top:bottom, left:right], (MAP_SIDE, MAP_SIDE), interpolation=cv2.INTER_AREA).tobytes()
    if drawn_inside:
        same = drawn and (detail is not None or (whole and grey.shape == inside.shape))
        inner = _cut(stripped, box if same else content_box(inside), inside.shape)
    return Contents(stripped, inner, shown)


def _cut(rgb: Image, box: tuple[int, int, int, int], shape: tuple[int, ...]) -> Image:
    """Return what lies in a box of a copy of this shape."""
    y, x = rgb.shape[0] / shape[0], rgb.shape[1] / shape[1]
    rows, columns = slice(round(y * box[0]), round(y * box[2])), slice(round(x * box[1]), round(x * box[3]))
    return np.ascontiguousarray(rgb[rows, columns])
