"""Tags around sounds: ID3v1, ID3v2, APE, Lyrics3, and the zeros that tools leave beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

_ZEROS = re.compile(rb"\0*")
# how files begin that may be behind a streamed one, and the whole of it, which no sound has by chance
_JOINED = {
    b"RIFF": re.compile(rb"RIFF.{4}WAVE", re.DOTALL), b"RIFX": re.compile(rb"RIFX.{4}WAVE", re.DOTALL),
    b"RF64": re.compile(rb"RF64.{4}WAVE", re.DOTALL), b"FORM": re.compile(rb"FORM.{4}AIF[FC]", re.DOTALL),
    b".snd": re.compile(rb".snd\0\0.{2}\xff{4}", re.DOTALL),
}  # fmt: skip
_BEGINNINGS = frozenset((b"\0", b"I", b"T", b"3", b"A", b"L"))  # of zeros and tags
_WINDOW = 1 << 20  # bytes that are searched at a time
_MAX_TAGS = 1_000  # in a row
_ID3V1, _ID3V1_MORE, _APE = 128, 227, 32  # bytes


def skip_tags(data: bytes, at: int) -> int:
    """Return the byte behind the tags and zeros at `at`; the file's length where a tag is longer than the file."""
    if data[at : at + 1] not in _BEGINNINGS:
        return at
    for _ in range(_MAX_TAGS):
        found = _ZEROS.match(data, at)
        start = found.end() if found is not None else at
        at = min(_skip_one(data, start), len(data))
        if at == start:
            break
    return at


def _skip_one(data: bytes, at: int) -> int:
    mark = data[at : at + 8]
    if mark[:3] == b"ID3" and len(data) >= at + 10:
        size = sum((value & 0x7F) << shift for value, shift in zip(data[at + 6 : at + 10], (21, 14, 7, 0), strict=True))
        return at + 10 + size + (10 if data[at + 5] & 0x10 else 0)
    if mark[:4] == b"TAG+":
        return at + _ID3V1_MORE
    if mark[:3] == b"TAG":
        return at + _ID3V1
    if mark[:3] == b"3DI":
        return at + 10
    if mark == b"APETAGEX":
        size = int.from_bytes(data[at + 12 : at + 16], "little")
        return (
            at + _APE + (size if data[at + 23 : at + 24] >= b"\xa0" else 0)
        )  # bits of a header: it is one, and is there
    if mark == b"LYRICSBE":
        ends = [end for end in (data.find(b"LYRICS200", at), data.find(b"LYRICSEND", at)) if end > 0]
        return min(ends) + 9 if ends else at
    return at


def find_first(data: bytes, wholes: Mapping[bytes, re.Pattern[bytes]], start: int) -> int:
    """Return where the first of some beginnings is, from `start`; the file's length if none is there.

    Several times faster than `bytes.find`, and it looks no further than it must, so joined files cost no more.

    Args:
        data: the file.
        wholes: the whole of a beginning, by its first four bytes.
        start: first byte.
    """
    size, window = _WINDOW >> 6, start
    while window < len(data) - 3:
        stop = min(window + size + 3, len(data))
        found: list[int] = []
        for first in range(window, min(window + 4, stop - 3)):
            words = np.frombuffer(data, "<u4", (stop - first) // 4, first)
            for mark, whole in wholes.items():
                hits = words == int.from_bytes(mark, "little")
                if hits.any():
                    places = (np.flatnonzero(hits) * 4 + first).tolist()
                    found += [place for place in places if whole.match(data, place)]
        if found:
            return min(found)
        size, window = _WINDOW, window + size
    return len(data)


def skip_items(data: bytes, at: int) -> int:
    """Return the byte behind an APE tag without header that begins at `at`; `at` if there is none."""
    footer = data.find(b"APETAGEX", at)
    if footer < 0:
        return at
    size = int.from_bytes(data[footer + 12 : footer + 16], "little")
    return footer + _APE if footer + _APE - size == at else at


def find_end(data: bytes, start: int) -> int:
    """Return where a sound of unknown length ends: before another file, or before the tags at the end."""
    if (end := find_first(data, _JOINED, start)) < len(data):
        return end
    while (before := _before_one(data, end)) < end and before >= start:
        end = before
    return end


def _before_one(data: bytes, end: int) -> int:
    if data[max(0, end - _ID3V1) : end][:3] == b"TAG" and end >= _ID3V1:
        more = end - _ID3V1 - _ID3V1_MORE
        return more if more >= 0 and data[more : more + 4] == b"TAG+" else end - _ID3V1
    footer = end - _APE
    if footer >= 0 and data[footer : footer + 8] == b"APETAGEX":
        size = int.from_bytes(data[footer + 12 : footer + 16], "little")
        return end - max(_APE, size) - (_APE if data[footer + 23] & 0x80 else 0)
    if data[max(0, end - 9) : end] == b"LYRICS200" and data[end - 15 : end - 9].isdigit():
        return end - 15 - int(data[end - 15 : end - 9])
    if data[max(0, end - 9) : end] == b"LYRICSEND" and (begin := data.rfind(b"LYRICSBEGIN", 0, end)) >= 0:
        return begin
    if end >= 20 and data[end - 10 : end - 7] == b"3DI":
        values = data[end - 4 : end]
        return end - 20 - sum((value & 0x7F) << shift for value, shift in zip(values, (21, 14, 7, 0), strict=True))
    return end
