"""Compare what a media file declares with the bytes it holds.

Decoders accept truncated files: of 60 cut ones of each kind, 60 WAV, 50 MP3 and 30 OGG files decoded "successfully". So
the container is walked first.

| container | truncation is found by | damage is found by |
|---|---|---|
| JPEG, TIFF, BMP | Pillow | Pillow (more than 500 JPEG scans are a bomb) |
| PNG | chunk lengths, IEND | CRC of every chunk |
| GIF | block structure, trailer | block structure |
| WebP | RIFF length | chunk structure |
| WAV | `data` and RIFF length | `fmt ` consistent with itself |
| FLAC | libFLAC | libFLAC, by the CRC of every frame |
| Ogg | last page complete and marked as end of stream | CRC of every page |
| MP3 | last frame complete, Xing, Info or VBRI frame count | chain of frame headers |
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Literal

MAX_JPEG_SCANS = 500  # encoders write about ten; each scan costs a pass over all coefficients
MAX_GIF_COMMENTS = 4_096  # blocks of at most 255 bytes
_JPEG_SCAN = re.compile(rb"\xff\xda")  # much faster than bytes.count where 0xff is frequent
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # besides those among the pixels

Fault = Literal["truncated", "corrupt", "format", "bomb", "too_long"]


class ContainerError(Exception):
    """The bytes are not what their container declares; `fault` is the second half of the reason code."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def check_image(data: bytes) -> None:
    """Walk a PNG, GIF, WebP or JPEG; other formats pass (Pillow finds their faults).

    Raises:
        ContainerError: truncated, corrupt or bomb.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        _check_png(data)
    elif data[:4] == b"GIF8":
        _check_gif(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        if _u32(data, 4) + 8 > len(data):
            raise ContainerError("truncated", f"declares {_u32(data, 4) + 8} bytes, holds {len(data)}")
    elif data[:3] == b"\xff\xd8\xff" and (scans := len(_JPEG_SCAN.findall(data))) > MAX_JPEG_SCANS:
        raise ContainerError("bomb", f"{scans} scans; the limit is {MAX_JPEG_SCANS}")


def check_comments(data: bytes) -> None:
    """Count the blocks of comments before a GIF's first frame: Pillow joins them one by one as it opens the file.

    Raises:
        ContainerError: bomb.
    """
    if data[:4] != b"GIF8" or len(data) < 13:
        return
    at, blocks = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0), 0
    while at + 2 < len(data) and data[at] != 0x2C:
        if data[at] != 0x21:
            at += 1  # as Pillow does, which looks for the next mark
            continue
        comment, at = data[at + 1] == 0xFE, at + 2
        while at < len(data) and (size := data[at]):
            at, blocks = at + size + 1, blocks + comment
        at += 1
        if blocks > MAX_GIF_COMMENTS:
            raise ContainerError("bomb", f"more than {MAX_GIF_COMMENTS} blocks of comments")


def plain_jpeg(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a plain JPEG; None for any other.

    Plain is one baseline scan of 8-bit grey or colour with its tables, preceded by at most JFIF and a colour profile
    (so nothing rotates the picture), and followed by the end of the file.
    """
    at, size = 2, None
    while at + 4 <= len(data) and data[at] == 0xFF:
        name, start, length = data[at + 1], at + 4, int.from_bytes(data[at + 2 : at + 4], "big") - 2
        at = start + length
        if length < 1 or at > len(data):
            return None
        if name == 0xDA:
            end = _JPEG_MARKER.search(data, at)
            return size if end is not None and end.start() == len(data) - 2 and data[-1] == 0xD9 else None
        if name == 0xC0:
            if size is not None or data[start] != 8 or (length, data[start + 5]) not in ((9, 1), (15, 3)):
                return None
            height, width = struct.unpack_from(">HH", data, start + 1)
            size = width, height
        elif name == 0xDB:
            if length % 65 or any(data[table] >> 4 for table in range(start, at, 65)):
                return None
        elif name in (0xE0, 0xE2):
            if length < 15 - (name == 0xE0) or not data.startswith((b"JFIF\0", b"ICC_PROFILE\0"), start):
                return None
        elif name not in (0xC4, 0xDD):
            return None
    return None


