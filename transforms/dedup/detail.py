"""What the canonical size does not show: drawn pictures (pages, charts, screenshots, cut-outs), larger.

Two forms that were filled in by different hands are the same at 256 pixels. So of a picture with much plain ground,
which is what lettering has around it, a larger copy is kept beside the signatures. Photographs have none.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from trichord.transforms.batch import Image
from trichord.transforms.dedup.same_picture import (
    PictureVerdict,
    compare_pictures,
    content_box,
    grey_of,
    strip_frame,
)

VERSION = 2  # raised when the same picture would give another detail or map

SIDE, QUALITY = 1_024, 50  # the longer side in pixels, and JPEG quality
FLAT_LEVELS = 4  # of ground without grain
COLOURED = 24  # levels between red, green and blue of a place that has a colour
LEAST_PLAIN, PLAIN_LEVELS = 0.25, 16  # share of places without contrast, and how many levels these may span
MAP_SIDE = 64


def is_drawn(rgb: Image, levels: int = PLAIN_LEVELS) -> bool:
    """Return whether much of a picture (H, W, 3) is plain ground, of at most so many levels."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    around = np.ones((3, 3), np.uint8)
    span = cv2.subtract(cv2.dilate(grey, around), cv2.erode(grey, around))
    return bool(np.count_nonzero(span <= levels) >= LEAST_PLAIN * span.size)


def detail_of(whole: Image, stored: Image) -> bytes | None:
    """Return a drawn picture as a JPEG of at most `SIDE` pixels; None if the stored one shows all there is.

    It is in colour if the picture is, on ground without grain: of a thin line only a copy this large shows the colour.
    """
    longer = max(whole.shape[:2])
    if longer <= max(stored.shape[:2]) or not is_drawn(stored):
        return None
    scale = min(1.0, SIDE / longer)
    size = max(1, round(whole.shape[1] * scale)), max(1, round(whole.shape[0] * scale))
    kept = cv2.resize(whole, size, interpolation=cv2.INTER_AREA) if scale < 1 else whole  # thin lines must not vanish
    red, green, blue = cv2.split(kept)
    span = cv2.subtract(cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue))
    kept = cv2.cvtColor(
        kept, cv2.COLOR_RGB2BGR if int(span.max()) > COLOURED and is_drawn(stored, FLAT_LEVELS) else cv2.COLOR_RGB2GRAY
    )
    return bytes(cv2.imencode(".jpg", kept, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1])[1])


def read_detail(detail: bytes) -> Image:
    """Return a detail's pixels, (H, W) grey or (H, W, 3) RGB."""
    image = cv2.imdecode(np.frombuffer(detail, np.uint8), cv2.IMREAD_UNCHANGED)
    return np.asarray(image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def compare_shown(one: tuple[Image, Image | None], other: tuple[Image, Image | None]) -> PictureVerdict:
    """Compare two pictures as records hold them, in colour, and drawn ones also in detail: (stored, detail) each."""
    if one[1] is None and other[1] is None:
        return compare_pictures(one[0], other[0])
    largest = [stored if detail is None else detail for stored, detail in (one, other)]
    verdicts = [compare_pictures(*map(_in_grey, largest))]
    if verdicts[0].same:
        verdicts.append(compare_pictures(one[0], other[0], only_colour=True))
    if verdicts[-1].same and any(detail is not None and detail.ndim == 3 for _, detail in (one, other)):
        verdicts.append(compare_pictures(*map(_in_colour, largest), only_colour=True))
    return max(verdicts, key=lambda verdict: (not verdict.same, verdict.difference))


def _in_colour(image: Image) -> Image:
    return image if image.ndim == 3 else np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)


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
        closer = read_detail(detail)
        grey = inside = strip_frame(closer if closer.ndim == 2 else grey_of(closer))
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
