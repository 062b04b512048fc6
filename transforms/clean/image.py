"""Pictures: decoding to canonical size, shape, exposure, noise, frames and sharpness."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from trichord.infra.config import ImageConfig
from trichord.transforms.batch import Batch, Image, Row
from trichord.transforms.clean import annotate, exposure
from trichord.transforms.clean.sharpness import EdgeMap, edge_map
from trichord.transforms.dedup.detail import detail_of
from trichord.transforms.libraries import image_libraries
from trichord.transforms.media import MediaError, decode_image, shrink_image
from trichord.transforms.op import Op, Threshold

_MIN_CROPPED_SIDE = 16  # pixels of canonical size: a crop never leaves less


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDecode(Op):
    """Decodes raw pictures, cuts out the row's box, measures them unchanged, and shrinks them to canonical size.

    All in one op, so that a batch never holds more than one picture of full size; rows with the same raw picture share
    one decoding. A box is clipped to the picture; one outside it is `region_outside`. Measures `image_min_side` (pixels
    of the shorter side), `image_aspect` (longer over shorter side) and `image_noise` (see `exposure.noise`). Afterwards
    the longer side is at most `side`.
    """

    version: ClassVar[int] = 5

    max_bytes: int
    max_pixels: int
    side: int
    details: bool = False  # keep what dedup needs of a drawn picture (dedup/detail.py)

    @property
    def name(self) -> str:
        """The op's name."""
        return "image_decode"

    def libraries(self) -> Mapping[str, str]:
        """Return the libraries that decode pictures."""
        return image_libraries()

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        rows, images, details = list(batch.rows), list(batch.images), list(batch.details)
        measured, refused = [dict[str, float]() for _ in batch.rows], dict[int, tuple[str, str]]()
        for raw, sharing in _pictures(batch):
            try:
                whole = decode_image(raw, max_pixels=self.max_pixels, max_bytes=self.max_bytes)
            except MediaError as error:
                refused |= dict.fromkeys(sharing, (error.reason, error.detail))
                continue
            for i in sharing:
                part = whole
                if (box := rows[i].box) is not None:
                    found = _clip(box, whole)
                    if found is None:
                        height, width = whole.shape[:2]
                        refused[i] = ("region_outside", f"box {box} of a picture of {width} × {height} pixels")
                        continue
                    (left, top, right, bottom), rows[i] = found, _note_clip(rows[i], found)
                    part = whole[top:bottom, left:right]
                short, long = sorted(part.shape[:2])
                measured[i] = {
                    "image_min_side": float(short),
                    "image_aspect": long / short,
                    "image_noise": exposure.noise(part),
                }
                images[i] = small = np.ascontiguousarray(shrink_image(part, self.side))
                details[i] = detail_of(part, small) if self.details else None
        decoded = replace(
            batch, rows=tuple(rows), images=tuple(images), details=tuple(details), raw_images=(None,) * len(batch)
        )
        return decoded.with_scores(measured).reject(refused, self.name)


def _pictures(batch: Batch) -> Iterator[tuple[bytes, list[int]]]:
    """Yield each raw picture once, with the positions of the rows that share the same object."""
    sharing: dict[int, list[int]] = {}
    for i, raw in enumerate(batch.raw_images):
        if raw is not None:
            sharing.setdefault(id(raw), []).append(i)
    for positions in sharing.values():
        raw = batch.raw_images[positions[0]]
        if raw is not None:
            yield raw, positions


def _clip(box: tuple[float, float, float, float], rgb: Image) -> tuple[int, int, int, int] | None:
    """Return left, top, right, bottom in whole pixels inside the picture; None if nothing is left."""
    height, width = rgb.shape[:2]
    x, y, w, h = box
    if not all(map(math.isfinite, box)):
        return None
    left, right = (min(max(round(at), 0), width) for at in (x, x + w))
    top, bottom = (min(max(round(at), 0), height) for at in (y, y + h))
    return (left, top, right, bottom) if left < right and top < bottom else None


