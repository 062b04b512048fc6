"""PNGs written chunk by chunk: every depth, transparency, interlace, and what may lie beside the pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tests.transforms.formats import Refused, Variant
from tests.transforms.formats.scene import GREY, RGB, close, deep, over_white, picture_variant, same

_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
_ORIENTED = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # EXIF of orientation 6 alone
_HEXED = b"\nexif\n      32\n" + (b"Exif\0\0" + _ORIENTED).hex().encode() + b"\n"  # as ImageMagick writes it
_EXIF = (b"eXIf", _ORIENTED)
Chunk = tuple[bytes, bytes]


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk with its length and CRC."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    samples: np.ndarray,
    colour: int,
    bits: int = 8,
    *,
    before: Sequence[Chunk] = (),
    after: Sequence[Chunk] = (),
    interlaced: bool = False,
    tail: bytes = b"",
) -> bytes:
    """Return a PNG of samples (H, W) or (H, W, S), with chunks before and after the pixels."""
    height, width = samples.shape[:2]
    pictures = [samples[y::down, x::right] for y, x, down, right in _ADAM7] if interlaced else [samples]
    rows = b"".join(_rows(picture, bits) for picture in pictures if picture.size)
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    parts = [(b"IHDR", head), *before, (b"IDAT", zlib.compress(rows)), *after, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts) + tail


def _rows(samples: np.ndarray, bits: int) -> bytes:
    flat = samples.reshape(len(samples), -1)
    if bits < 8:
        places = np.arange(bits - 1, -1, -1)
        packed = np.packbits(((flat[..., None] >> places) & 1).astype(np.uint8).reshape(len(flat), -1), axis=1)
        return b"".join(b"\0" + row.tobytes() for row in packed)
    return b"".join(b"\0" + row.astype(">u2" if bits == 16 else "u1").tobytes() for row in flat)


def pngs() -> Iterator[Variant]:
    """Yield every variant of PNG."""
    for name, data, expected in (*_plain(), *_keyed(), *_beside()):
        yield picture_variant("PNG", name, "png", data, expected)


def _plain() -> Iterator[tuple[str, bytes, Any]]:
    alpha = np.linspace(0, 255, GREY.size).reshape(GREY.shape).round().astype(np.uint8)
    alpha[3] = 0
    for interlaced in (False, True):
        how = ", interlaced" * interlaced
        for bits in (1, 2, 4, 8, 16):
            grey, wanted = deep(GREY, bits, ">")
            yield f"grey of {bits} bits{how}", png(grey, _GREY, bits, interlaced=interlaced), same(wanted)
        for bits in (8, 16):
            rgb, _ = deep(RGB, bits, ">")
            see = alpha.astype(rgb.dtype) * (257 if bits == 16 else 1)
            yield f"RGB of {bits} bits{how}", png(rgb, _RGB, bits, interlaced=interlaced), close(RGB, bits == 16)
            clear = png(np.dstack([rgb, see]), _RGB_ALPHA, bits, interlaced=interlaced)
            yield f"RGB of {bits} bits with alpha{how}", clear, close(over_white(RGB, alpha), 2)
            pair = png(np.dstack([rgb[:, :, 1], see]), _GREY_ALPHA, bits, interlaced=interlaced)
            shown = over_white(np.repeat(GREY[:, :, None], 3, 2), alpha)
            yield f"grey of {bits} bits with alpha{how}", pair, close(shown, 2)
        for bits in (1, 2, 4, 8):
            chosen = GREY >> (8 - bits)
            table = np.stack([np.arange(1 << bits) * 255 // ((1 << bits) - 1)] * 3, 1).astype(np.uint8)
            table[:, 1] = 255 - table[:, 0]
            palette = (b"PLTE", table.tobytes())
            data = png(chosen, _PALETTE, bits, before=[palette], interlaced=interlaced)
            yield f"palette of {bits} bits{how}", data, same(table[chosen])


def _keyed() -> Iterator[tuple[str, bytes, Any]]:
    """Yield what has one transparent colour, or transparency by entry of a palette."""
    for bits in (1, 2, 4, 8, 16):
        grey, wanted = deep(GREY, bits, ">")
        key = int(grey[5, 5])
        data = png(grey, _GREY, bits, before=[(b"tRNS", struct.pack(">H", key))])
        yield f"grey of {bits} bits with a transparent one", data, same(np.where(grey == key, 255, wanted))
    for bits in (8, 16):
        rgb, _ = deep(RGB, bits, ">")
        near = rgb.copy()
        near[0, 0, 2] += 1  # with 16 bits its upper halves are the key's
        key_colour = rgb[5, 5]
        shown = np.where((near == key_colour).all(axis=2)[:, :, None], 255, near >> (bits - 8)).astype(np.uint8)
        data = png(near, _RGB, bits, before=[(b"tRNS", struct.pack(">HHH", *map(int, key_colour)))])
        yield f"RGB of {bits} bits with a transparent one", data, same(shown)
    grey, wanted = deep(GREY, 16, ">")
    data = png(grey, _GREY, 16, before=[(b"tRNS", struct.pack(">H", int(grey[5, 5])))], interlaced=True)
    yield "grey of 16 bits with a transparent one, interlaced", data, same(np.where(grey == grey[5, 5], 255, wanted))
    for bits in (1, 2, 4, 8):
        chosen, most = GREY >> (8 - bits), 1 << bits
        table = np.stack([np.arange(most) * 255 // (most - 1)] * 3, 1).astype(np.uint8)
        for name, see in (("one transparent entry", [255, 0]), ("half transparent entries", [128, 0])):
            alpha = np.array([*see, *[255] * (most - 2)], np.uint8)
            data = png(chosen, _PALETTE, bits, before=[(b"PLTE", table.tobytes()), (b"tRNS", bytes(see))])
            yield f"palette of {bits} bits, {name}", data, close(over_white(table[chosen], alpha[chosen]), 1)


def _beside() -> Iterator[tuple[str, bytes, Any]]:
    bomb, turned = zlib.compress(bytes(3 << 20)), RGB.transpose(1, 0, 2)[:, ::-1]
    comments: dict[str, Chunk] = {
        "a comment that inflates to 3 MiB": (b"zTXt", b"Comment\0\0" + bomb),
        "an international comment that inflates to 3 MiB": (b"iTXt", b"Comment\0\x01\0en\0\0" + bomb),
        "a comment of 2 MiB": (b"tEXt", b"Comment\0" + b"w" * (2 << 20)),
        "an international comment of 2 MiB": (b"iTXt", b"Comment\0\0\0en\0\0" + b"w" * (2 << 20)),
        "a profile that inflates to 3 MiB": (b"iCCP", b"profile\0\0" + bomb),
        "a damaged profile": (b"iCCP", b"profile\0\0no zlib"),
        "a damaged comment": (b"zTXt", b"Comment\0\0no zlib"),
        "a comment without a name": (b"zTXt", b""),
        "a gamma of 1.0": (b"gAMA", struct.pack(">I", 100_000)),
        "an unknown chunk": (b"prVt", b"anything"),
        "a background colour": (b"bKGD", struct.pack(">HHH", 255, 0, 0)),
    }
    for name, one in comments.items():
        yield name, png(RGB, _RGB, before=[one]), same(RGB)
    for name in ("a comment that inflates to 3 MiB", "a comment of 2 MiB"):
        yield f"{name}, behind the pixels", png(RGB, _RGB, after=[comments[name]]), same(RGB)
    many = png(RGB, _RGB, before=[(b"tEXt", b"Comment\0" + b"w" * 60_000)] * 30)
    yield "many comments", many, same(RGB)
    yield "orientation in EXIF", png(RGB, _RGB, before=[_EXIF]), same(turned)
    yield "orientation in EXIF behind the pixels", png(RGB, _RGB, after=[_EXIF]), same(turned)
    hexed = (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(_HEXED))
    yield "orientation in a packed comment", png(RGB, _RGB, before=[hexed]), same(turned)
    both = [comments["a profile that inflates to 3 MiB"], comments["a comment of 2 MiB"], hexed]
    yield "orientation among long comments", png(RGB, _RGB, before=both), same(turned)
    yield "bytes behind its end", png(RGB, _RGB, tail=b"more" * 99), same(RGB)
    frame = struct.pack(">IIIIIHHBB", 0, RGB.shape[1], RGB.shape[0], 0, 0, 1, 10, 0, 0)
    moving = [(b"acTL", struct.pack(">II", 2, 0)), (b"fcTL", frame)]
    second = struct.pack(">IIIIIHHBB", 1, RGB.shape[1], RGB.shape[0], 0, 0, 1, 10, 0, 0)
    pixels = struct.pack(">I", 2) + zlib.compress(_rows(255 - RGB, 8))
    yield "animated", png(RGB, _RGB, before=moving, after=[(b"fcTL", second), (b"fdAT", pixels)]), same(RGB)
    still = [(b"acTL", struct.pack(">II", 1, 0))]
    first = struct.pack(">IIIIIHHBB", 0, RGB.shape[1], RGB.shape[0], 0, 0, 1, 10, 0, 0)
    pixels = struct.pack(">I", 1) + zlib.compress(_rows(255 - RGB, 8))
    alone = png(RGB, _RGB, before=still, after=[(b"fcTL", first), (b"fdAT", pixels)])
    yield "animated, with a still that is not a frame", alone, same(RGB)
    whole = png(RGB, _RGB)
    yield "cut", whole[:-30], Refused("no end within")
    yield "a wrong CRC", whole[:60] + bytes([whole[60] ^ 1]) + whole[61:], Refused("CRC")
    yield "grey of 3 bits", png(GREY >> 5, _GREY, 8)[:24] + b"\x03" + png(GREY >> 5, _GREY, 8)[25:], Refused("")
