"""The lines of SubRip (SRT) and WebVTT files as segments.

WebVTT is read by its parser's rules (https://www.w3.org/TR/webvtt1/, section 6): only an empty line ends a cue, and a
line of one blank, as YouTube writes it, does not. SRT has no specification: its cues begin at lines with times, so
numbers may be missing and texts may have empty lines. Where readers differ on what a time means, it is refused.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from trichord.transforms.align.cue import Cue, SegmentsError

_TIMING = re.compile(r"\s*(-?\d[\d:.,]*)\s*-->\s*(-?\d[\d:.,]*)(?:\s.*)?")
_LIKE_TIMING = re.compile(r"\s*-?\d(?:[\d:.,\s]*|[\d.,]*:\S*\s*)-->|\s*\d+:\d\d[\d:.,]*\s*(?:[-=]+>|[–—]>|→)\s*\d+:\d")
_TWO_STAMPS = re.compile(r"""\s*["']?\d+:[\d:]*[.,]\d+["']?\W{1,8}\d+:[\d:]*[.,]\d""")
_STAMP = re.compile(r"(-?)(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?")
_NUMBER = re.compile(r"\s*#?(\d{1,9})[.:)]?\s*")
_HEADER = re.compile(r"WEBVTT(?:[ \t].*)?")
_BLOCK = re.compile(r"(?:NOTE|STYLE|REGION)(?:[ \t].*)?")
_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)
_TAG = re.compile(
    r"</?[a-zA-Z][^<>]{0,200}>"  # <i>, <font ...>, <v Ann>, <c.yellow>
    r"|<(?:\d{1,4}:)?\d\d:\d\d\.\d{3}>"  # when a word of WebVTT is said
    r"|\{\\[^{}]{0,200}\}"  # {\an8}
)
_ENTITY = re.compile(r"&(?:[a-zA-Z][a-zA-Z0-9]{1,31}|#\d{1,7}|#[xX][0-9a-fA-F]{1,6});")
_DECIMALS = 3  # at least: readers differ on whether 01,5 has 500 ms or 5 ms


