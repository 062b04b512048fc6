"""Subtitle files as segments: SubRip (SRT), WebVTT, and JSON lists, within bounds."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from trichord.infra.json_values import parse_json
from trichord.infra.packages import version

MAX_BYTES = 10_000_000
MAX_LINE = 20_000  # characters; the parsers' patterns get slow on longer ones
MAX_SEGMENTS = 20_000
MAX_TIME_S = 1e7
SUBTITLE_LIBRARIES = {"srt": version("srt"), "webvtt-py": version("webvtt-py")}
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>|\{\\[^{}]{0,200}\}")  # <i>, <font ...>, {\an8}


class SegmentsError(Exception):
    """The segments cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One segment as the source gives it: seconds and text. Its times may be wrong; see `fault`."""

    start_s: float
    end_s: float
    text: str

    @property
    def fault(self) -> str:
        """What is wrong with the times; empty if nothing is."""
        if not (math.isfinite(self.start_s) and math.isfinite(self.end_s)):
            return "a time is not a number"
        if self.start_s < 0 or self.end_s > MAX_TIME_S:
            return f"{self.start_s:g} s to {self.end_s:g} s is not within a sound"
        if self.start_s >= self.end_s:
            return f"ends at {self.end_s:g} s, starts at {self.start_s:g} s"
        return ""


def parse_segments(data: bytes, form: str) -> tuple[Cue, ...]:
    """Return the segments of a file in the format "srt", "vtt" or "json", in the file's order.

    Raises:
        SegmentsError: the file is too large or not in that format.
    """
    if len(data) > MAX_BYTES:
        raise SegmentsError(f"{len(data)} bytes of segments; the limit is {MAX_BYTES}")
    text = _decode(data)
    if form == "json":
        return cues_of(_json_list(text))
    if form not in ("srt", "vtt"):
        raise SegmentsError(f"segments in the format {form[:50]!r}; only srt, vtt and json can be read")
    lines = [line.rstrip() for line in text.splitlines()]
    if any(len(line) > MAX_LINE for line in lines):
        raise SegmentsError(f"a line of more than {MAX_LINE} characters")
    if sum("-->" in line for line in lines) > MAX_SEGMENTS:
        raise SegmentsError(f"more than {MAX_SEGMENTS} segments")
    tidy = "\n".join(line for i, line in enumerate(lines) if line or (i and lines[i - 1])) + "\n"
    return _srt(tidy) if form == "srt" else _vtt(tidy)


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


def _decode(data: bytes) -> str:
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return data.decode("utf-16")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SegmentsError(f"segments are not UTF-8: {error}") from error


def _json_list(text: str) -> object:
    try:
        value = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise SegmentsError(f"segments are not JSON: {error}") from error
    return value.get("segments") if isinstance(value, dict) else value


def _srt(text: str) -> tuple[Cue, ...]:
    import srt

    if not text.strip():
        return ()
    try:
        found = list(srt.parse(text))
    except (srt.SRTParseError, srt.TimestampParseError, ValueError, OverflowError) as error:
        raise SegmentsError(f"not SRT: {str(error)[:300]}") from error
    return _all(
        [Cue(item.start.total_seconds(), item.end.total_seconds(), _plain(item.content)) for item in found],
        len(re.findall(r"^\s*\d[^\n]{0,100}-->", text, re.MULTILINE)),  # spoken text may contain an arrow
    )


def _vtt(text: str) -> tuple[Cue, ...]:
    import webvtt
    from webvtt.errors import MalformedCaptionError, MalformedFileError

    try:
        found = webvtt.from_string(text).captions
    except (MalformedFileError, MalformedCaptionError, ValueError, OverflowError) as error:
        raise SegmentsError(f"not WebVTT: {str(error)[:300]}") from error
    return _all([Cue(_clock(item.start), _clock(item.end), _plain(item.text)) for item in found], text.count("-->"))


def _all(cues: Sequence[Cue], arrows: int) -> tuple[Cue, ...]:
    """Return the cues if each arrow has one: the parsers skip what they cannot read."""
    if arrows != len(cues):
        raise SegmentsError(f"only {len(cues)} of {arrows} segments can be read")
    return tuple(cues)


def _clock(stamp: str) -> float:
    """Return the seconds of "HH:MM:SS.mmm"."""
    hours, minutes, seconds = stamp.split(":")
    return (int(hours) * 3_600 + int(minutes) * 60) + float(seconds)


def _plain(text: str) -> str:
    return " ".join(_TAG.sub("", text).split())
