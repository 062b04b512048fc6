"""A row's line: its source's fields without its media, as a plan stores them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from trichord.infra import digest
from trichord.infra.json_values import JsonObject
from trichord.transforms.batch import Row

_SHOWN_CHARS = 500  # of a text that a reject shows


class SegmentEntry(TypedDict):
    """A stretch of the sound and what is said in it."""

    start_s: float
    end_s: float
    text: str


class PictureEntry(TypedDict):
    """A picture with its times; `attachment` is the name of its medium, such as `image:0`."""

    start_s: float
    end_s: float
    attachment: str


class RegionEntry(TypedDict):
    """A box in the picture (x, y, width, height in pixels) and its own text; or what is wrong with it."""

    box: list[float]
    text: str
    fault: NotRequired[str]


class RowAlignment(TypedDict, total=False):
    """What a source says of times and boxes. `segments_format` is set if the segments are a file."""

    segments: list[SegmentEntry]
    segments_format: str
    pictures: list[PictureEntry]
    regions: list[RegionEntry]


class Line(TypedDict, total=False):
    """A row's fields by their meaning; what is not a row has only `raw`.

    In the index of a tar, whose members are read later, a line has `names`, and `others` for members without meaning.
    """

    text: str | None
    captions: list[str]
    group: str
    subset: str
    meta: JsonObject
    alignment: RowAlignment
    raw: str
    names: list[str]
    others: list[str]  # the first of them
    others_count: int


def row_of(key: str, line: Line, source: str, partition: str, payload: Mapping[str, object]) -> Row:
    """Make a row of its line; the payload gets the beginning of its text."""
    shown = {"text": (line.get("text") or "")[:_SHOWN_CHARS], "raw": line.get("raw", "")[:_SHOWN_CHARS]}
    return Row(
        key=key,
        source=source,
        partition=partition,
        group=line.get("group") or key,
        subset=line.get("subset", ""),
        text=line.get("text"),
        captions=tuple(line.get("captions", ())),
        meta=_encode(line.get("meta", {})),
        payload=_encode({name: text for name, text in shown.items() if text} | dict(payload)),
        alignment=_encode(line.get("alignment", {})),
    )


def _encode(value: Mapping[str, object]) -> str:
    return digest.canonical_json(value).decode()