def split_lines(text: str) -> list[str]:
    """Return lines, which end with LF, CR or both; other separators (U+2028, form feed) are text."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def read_srt(lines: Sequence[str]) -> Iterator[Cue]:
    """Yield the cues of an SRT file in its order.

    Raises:
        SegmentsError: a time cannot be read, or text has none.
    """
    times = [at for at, line in enumerate(lines) if _is_timing(line, at)]
    text_at = next((at for at, line in enumerate(lines) if line.strip()), None)
    if text_at is None:
        return
    if not times:
        raise SegmentsError("not SRT: no line has times, such as 00:00:01,000 --> 00:00:02,000")
    numbers = {at: _number(lines[at - 1]) for at in times if at}
    first = times[0] - (numbers.get(times[0]) is not None)
    if text_at < first:
        raise SegmentsError(f"not SRT: line {text_at + 1} comes before the first times: {lines[text_at][:50]!r}")
    last = numbers.get(times[0])
    for at, following in zip(times, [*times[1:], None], strict=True):
        end = len(lines) if following is None else following
        if following is None:
            _require_whole(lines, at, last)
        number = None if following is None or following == at + 1 else numbers[following]
        if number is not None:
            follows = last is not None and number == last + 1
            if follows or (end - 2 > at and not lines[end - 2].strip()):
                last, end = number, end - 1
        yield _cue(lines, at, lines[at + 1 : end])


def _require_whole(lines: Sequence[str], at: int, last: int | None) -> None:
    """Raise SegmentsError if the file ends with the number of a cue, whose times are missing."""
    end = next(place for place in range(len(lines) - 1, at - 1, -1) if lines[place].strip())
    cut_off = last is not None and end > at + 1 and _number(lines[end]) == last + 1 and not lines[end - 1].strip()
    if cut_off:
        raise SegmentsError(f"line {end + 1} is a number without times: the file is cut off")


def read_vtt(lines: Sequence[str]) -> Iterator[Cue]:
    """Yield the cues of a WebVTT file in its order.

    Raises:
        SegmentsError: it does not begin with WEBVTT, a time cannot be read, or text has none.
    """
    if not _HEADER.fullmatch(lines[0]):
        raise SegmentsError(f"not WebVTT: it begins with {lines[0][:50]!r}, not with WEBVTT")
    at = 1
    while at < len(lines) and lines[at] and not _is_timing(lines[at], at):
        at += 1
    while at < len(lines):
        start, timed = at, _is_timing(lines[at], at)
        at += 1
        while lines[start] and at < len(lines) and lines[at]:
            if _is_timing(lines[at], at):
                if timed or at > start + 1:
                    break
                timed = True
            at += 1
        if lines[start]:
            yield from _block(lines, start, at)


def _block(lines: Sequence[str], start: int, end: int) -> Iterator[Cue]:
    """Yield the cue of the lines before an empty line, or before the next times."""
    at = next((at for at in range(start, min(end, start + 2)) if _is_timing(lines[at], at)), None)
    ended = end == len(lines) or not lines[end]
    if _BLOCK.fullmatch(lines[start]):
        if at is not None or not ended:
            raise SegmentsError(
                f"not WebVTT: line {(end if at is None else at) + 1} has times inside a comment or style"
            )
        return
    if at is None:
        if any(line.strip() for line in lines[start:end]):
            shown = lines[start][:50]
            raise SegmentsError(f"not WebVTT: line {start + 1} has no time (an empty line ends a cue): {shown!r}")
        return
    last = end - 1  # the next cue's number, if a line of blanks is before it
    if not ended and last - 1 > at and not lines[last - 1].strip() and _number(lines[last]) is not None:
        end = last
    yield _cue(lines, at, lines[at + 1 : end])


def _is_timing(line: str, at: int) -> bool:
    """Return True if a line has times, False if it is text, which may contain an arrow.

    Raises:
        SegmentsError: it looks like times, but is not.
    """
    if ":" not in line and ">" not in line:
        return False
    if _TIMING.fullmatch(line):
        return True
    if _LIKE_TIMING.match(line) or _TWO_STAMPS.match(line):
        raise SegmentsError(f"line {at + 1} is not `start --> end`: {line.strip()[:50]!r}")
    return False


def _number(line: str) -> int | None:
    found = _NUMBER.fullmatch(line)
    return int(found[1]) if found is not None else None


def _cue(lines: Sequence[str], at: int, text: Sequence[str]) -> Cue:
    found = _TIMING.fullmatch(lines[at])
    assert found is not None
    start_s, end_s = (_seconds(stamp, at) for stamp in found.groups())
    return Cue(start_s, end_s, plain("\n".join(text)))


def _seconds(stamp: str, at: int) -> float:
    """Return the seconds of [H:]MM:SS[.mmm].

    Raises:
        SegmentsError: it is not such a time, or readers differ on what it means.
    """
    found = _STAMP.fullmatch(stamp)
    if found is None:
        raise SegmentsError(f"line {at + 1}: {stamp[:50]!r} is not a time such as 00:00:01.000")
    sign, hours, minutes, seconds, fraction = found.groups()
    if int(minutes) > 59 or int(seconds) > 59:
        raise SegmentsError(f"line {at + 1}: {stamp!r} has more than 59 minutes or seconds")
    if hours is None and fraction is None:
        raise SegmentsError(
            f"line {at + 1}: {stamp!r} may be minutes and seconds or hours and minutes; write 00:01:00.000"
        )
    if fraction is not None and len(fraction) < _DECIMALS:
        raise SegmentsError(f"line {at + 1}: {stamp!r} may be {fraction} ms or 0.{fraction} s; write three digits")
    whole = int(hours or 0) * 3_600 + int(minutes) * 60 + int(seconds)
    value = float(f"{whole}.{fraction or 0}")
    return -value if sign else value


def plain(text: str) -> str:
    """Return a cue's words, without tags and with entities as characters."""
    untagged = _TAG.sub("", _BREAK.sub(" ", text))
    return " ".join(_ENTITY.sub(lambda found: html.unescape(found[0]), untagged).split())
