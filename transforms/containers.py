"""Compare what a picture's file declares with the bytes it holds; sounds have `sound_files`.

Decoders accept truncated files, so the container is walked first.

| container | truncation is found by | damage is found by |
|---|---|---|
| JPEG, TIFF, BMP | Pillow | Pillow (more than 500 JPEG scans are a bomb) |
| PNG | chunk lengths, IEND | CRC of every chunk |
| GIF | block structure, trailer | block structure |
| WebP | RIFF length | chunk structure |
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
