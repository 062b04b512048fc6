"""Subtitle files as segments: SubRip (SRT), WebVTT, and JSON lists, within bounds."""

from __future__ import annotations

from trichord.infra.json_values import parse_json
from trichord.transforms.align.cue import Cue, SegmentsError
from trichord.transforms.align.cue_lines import read_srt, read_vtt, split_lines
from trichord.transforms.text_bytes import decode_text

MAX_BYTES = 10_000_000
MAX_LINE = 20_000  # characters; the parsers' patterns get slow on longer ones
MAX_SEGMENTS = 20_000


def parse_segments(data: bytes, form: str) -> tuple[Cue, ...]:
    """Return the segments of a file in the format "srt", "vtt" or "json", in the file's order.

    Raises:
        SegmentsError: the file is too large or not in that format.
    """
    if len(data) > MAX_BYTES:
        raise SegmentsError(f"{len(data)} bytes of segments; the limit is {MAX_BYTES}")
    try:
        text = decode_text(data)
    except ValueError as error:
        raise SegmentsError(f"segments are not text: {error}") from error
    if form == "json":
        return cues_of(_json_list(text))
    if form not in ("srt", "vtt"):
        raise SegmentsError(f"segments in the format {form[:50]!r}; only srt, vtt and json can be read")
    lines = split_lines(text.replace("\0", "\ufffd"))
    if any(len(line) > MAX_LINE for line in lines):
        raise SegmentsError(f"a line of more than {MAX_LINE} characters")
    if sum("-->" in line for line in lines) > MAX_SEGMENTS:
        raise SegmentsError(f"more than {MAX_SEGMENTS} segments")
    if form == "vtt" or lines[0].startswith("WEBVTT"):  # whatever its ending
        return tuple(read_vtt(lines))
    return tuple(read_srt(lines))


def cues_of(items: object) -> tuple[Cue, ...]:
    """Return segments from a list of {start_s, end_s, text}.

    Raises:
        SegmentsError: it is not such a list, or too long.
    """
    if not isinstance(items, list):
        raise SegmentsError(f"segments must be a list, not {type(items).__name__}")
    if len(items) > MAX_SEGMENTS:
        raise SegmentsError(f"{len(items)} segments; the limit is {MAX_SEGMENTS}")
    return tuple(_cue(item, i) for i, item in enumerate(items))


def _cue(item: object, at: int) -> Cue:
    if not isinstance(item, dict):
        raise SegmentsError(f"segments[{at}] must be an object, not {type(item).__name__}")
    for name in ("start_s", "end_s"):
        if name not in item:
            there = ", ".join(map(str, sorted(item)))[:200]
            raise SegmentsError(f"segments[{at}] has no {name} (it has {there or 'nothing'})")
    start_s, end_s = (number(item.get(name), f"segments[{at}].{name}") for name in ("start_s", "end_s"))
    text = item.get("text", "")
    if not isinstance(text, str):
        raise SegmentsError(f"segments[{at}].text must be a string, not {type(text).__name__}")
    return Cue(start_s, end_s, text)


def number(value: object, name: str) -> float:
    """Return a JSON number as a float.

    Raises:
        SegmentsError: it is not a number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise SegmentsError(f"{name} must be a number, not {str(value)[:50]!r}")
    return float(value)


def _json_list(text: str) -> object:
    try:
        value = parse_json(text, unique=True)
    except (ValueError, RecursionError) as error:
        raise SegmentsError(f"segments are not JSON: {error}") from error
    return value.get("segments") if isinstance(value, dict) else value