def _note_clip(row: Row, cut: tuple[int, int, int, int]) -> Row:
    """Return the row, with a change if the box reached beyond the picture."""
    x, y, w, h = row.box or (0.0, 0.0, 0.0, 0.0)
    left, top, right, bottom = cut
    if max(abs(left - x), abs(top - y), abs(right - x - w), abs(bottom - y - h)) < 1:
        return row
    before, after = f"{x:g},{y:g},{w:g},{h:g}", f"{left},{top},{right - left},{bottom - top}"
    return annotate.with_changes(row, [annotate.change("image_decode", "box", before, after)])


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMeasure(Op):
    """Measures decoded pictures from one grey copy of each; may first cut a frame off.

    Scores: `image_border` (share of the picture that is a uniform frame), `image_contrast`, `image_dark`,
    `image_bright` (see `exposure`), `image_sharpness` (edge widths along the longer side) and `image_blurred_share`
    (blurred tiles over tiles with edges). The label `image_blur_map` says which tiles are blurred.
    """

    version: ClassVar[int] = 1

    tiles: int
    min_sharpness: float
    crop_border: float | None  # larger frames are cut off; None: never

    @property
    def name(self) -> str:
        """The op's name."""
        return "image_measure"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        rows, images, measured = list(batch.rows), list(batch.images), [dict[str, float]() for _ in batch.rows]
        for i, rgb in enumerate(batch.images):
            if rgb is None:
                continue
            grey = exposure.grey_of(rgb)
            inside = exposure.frame(grey)
            border = 1 - _area(inside) / grey.size
            if self.crop_border is not None and border > self.crop_border and (cut := _cut(rgb, inside)) is not None:
                images[i], rows[i] = cut, _note_crop(rows[i], self.name, rgb, inside)
                grey = exposure.grey_of(cut)
            edges = edge_map(grey, self.tiles)
            share = edges.blurred_share(self.min_sharpness)
            measured[i] = exposure.exposure(grey) | {
                "image_border": border,
                "image_sharpness": edges.whole,
                "image_blurred_share": share,
            }
            rows[i] = _label_blur(rows[i], edges, self.min_sharpness, share)
        return replace(batch, rows=tuple(rows), images=tuple(images)).with_scores(measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSharpRegion(Op):
    """Crops pictures with more than `max_blurred_share` blurred to their largest sharp rectangle.

    It does so only if that keeps `min_sharp_share` of the picture; `image_blurred_share` and the map are then the
    crop's. A picture that cannot be cropped keeps its score.
    """

    version: ClassVar[int] = 1

    tiles: int
    min_sharpness: float
    max_blurred_share: float
    min_sharp_share: float

    @property
    def name(self) -> str:
        """The op's name."""
        return "image_sharp_region"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        rows, images, measured = list(batch.rows), list(batch.images), [dict[str, float]() for _ in batch.rows]
        for i, (rgb, scores) in enumerate(zip(batch.images, batch.scores, strict=True)):
            if rgb is None or scores.get("image_blurred_share", 0.0) <= self.max_blurred_share:
                continue
            region = edge_map(exposure.grey_of(rgb), self.tiles).sharp_region(self.min_sharpness)
            height, width = rgb.shape[:2]
            top, left, bottom, right = (
                round(edge * length / self.tiles)
                for edge, length in zip(region, (height, width, height, width), strict=True)
            )
            inside = top, left, bottom, right
            cut = _cut(rgb, inside)
            if cut is None or _area(inside) < self.min_sharp_share * height * width:
                continue
            images[i], rows[i] = cut, _note_crop(rows[i], self.name, rgb, inside)
            edges = edge_map(exposure.grey_of(cut), self.tiles)
            share = edges.blurred_share(self.min_sharpness)
            measured[i] = {"image_blurred_share": share}
            rows[i] = _label_blur(rows[i], edges, self.min_sharpness, share)
        return replace(batch, rows=tuple(rows), images=tuple(images)).with_scores(measured)


def _area(inside: tuple[int, int, int, int]) -> int:
    top, left, bottom, right = inside
    return (bottom - top) * (right - left)


def _cut(rgb: Image, inside: tuple[int, int, int, int]) -> Image | None:
    """Return the part of a picture; None if it is too small."""
    top, left, bottom, right = inside
    if min(bottom - top, right - left) < _MIN_CROPPED_SIDE:
        return None
    return np.ascontiguousarray(rgb[top:bottom, left:right])


def _note_crop(row: Row, op: str, rgb: Image, inside: tuple[int, int, int, int]) -> Row:
    """Return the row with the crop recorded as x, y, width, height in pixels of canonical size."""
    top, left, bottom, right = inside
    before, after = f"0,0,{rgb.shape[1]},{rgb.shape[0]}", f"{left},{top},{right - left},{bottom - top}"
    return annotate.with_changes(row, [annotate.change(op, "image", before, after)])


def _label_blur(row: Row, edges: EdgeMap, least: float, share: float) -> Row:
    """Return the row, labelled with its blur map if a tile is blurred."""
    text = edges.text(least) if share else None
    return row if text is None and not row.labels else annotate.set_label(row, "image_blur_map", text)


def image_ops(config: ImageConfig, *, details: bool = False) -> tuple[Op, ...]:
    """Return the ops on pictures, in order, without thresholds that have no value; `details` are kept for dedup."""
    least = config.min_sharpness or 0.0
    cropping = config.borders == "crop"
    ops: list[Op | None] = [
        ImageDecode(max_bytes=config.max_bytes, max_pixels=config.max_pixels, side=config.side, details=details),
        Threshold(score="image_min_side", reason="image_too_small", least=config.min_side),
        Threshold(score="image_aspect", reason="image_aspect", most=config.max_aspect),
        _at_most("image_noise", "image_noisy", config.max_noise),
        ImageMeasure(
            tiles=config.sharpness_tiles, min_sharpness=least, crop_border=config.max_border if cropping else None
        ),
        _at_most("image_border", "image_border", config.max_border if config.borders == "reject" else None),
        _at_least("image_contrast", "image_blank", config.min_contrast),
        _at_most("image_dark", "image_dark", config.max_dark),
        _at_most("image_bright", "image_bright", config.max_bright),
        _at_least("image_sharpness", "image_blurred", config.min_sharpness),
    ]
    if config.partial_blur == "crop":
        ops.append(
            ImageSharpRegion(
                tiles=config.sharpness_tiles,
                min_sharpness=least,
                max_blurred_share=config.max_blurred_share,
                min_sharp_share=config.min_sharp_share,
            )
        )
    if config.partial_blur != "keep":
        ops.append(_at_most("image_blurred_share", "image_partly_blurred", config.max_blurred_share))
    return tuple(op for op in ops if op is not None)


def _at_least(score: str, reason: str, value: float | None) -> Threshold | None:
    return None if value is None else Threshold(score=score, reason=reason, least=value)


def _at_most(score: str, reason: str, value: float | None) -> Threshold | None:
    return None if value is None else Threshold(score=score, reason=reason, most=value)
