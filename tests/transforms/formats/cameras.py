"""JPEG, WebP, GIF, BMP and AVIF in the kinds that cameras, browsers and old programs write."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image as Pillow

from tests.transforms.formats import Refused, Variant, foreign_encoders
from tests.transforms.formats.scene import (
    BLOCK,
    GREY,
    HEIGHT,
    RGB,
    SMOOTH,
    WIDTH,
    close,
    near,
    over_white,
    picture_variant,
    same,
)
from tests.transforms.samples import saved
from trichord.transforms.batch import Image

_RAMPS = np.mgrid[0:16, 0:16] * 16
RAMPS: Image = np.dstack([_RAMPS[1], _RAMPS[0], np.full((16, 16), 128)]).astype(np.uint8)  # of `foreign_encoders`
_ORIENTED = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"  # EXIF of orientation 6 alone
_TURNED = SMOOTH.transpose(1, 0, 2)[:, ::-1]
_ALPHA = np.linspace(0, 255, GREY.size).reshape(GREY.shape).round().astype(np.uint8)
_ALPHA[3] = 0


def cameras() -> Iterator[Variant]:
    """Yield every variant of these formats."""
    for form, ending, made in (("JPEG", "jpg", _jpegs()), ("WebP", "webp", _webps()), ("GIF", "gif", _gifs()),
                               ("BMP", "bmp", _bmps()), ("AVIF", "avif", _avifs())):  # fmt: skip
        for name, data, expected in made:
            yield picture_variant(form, name, ending, data, expected)
    plain = saved(SMOOTH, "JPEG", quality=98)
    for ending in ("jpeg", "jpe", "jfif", "JPG", "png"):  # what the file is, is decided by its content
        yield picture_variant("JPEG", f"named .{ending}", ending, plain, near(SMOOTH))


def _segment(name: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, name, len(data) + 2) + data


def _jpegs() -> Iterator[tuple[str, bytes, Any]]:
    plain = saved(SMOOTH, "JPEG", quality=98)
    kinds: dict[str, dict[str, Any]] = {
        "4:4:4": {"subsampling": 0}, "4:2:2": {"subsampling": 1}, "4:2:0": {"subsampling": 2},
        "progressive": {"progressive": True}, "restart markers": {"restart_marker_blocks": 1},
        "optimised": {"optimize": True}, "kept as RGB": {"keep_rgb": True},
    }  # fmt: skip
    for name, options in kinds.items():
        yield name, saved(SMOOTH, "JPEG", quality=98, **options), near(SMOOTH)
    yield "grey", saved(SMOOTH[:, :, 1], "JPEG", quality=98), near(SMOOTH[:, :, 1])
    ink = np.dstack([255 - SMOOTH, np.zeros_like(SMOOTH[:, :, 0])])
    adobe = saved(Pillow.frombytes("CMYK", ink.shape[1::-1], ink.tobytes()), "JPEG", quality=98)
    yield "CMYK, inverted as Adobe writes it", adobe, near(SMOOTH)
    at = adobe.index(b"\xff\xee")
    yield "CMYK without Adobe's mark, inverted all the same", adobe[:at] + adobe[at + 16 :], near(SMOOTH)
    yield "YCCK", foreign_encoders.JPEG_YCCK, close(RAMPS, 12)
    yield "lossless", foreign_encoders.JPEG_LOSSLESS, close(RAMPS, 1)
    yield "arithmetic", foreign_encoders.JPEG_ARITHMETIC, close(RAMPS, 10)
    yield "arithmetic, progressive", foreign_encoders.JPEG_ARITHMETIC_PROGRESSIVE, close(RAMPS, 10)
    exif = _segment(0xE1, b"Exif\0\0" + _ORIENTED)
    yield "orientation", plain[:2] + exif + plain[2:], near(_TURNED)
    first = 4 + int.from_bytes(plain[4:6], "big")
    yield "orientation behind JFIF", plain[:first] + exif + plain[first:], near(_TURNED)
    table = plain.index(b"\xff\xc0")
    yield "orientation behind the tables", plain[:table] + exif + plain[table:], near(_TURNED)
    other = (
        _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>") + _segment(0xE2, b"unknown") + _segment(0xED, b"x" * 99)
    )
    yield "orientation behind other segments", plain[:2] + other + exif + plain[2:], near(_TURNED)
    yield "a long comment", plain[:2] + _segment(0xFE, b"w" * 65_000) * 40 + plain[2:], near(SMOOTH)
    stream = io.BytesIO()
    Pillow.fromarray(SMOOTH).save(
        stream, "MPO", quality=98, save_all=True, append_images=[Pillow.fromarray(255 - SMOOTH)]
    )
    yield "two pictures (MPO)", stream.getvalue(), near(SMOOTH)
    yield "bytes behind its end", plain + b"more" * 99, near(SMOOTH)
    yield "12 bits", foreign_encoders.JPEG_12_BITS, Refused("12-bit")
    yield "JPEG-LS", foreign_encoders.JPEG_LS, Refused("JPEG-LS is not read")
    yield "cut", plain[: len(plain) // 2], Refused("")
    yield "without its end mark", plain[:-2], Refused("truncated")


def _webps() -> Iterator[tuple[str, bytes, Any]]:
    yield "lossless", saved(RGB, "WEBP", lossless=True), same(RGB)
    yield "lossy", saved(SMOOTH, "WEBP", quality=95), near(SMOOTH)
    clear = Pillow.fromarray(np.dstack([RGB, _ALPHA]))
    yield "alpha", saved(clear, "WEBP", lossless=True, exact=True), close(over_white(RGB, _ALPHA), 1)
    more = {"save_all": True, "append_images": [Pillow.fromarray(255 - RGB)], "duration": 50, "lossless": True}
    yield "animated", saved(RGB, "WEBP", **more), same(RGB)
    yield "orientation", saved(RGB, "WEBP", lossless=True, exif=_ORIENTED), same(RGB.transpose(1, 0, 2)[:, ::-1])
    yield "cut", saved(RGB, "WEBP", lossless=True)[:-40], Refused("holds")


def _gifs() -> Iterator[tuple[str, bytes, Any]]:
    palette = Pillow.fromarray(RGB).quantize(64, dither=Pillow.Dither.NONE)
    shown = np.asarray(palette.convert("RGB"))
    yield "still", saved(palette, "GIF"), same(shown)
    yield "interlaced", saved(palette, "GIF", interlace=True), same(shown)
    key = int(np.asarray(palette)[5, 5])
    white = np.where((np.asarray(palette) == key)[:, :, None], 255, shown)
    yield "one transparent entry", saved(palette, "GIF", transparency=key), same(white)
    other = Pillow.fromarray(255 - RGB).quantize(64)
    yield "animated", saved(palette, "GIF", save_all=True, append_images=[other], duration=50), same(shown)
    yield "grey", saved(GREY, "GIF"), same(GREY)
    plain = saved(palette, "GIF")
    yield "bytes behind its end", plain + b"more" * 9, same(shown)
    yield "cut", plain[:-9], Refused("no trailer")


def bmp(
    rows: bytes, bits: int, *, compression: int = 0, height: int = HEIGHT, masks: tuple[int, ...] = (),
    palette: bytes = b"", width: int = WIDTH, core: bool = False,
) -> bytes:  # fmt: skip
    """Return a BMP of padded rows, from below unless the height is negative."""
    if core:
        head = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        size = 40 if len(masks) < 4 else 108
        head = struct.pack("<IiiHHIIiiII", size, width, height, 1, bits, compression, len(rows), 0, 0, 0, 0)
        head += struct.pack(f"<{len(masks)}I", *masks)
        head += bytes(size - 40 - 16) if size == 108 else b""
    start = 14 + len(head) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start) + head + palette + rows


def _bmps() -> Iterator[tuple[str, bytes, Any]]:
    bgr = RGB[::-1, :, ::-1]
    yield "24 bits", bmp(bgr.tobytes(), 24), same(RGB)
    yield "24 bits, from above", bmp(RGB[:, :, ::-1].tobytes(), 24, height=-HEIGHT), same(RGB)
    yield "24 bits, OS/2", bmp(bgr.tobytes(), 24, core=True), same(RGB)
    unused = np.dstack([bgr, np.zeros_like(GREY)])
    yield "32 bits, the fourth unused", bmp(unused.tobytes(), 32), same(RGB)
    clear = np.dstack([bgr, _ALPHA[::-1]])
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    yield "32 bits with alpha", bmp(clear.tobytes(), 32, compression=3, masks=masks), close(over_white(RGB, _ALPHA), 1)
    red, green, blue = (bgr[:, :, i].astype(np.uint16) for i in (2, 1, 0))

    def widened(values: np.ndarray, bits: int) -> np.ndarray:
        return values.astype(int)[::-1] * 255 // ((1 << bits) - 1)

    five = [one >> 3 for one in (red, green, blue)]
    packed = five[0] << 10 | five[1] << 5 | five[2]
    expected = close(np.dstack([widened(one, 5) for one in five]), 4)
    yield "16 bits (555)", bmp(packed.astype("<u2").tobytes(), 16), expected
    six = green >> 2
    packed = five[0] << 11 | six << 5 | five[2]
    expected = close(np.dstack([widened(five[0], 5), widened(six, 6), widened(five[2], 5)]), 4)
    yield "16 bits (565)", bmp(packed.astype("<u2").tobytes(), 16, compression=3, masks=(0xF800, 0x7E0, 0x1F)), expected
    for bits in (1, 4, 8):
        chosen = GREY >> (8 - bits)
        table = np.zeros((1 << bits, 4), np.uint8)
        table[:, 0] = np.arange(1 << bits) * 255 // ((1 << bits) - 1)
        table[:, 2] = 255 - table[:, 0]
        places = np.arange(bits - 1, -1, -1)
        bitmap = ((chosen[::-1, :, None] >> places) & 1).astype(np.uint8).reshape(HEIGHT, -1)
        rows = np.packbits(bitmap, axis=1).tobytes()
        yield f"palette of {bits} bits", bmp(rows, bits, palette=table.tobytes()), same(table[chosen][:, :, 2::-1])
        if bits == 8:
            runs = b"".join(b"".join(bytes([1, value]) for value in row) + b"\0\0" for row in chosen[::-1]) + b"\0\1"
            coded = bmp(runs, 8, compression=1, palette=table.tobytes())
            yield "run lengths of 8 bits", coded, same(table[chosen][:, :, 2::-1])
        if bits == 4:
            runs = (
                b"".join(b"".join(bytes([1, value << 4]) for value in row) + b"\0\0" for row in chosen[::-1]) + b"\0\1"
            )
            coded = bmp(runs, 4, compression=2, palette=table.tobytes())
            yield "run lengths of 4 bits", coded, same(table[chosen][:, :, 2::-1])
    yield "JPEG inside", bmp(saved(RGB, "JPEG"), 24, compression=4), Refused("BMP")
    odd = bmp(unused.tobytes(), 32, compression=3, masks=(0x3FF00000, 0xFFC00, 0x3FF))
    yield "32 bits of 10, 10, 10", odd, Refused("bitfields")
    yield "cut", bmp(bgr.tobytes(), 24)[:-99], Refused("")


def _avifs() -> Iterator[tuple[str, bytes, Any]]:
    yield "4:4:4", saved(SMOOTH, "AVIF", quality=100, subsampling="4:4:4", speed=10), near(SMOOTH)
    yield "4:2:0", saved(SMOOTH, "AVIF", quality=100, speed=10), near(SMOOTH)
    yield "10 bits", foreign_encoders.AVIF_10_BITS, close(RAMPS, 8)
    alpha = np.repeat(np.repeat(_ALPHA[::6, ::5][:, :6], BLOCK, 0), BLOCK, 1)
    clear = Pillow.fromarray(np.dstack([SMOOTH, alpha]))
    data = saved(clear, "AVIF", quality=100, subsampling="4:4:4", speed=10)
    yield "alpha", data, near(over_white(SMOOTH, alpha))
    turned = saved(SMOOTH, "AVIF", quality=100, subsampling="4:4:4", speed=10, exif=_ORIENTED)
    yield "orientation", turned, near(_TURNED)
    more = {"save_all": True, "append_images": [Pillow.fromarray(255 - SMOOTH)], "duration": 50, "speed": 10}
    yield "animated", saved(SMOOTH, "AVIF", quality=100, subsampling="4:4:4", **more), near(SMOOTH)
    yield "cut", data[:-60], Refused("")