def _check_png(data: bytes) -> None:
    at, view = 8, memoryview(data)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        name, end = data[at + 4 : at + 8], at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise ContainerError("corrupt", f"chunk {name!r} at byte {at} fails its CRC")
        if name == b"IEND":
            return
        at = end
    raise ContainerError("truncated", f"no end within {len(data)} bytes (chunk at byte {at} is incomplete)")


def _check_gif(data: bytes) -> None:
    try:
        at = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
        while (mark := data[at]) != 0x3B:
            if mark == 0x2C:
                flags = data[at + 9]
                at += 11 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
            elif mark == 0x21:
                at += 2
            else:
                raise ContainerError("corrupt", f"unknown block {mark:#x} at byte {at}")
            while size := data[at]:
                at += size + 1
            at += 1
    except IndexError:
        raise ContainerError("truncated", f"no trailer within {len(data)} bytes") from None


def check_audio(data: bytes, max_duration_s: float) -> bytes:
    """Walk a WAV, Ogg or MP3; recognise a FLAC by its mark (libFLAC checks the rest).

    Returns:
        The bytes to decode: the same, except for an MP3 that does not declare its number of frames. libsndfile would
        guess its length and may stop in the middle, so a frame that declares the number is put in front.

    Raises:
        ContainerError: format (none of the four), truncated, corrupt or too_long.
    """
    start = _after_id3(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        _check_wav(data)
    elif data[:4] == b"OggS":
        _check_ogg(data)
    elif data[start : start + 4] != b"fLaC":
        if not start and _mp3_frame(data, 0) is None:
            raise ContainerError("format", f"none of WAV, FLAC, Ogg, MP3: begins {data[:8]!r}")
        return _check_mp3(data, max_duration_s)
    return data


def _check_wav(data: bytes) -> None:
    at, body, shape = 12, None, None
    while at + 8 <= len(data):
        name, length = data[at : at + 4], _u32(data, at + 4)
        if name == b"fmt " and at + 24 <= len(data):
            shape = struct.unpack_from("<HHIIHH", data, at + 8)
        elif name == b"data":
            if at + 8 + length > len(data):
                raise ContainerError("truncated", f"declares {length} bytes of sound, holds {len(data) - at - 8}")
            body = length
        at += 8 + length + length % 2
    if body is None:
        raise ContainerError("truncated", f"no complete data chunk within {len(data)} bytes")
    if _u32(data, 4) + 8 > len(data) + 8:  # some writers count the eight bytes before the length, or a pad byte
        raise ContainerError("truncated", f"declares {_u32(data, 4) + 8} bytes, holds {len(data)}")
    if shape is None:
        raise ContainerError("corrupt", "no fmt chunk")
    tag, channels, rate_hz, bytes_per_s, block, bits = shape
    # PCM, float and extensible have frames of fixed size; compressed tags have not
    if tag in (1, 3, 0xFFFE) and (block != channels * ((bits + 7) // 8) or bytes_per_s != rate_hz * block):
        declared = f"{channels} × {bits} bit at {rate_hz} Hz, {block} bytes a frame, {bytes_per_s} bytes a second"
        raise ContainerError("corrupt", f"the format contradicts itself: {declared}")


_MIRROR = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def ogg_crc(page: bytes) -> int:
    """Return the CRC of an Ogg page whose checksum field is zero (RFC 3533: polynomial 0x04C11DB7, not reflected).

    zlib's CRC has the same polynomial reflected and other constants, so bits are mirrored before and after.
    """
    mirrored = zlib.crc32(page.translate(_MIRROR), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRROR), "big")


def _check_ogg(data: bytes) -> None:
    at, ended = 0, False
    while data[at : at + 4] == b"OggS":
        lacing_end = at + 27 + (data[at + 26] if at + 27 <= len(data) else 0)
        end = lacing_end + sum(data[at + 27 : lacing_end])
        if at + 27 > len(data) or end > len(data):
            raise ContainerError("truncated", f"page at byte {at} is incomplete")
        if ogg_crc(data[at : at + 22] + bytes(4) + data[at + 26 : end]) != _u32(data, at + 22):
            raise ContainerError("corrupt", f"page at byte {at} fails its CRC")
        ended = bool(data[at + 5] & 4)
        at = end
    if not ended:
        raise ContainerError("truncated", f"no end of stream within {len(data)} bytes")


# kbit/s of Layer III by header index; 0 is 'free format', whose frames declare no length
_MP3_V1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_V2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MP3_RATES = (44_100, 48_000, 32_000)


def _mp3_frame(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Return (bytes, samples, rate in Hz) declared by the Layer III frame header at `at`, or None."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE6 != 0xE2:  # sync, Layer III
        return None
    version, index, rate = (data[at + 1] >> 3) & 3, data[at + 2] >> 4, (data[at + 2] >> 2) & 3
    if version == 1 or rate == 3 or index in (0, 15):
        return None
    rate_hz = _MP3_RATES[rate] >> (0 if version == 3 else 1 if version == 2 else 2)
    kbit, factor = (_MP3_V1[index], 144_000) if version == 3 else (_MP3_V2[index], 72_000)
    return factor * kbit // rate_hz + ((data[at + 2] >> 1) & 1), factor // 125, rate_hz


def _after_id3(data: bytes) -> int:
    """Return the byte after a leading ID3v2 tag; 0 if there is none."""
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = sum((value & 0x7F) << shift for value, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    return 10 + size + (10 if data[5] & 0x10 else 0)


def _check_mp3(data: bytes, max_duration_s: float) -> bytes:
    at = _after_id3(data)
    while at < len(data) and data[at] == 0:
        at += 1
    first, frames, duration_s = at, 0, 0.0
    while frame := _mp3_frame(data, at):
        size, samples, rate_hz = frame
        if at + size > len(data):
            raise ContainerError("truncated", f"frame {frames} at byte {at} is incomplete")
        at, frames, duration_s = at + size, frames + 1, duration_s + samples / rate_hz
        if duration_s > max_duration_s + 1:
            raise ContainerError("too_long", f"longer than {max_duration_s:g} s")
    rest = data[at:]
    if not frames:
        fault: Fault = "truncated" if first + 4 > len(data) else "format"
        raise ContainerError(fault, f"no Layer III frame at byte {first}")
    if rest[:8].startswith((b"TAG", b"APETAGEX", b"LYRICSBE", b"ID3", b"3DI")):
        rest = b""  # a tag at the end: no sound follows
    if rest.strip(b"\0"):
        raise ContainerError("truncated" if len(rest) < 4 else "corrupt", f"no frame at byte {at}")
    behind = _mp3_side(data[first + 1], data[first + 3])
    declared = _mp3_declared(data[first : first + 200], behind)
    if declared is not None and frames - 1 < declared - 1:  # some writers count the declaring frame as well
        raise ContainerError("truncated", f"declares {declared} frames, holds {frames - 1}")
    if declared in (frames - 1, frames):
        return data
    # the same kind of frame, without CRC, at a rate that leaves room for the declaration (LAME's "Info" header)
    header = bytes([0xFF, data[first + 1] | 1, 0xE0 | (data[first + 2] & 0x0C), data[first + 3]])
    size = (_mp3_frame(header, 0) or (0,))[0]
    info = header.ljust(behind, b"\0") + b"Info" + (1).to_bytes(4, "big") + frames.to_bytes(4, "big")
    return info.ljust(size, b"\0") + data[first:]


def _mp3_side(version: int, mode: int) -> int:
    """Return the bytes of a frame's header and side information, by its second and fourth byte."""
    mono, mpeg1 = mode >> 6 == 3, version & 0x18 == 0x18
    return 4 + ((17 if mono else 32) if mpeg1 else (9 if mono else 17))


def _mp3_declared(frame: bytes, behind: int) -> int | None:
    """Return the number of frames declared by a first frame's Xing, Info or VBRI header."""
    if frame[behind : behind + 4] in (b"Xing", b"Info") and frame[behind + 7] & 1:
        return int.from_bytes(frame[behind + 8 : behind + 12], "big")
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big")
    return None
