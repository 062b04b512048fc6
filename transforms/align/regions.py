"""Cut rows by region: boxes with their own text become records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from trichord.infra.config import SourceBase
from trichord.transforms.align.cut_rows import MAX_PARTS, Parts, alignment_of, clash, part_of
from trichord.transforms.batch import Batch
from trichord.transforms.clean.annotate import set_label
from trichord.transforms.op import Op
from trichord.transforms.part_keys import Mark

_MAX_SIDE = 1e6  # pixels; no picture that is decoded is larger
_SHOWN_CHARS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class CutRegions(Op):
    """Cuts rows whose picture has regions with text into one row per region.

    A region becomes `<key>#r0000`, numbered in the source's order: its text and its `box` of the same raw picture, no
    sound. A malformed region is rejected, not skipped. A row without a picture is not cut, and labelled
    `regions_skipped`.
    """

    version: ClassVar[int] = 2
    fan_out: ClassVar[bool] = True

    parents: Literal["keep", "drop"]
    max_parts: int = MAX_PARTS

    @property
    def name(self) -> str:
        """The op's name."""
        return "cut_regions"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        if all(row.alignment == "{}" for row in batch.rows):
            return batch
        parts, taken = Parts(op=self.name), {(row.source, row.key) for row in batch.rows}
        for i, row in enumerate(batch.rows):
            regions = alignment_of(row).get("regions")
            if not regions or batch.raw_images[i] is None:
                parts.keep(batch, i, set_label(row, "regions_skipped", "no picture") if regions else row)
                continue
            if not isinstance(regions, list):
                parts.refuse(row, "regions_invalid", f"regions must be a list, not {type(regions).__name__}")
                continue
            if len(regions) > self.max_parts:
                detail = f"{len(regions)} regions; the limit is {self.max_parts} parts"
                parts.refuse(row, "too_many_parts", detail)
                continue
            bearer = clash(taken, row, ((Mark.REGION, n) for n in range(len(regions))))
            if bearer is not None:
                parts.refuse(row, "regions_invalid", f"another row already has the key {bearer!r} of a part")
                continue
            self._cut(batch, i, regions, parts)
        return parts.batch(batch)

    def _cut(self, batch: Batch, at: int, regions: list[object], parts: Parts) -> None:
        row = batch.rows[at]
        if self.parents == "drop":
            parts.refuse(row, "replaced_by_parts", "its parts replace it")
        else:
            parts.keep(batch, at)
        for n, region in enumerate(regions):
            text = region.get("text") if isinstance(region, Mapping) else None
            part = replace(part_of(row, Mark.REGION, n, text if isinstance(text, str) else ""), span=None)
            box, fault = _box(region)
            if text is not None and not isinstance(text, str):
                fault = f"text must be a string, not {type(text).__name__}"
            if fault or box is None:
                parts.refuse(part, "regions_invalid", fault)
            else:
                x, y = row.box[:2] if row.box is not None else (0.0, 0.0)
                parts.add(replace(part, box=(x + box[0], y + box[1], box[2], box[3])), batch.raw_images[at], None)


def _box(region: object) -> tuple[tuple[float, float, float, float] | None, str]:
    """Return a region's box (x, y, width, height), or what is wrong with it."""
    if not isinstance(region, Mapping):
        return None, f"a region must be an object, not {type(region).__name__}"
    if isinstance(fault := region.get("fault"), str):  # found where it was collected
        return None, fault[:_SHOWN_CHARS]
    box = region.get("box")
    if not isinstance(box, list) or len(box) != 4:
        return None, "box must be [x, y, w, h]"
    for value in box:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MAX_SIDE:
            return None, f"box must hold numbers of pixels, not {str(value)[:50]!r}"
    x, y, width, height = (float(value) for value in box)
    if x < 0 or y < 0 or width <= 0 or height <= 0 or not math.isfinite(width * height):
        return None, f"box [{x:g}, {y:g}, {width:g}, {height:g}] is not a box in a picture"
    return (x, y, width, height), ""


def region_ops(source: SourceBase) -> tuple[Op, ...]:
    """Return the ops that cut a source's rows by region."""
    return (CutRegions(parents=source.parents),)
