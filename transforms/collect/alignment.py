"""Check what a source says of times and boxes: segments of the sound, timed pictures, regions with text."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from trichord.infra.redaction import redact
from trichord.transforms.collect.drafts import InvalidRow
from trichord.transforms.collect.line import PictureEntry, RegionEntry, RowAlignment, SegmentEntry

SEGMENT_FORMATS = {".srt": "srt", ".vtt": "vtt", ".json": "json"}
MAX_PICTURES = 1_000  # per row: each is a file to look up


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """A row's alignment, and the files it names: "segments", "image:0", "image:1" ..."""

    alignment: RowAlignment = field(default_factory=RowAlignment)
    media: Mapping[str, str] = field(default_factory=dict)


def check_alignment(segments: object, pictures: object, regions: object) -> Aligned:
    """Check a row's times and boxes; anything may be None or empty.

    Args:
        segments: a list of {start_s, end_s, text}, or the path of an SRT, VTT or JSON file.
        pictures: a list of {start_s, end_s, image}.
        regions: a list of {box: [x, y, w, h], text}. What is wrong with one of them is kept as its `fault`, so that
            the row and its other regions stay, and that one is rejected where regions are cut.

    Raises:
        InvalidRow: something else is malformed.
    """
    found: RowAlignment = {}
    media: dict[str, str] = {}
    if isinstance(segments, str) and segments:
        found["segments_format"] = segments_format(segments)
        media["segments"] = segments
    elif segments:
        found["segments"] = [_segment(item, f"segments[{i}]") for i, item in enumerate(_list(segments, "segments"))]
    if pictures:
        listed = _list(pictures, "pictures")
        if len(listed) > MAX_PICTURES:
            raise InvalidRow(f"{len(listed)} pictures with times; the limit is {MAX_PICTURES}")
        found["pictures"] = [_picture(item, i) for i, item in enumerate(listed)]
        media |= {f"image:{i}": _string(item, "image", f"pictures[{i}]", 1) for i, item in enumerate(listed)}
    if regions:
        if not isinstance(regions, list):
            raise InvalidRow(f"regions must be a list, not {type(regions).__name__}")
        found["regions"] = [_region(item, f"regions[{i}]") for i, item in enumerate(regions)]
    return Aligned(alignment=found, media=media)


def segments_format(path: str) -> str:
    """Return the format that a subtitle file's ending means.

    Raises:
        InvalidRow: it is not a known ending.
    """
    ending = posixpath.splitext(urlsplit(path).path if "://" in path else path)[1].lower()
    if ending not in SEGMENT_FORMATS:
        raise InvalidRow(f"segments: {redact(path)[:200]!r} does not end in {', '.join(SEGMENT_FORMATS)}")
    return SEGMENT_FORMATS[ending]


def _list(value: object, name: str) -> list[Mapping[str, object]]:
    if not isinstance(value, list):
        raise InvalidRow(f"{name} must be a list, not {type(value).__name__}")
    for i, item in enumerate(value):
        if not isinstance(item, Mapping):
            raise InvalidRow(f"{name}[{i}] must be an object, not {type(item).__name__}")
    return value


def _segment(item: Mapping[str, object], name: str) -> SegmentEntry:
    start_s, end_s = _times(item, name)
    return {"start_s": start_s, "end_s": end_s, "text": _string(item, "text", name)}


def _picture(item: Mapping[str, object], at: int) -> PictureEntry:
    start_s, end_s = _times(item, f"pictures[{at}]")
    return {"start_s": start_s, "end_s": end_s, "attachment": f"image:{at}"}


def _times(item: Mapping[str, object], name: str) -> tuple[float, float]:
    start_s, end_s = (_number(item.get(part), f"{name}.{part}") for part in ("start_s", "end_s"))
    if not 0 <= start_s < end_s:
        raise InvalidRow(f"{name} goes from {start_s} s to {end_s} s")
    return start_s, end_s


def _region(item: object, name: str) -> RegionEntry:
    text = ""
    try:
        if not isinstance(item, Mapping):
            raise InvalidRow(f"{name} must be an object, not {type(item).__name__}")
        given = item.get("text")
        text = given if isinstance(given, str) else ""
        return {"box": _box(item, name), "text": _string(item, "text", name)}
    except InvalidRow as error:
        return {"box": [], "text": text, "fault": str(error)}


def _box(item: Mapping[str, object], name: str) -> list[float]:
    box = item.get("box")
    if not isinstance(box, list) or len(box) != 4:
        raise InvalidRow(f"{name}.box must be [x, y, w, h]")
    x, y, width, height = (_number(value, f"{name}.box") for value in box)
    if x < 0 or y < 0 or width <= 0 or height <= 0:
        raise InvalidRow(f"{name}.box [{x}, {y}, {width}, {height}] is not a box in a picture")
    return [x, y, width, height]


def _number(value: object, name: str) -> float:
    """Return a finite number as a float: 1 and 1.0 are the same row."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise InvalidRow(f"{name} must be a number, not {redact(str(value))[:50]!r}")
    assert math.isfinite(value)
    return float(value)


def _string(item: Mapping[str, object], part: str, name: str, least: int = 0) -> str:
    value = item.get(part)
    if not isinstance(value, str) or len(value) < least:
        raise InvalidRow(f"{name}.{part} must be a string, not {type(value).__name__}")
    return value
