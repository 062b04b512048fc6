"""FLAC (RFC 9639): its length where the header does not know it, and joined ones taken apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from trichord.transforms.containers import ContainerError
from trichord.transforms.sound_files.tags import find_end, find_first, skip_tags

_JOINED = {b"fLaC": re.compile(rb"fLaC[\0\x80]\0\0\x22")}
_SYNC = re.compile(rb"\xff[\xf8\xf9]")
_MAX_FRAME = 1 << 20  # bytes: one of 65,535 samples, 4 channels and 32 bits that is stored as it is
_MAX_TRIES = 8  # headers at the end of a file that are tried: one that is none has passed a CRC
_TOTAL = 4 + 4 + 13  # of the byte whose lower half begins the number of samples


def read_flac(data: bytes, at: int, max_duration_s: float) -> tuple[Iterable[bytes], int]:
    """Return a FLAC that declares its number of samples, and the byte behind it.

    Raises:
        ContainerError: truncated or corrupt.
    """
    first, info = _first_frame(data, at), at + 8
    end = find_first(data, _JOINED, first)
    total = int.from_bytes(data[info + 13 : info + 18], "big") & 0xFFFFFFFFF
    if not total and first >= end:
        return [], end
    usual = data if (at, end) == (0, len(data)) else data[at:end]
    if total and next((length for length, _ in _lengths(usual, first - at, known=True)), 0) <= total:
        return [usual], end
    tag = data.rfind(b"ID3", first, end)  # before a joined one
    stop = tag if tag >= 0 and skip_tags(data, tag) == end else end
    sound = data[at:stop]
    sound = sound[: find_end(sound, first - at)]
    for length, last in _lengths(sound, first - at, known=bool(total)):
        if crc16(sound[last:-2]) == int.from_bytes(sound[-2:], "big") and 0 < length < 1 << 36:
            mixed = (sound[_TOTAL] & 0xF0) << 32 | length
            return [sound[:_TOTAL] + mixed.to_bytes(5, "big") + sound[_TOTAL + 5 :]], end
    if total:  # what looked like a frame is none
        return [usual], end
    raise ContainerError("truncated", f"of unknown length, and no whole frame ends at byte {at + len(sound)}")


def _first_frame(data: bytes, at: int) -> int:
    """Return the byte behind the metadata."""
    position, last = at + 4, False
    while not last:
        if position + 4 > len(data):
            raise ContainerError("truncated", f"metadata at byte {position} are incomplete")
        last = bool(data[position] & 0x80)
        position += 4 + int.from_bytes(data[position + 1 : position + 4], "big")
    if position > len(data):
        raise ContainerError("truncated", f"metadata of {position} bytes, holds {len(data)}")
    return position


def _lengths(data: bytes, first: int, *, known: bool) -> Iterator[tuple[int, int]]:
    """Yield the samples up to the end of each frame that may be the last, and its first byte; the last frame first.

    Raises:
        ContainerError: there is no frame, and the length is not known.
    """
    begin = _parse(data, first, int.from_bytes(data[8:10], "big"))
    if begin is None:
        if known:
            return
        raise ContainerError("truncated" if len(data) - first < 16 else "corrupt", f"no frame at byte {first}")
    for at in islice(_frames_backwards(data, first, begin.kind), _MAX_TRIES):
        if (last := _parse(data, at, begin.samples)) is not None:
            yield last.start + last.samples - begin.start, at


@dataclass(frozen=True, slots=True)
class _Frame:
    start: int  # its first sample
    samples: int
    kind: tuple[int, int, int]  # blocking and rate, channels, bits: those of all frames of a sound


def _frames_backwards(data: bytes, first: int, kind: tuple[int, int, int]) -> Iterator[int]:
    """Yield where frames of a kind may begin, the last first."""
    lowest, step, stop = max(first, len(data) - _MAX_FRAME), 1 << 14, len(data)
    while stop > lowest:
        start = max(lowest, stop - step)
        for found in reversed(list(_SYNC.finditer(data, start, min(len(data), stop + 1)))):
            frame = _parse(data, found.start(), 0)
            if found.start() < stop and frame is not None and frame.kind[::2] == kind[::2]:
                yield found.start()
        stop = start


def _parse(data: bytes, at: int, size: int) -> _Frame | None:
    """Return a frame by its header, `size` samples being in those before it; None if there is none."""
    header = data[at : at + 16]
    if len(header) < 6 or header[0] != 0xFF or header[1] & 0xFE != 0xF8 or header[3] & 1 or header[2] >> 4 == 0:
        return None
    lead = header[4]
    more = 0 if lead < 0x80 else 8 - (lead ^ 0xFF).bit_length() - 1
    if lead >= 0x80 and not 1 <= more <= 6:
        return None
    number = lead if not more else lead & (0x3F >> more)
    for byte in header[5 : 5 + more]:
        number = number << 6 | (byte & 0x3F)
    position, code, rate = 5 + more, header[2] >> 4, header[2] & 15
    extra = {6: 1, 7: 2}.get(code, 0)
    samples = {1: 192, 6: int.from_bytes(header[position : position + 1], "big") + 1}.get(code, 0)
    if code == 7:
        samples = int.from_bytes(header[position : position + 2], "big") + 1
    elif 2 <= code <= 5:
        samples = 576 << (code - 2)
    elif code >= 8:
        samples = 256 << (code - 8)
    position += extra + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if rate == 15 or position >= len(header) or crc8(header[:position]) != header[position]:
        return None
    start = number if header[1] & 1 else number * size
    return _Frame(start, samples, (header[1] << 4 | rate, header[3] >> 4, header[3] & 0x0E))


def _table(polynomial: int, bits: int) -> tuple[int, ...]:
    found = []
    for value in range(256):
        value <<= bits - 8
        for _ in range(8):
            value = (value << 1) ^ (polynomial if value >> (bits - 1) else 0)
            value &= (1 << bits) - 1
        found.append(value)
    return tuple(found)


_CRC8, _CRC16 = _table(0x07, 8), _table(0x8005, 16)


def crc8(data: bytes) -> int:
    """Return the CRC of a frame's header (RFC 9639, 9.1.8)."""
    value = 0
    for byte in data:
        value = _CRC8[value ^ byte]
    return value


def crc16(data: bytes) -> int:
    """Return the CRC of a frame (RFC 9639, 9.3)."""
    value = 0
    for byte in data:
        value = (value & 0xFF) << 8 ^ _CRC16[value >> 8 ^ byte]
    return value
