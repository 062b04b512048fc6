"""TIFFs written tag by tag, in every layout of samples."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from tests.transforms.formats import Refused, Variant
from tests.transforms.formats.scene import GREY, RGB, SMOOTH, close, deep, near, over_white, picture_variant, same
from tests.transforms.samples import saved
from trichord.transforms.batch import Image

Order = Literal["<", ">"]
_ORDERS: tuple[tuple[Order, str], ...] = (("<", "little-endian"), (">", "big-endian"))
_TYPES = {"B": 1, "H": 3, "I": 4, "Q": 16}
_ALPHA = np.linspace(0, 255, GREY.shape[1]).round().astype(np.uint8)[None].repeat(GREY.shape[0], 0)


def _packed(rows: np.ndarray, bits: int, order: Order) -> bytes:
    """Return samples (rows, values) of any depth, each row filled up to whole bytes."""
    if rows.dtype.kind == "f" or bits in (8, 16, 32, 64):
        return rows.astype(rows.dtype.newbyteorder(order)).tobytes()
    places = np.arange(bits - 1, -1, -1)
    return np.packbits(((rows[..., None] >> places) & 1).astype(np.uint8).reshape(len(rows), -1), axis=1).tobytes()


def _packbits(data: bytes) -> bytes:
    return b"".join(bytes([len(part) - 1]) + part for part in (data[at : at + 128] for at in range(0, len(data), 128)))


_COMPRESS: dict[int, Any] = {1: bytes, 8: zlib.compress, 32_946: zlib.compress, 32_773: _packbits}


def tiff(
    samples: np.ndarray,
    photometric: int,
    *,
    bits: int = 8,
    order: Order = "<",
    compression: int = 1,
    planes: bool = False,
    tile: int = 0,
    predictor: bool = False,
    big: bool = False,
    rows_per_strip: int = 7,
    tags: Mapping[int, tuple[str, tuple[int, ...]]] | None = None,
    pages: int = 1,
) -> bytes:
    """Return a TIFF of samples (H, W, S); `pages` of them, all alike.

    Args:
        samples: unsigned, signed or floating-point values of `bits`.
        photometric: the tag PhotometricInterpretation.
        bits: of a sample.
        order: "<" or ">".
        compression: none, Deflate or PackBits; any other number is written over uncompressed samples.
        planes: one plane a sample.
        tile: side of square tiles; 0 for strips.
        predictor: horizontal differences (of whole bytes).
        big: a BigTIFF.
        rows_per_strip: rows of a strip.
        tags: more tags, and those that replace others: tag -> struct letter, values.
        pages: how many pages.
    """
    height, width, count = samples.shape
    parts = [samples[:, :, s : s + 1] for s in range(count)] if planes else [samples]
    blocks = []
    for part in parts:
        if tile:
            part = np.pad(part, ((0, -height % tile), (0, -width % tile), (0, 0)), mode="edge")
        step, side = (tile, tile) if tile else (rows_per_strip, width)
        for top in range(0, part.shape[0], step):
            for left in range(0, part.shape[1], side):
                block = part[top : top + step, left : left + side]
                if predictor:
                    block = np.diff(block, axis=1, prepend=np.zeros_like(block[:, :1]))
                packed = _packed(block.reshape(len(block), -1), bits, order)
                blocks.append(_COMPRESS.get(compression, bytes)(packed))
    word = "Q" if big else "I"
    letter = {"B": "B", "H": "H", "I": "I", "Q": "Q"}
    sizes = tuple(map(len, blocks))
    wanted: dict[int, tuple[str, tuple[int, ...]]] = {
        256: ("I", (width,)),
        257: ("I", (height,)),
        258: ("H", (bits,) * count),
        259: ("H", (compression,)),
        262: ("H", (photometric,)),
        277: ("H", (count,)),
        284: ("H", (2 if planes else 1,)),
        317: ("H", (2 if predictor else 1,)),
    }
    wanted |= {322: ("I", (tile,)), 323: ("I", (tile,))} if tile else {278: ("I", (rows_per_strip,))}
    wanted |= {(325 if tile else 279): ("I", sizes), (324 if tile else 273): (word, (0,) * len(blocks))} | dict(
        tags or {}
    )
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42)
    head += struct.pack(f"{order}HH", 8, 0) if big else b""
    out = head + struct.pack(order + word, len(head) + struct.calcsize(f"={word}"))
    for page in range(pages):
        fixed = struct.calcsize("=Q" if big else "=H") + len(wanted) * (20 if big else 12) + struct.calcsize(f"={word}")
        at, outside = len(out) + fixed, b""
        lengths = {tag: len(values) * struct.calcsize(f"={kind}") for tag, (kind, values) in wanted.items()}
        room = 8 if big else 4
        pixels = at + sum(size + size % 2 for size in lengths.values() if size > room)
        offsets = tuple(pixels + sum(sizes[:i]) for i in range(len(sizes)))
        wanted[324 if tile else 273] = (word, offsets)
        out += struct.pack(order + ("Q" if big else "H"), len(wanted))
        for tag, (kind, values) in sorted(wanted.items()):
            value = struct.pack(f"{order}{len(values)}{letter[kind]}", *values)
            out += struct.pack(f"{order}HH{word}", tag, _TYPES[kind], len(values))
            if len(value) > room:
                out += struct.pack(order + word, at + len(outside))
                outside += value + b"\0" * (len(value) % 2)
            else:
                out += value.ljust(room, b"\0")
        following = pixels + sum(sizes)
        following += following % 2
        out += struct.pack(order + word, following if page + 1 < pages else 0)
        out = (out + outside + b"".join(blocks)).ljust(following, b"\0")
    return out


def tiffs() -> Iterator[Variant]:
    """Yield every variant of TIFF."""
    made = [*_greys(), *_colours(), *_others(), *_by_pillow(), *_refused()]
    for name, data, expected in made:
        yield picture_variant("TIFF", name, "tif", data, expected)


def _greys() -> Iterator[tuple[str, bytes, Any]]:
    for order, name in _ORDERS:
        for bits in (1, 2, 4, 8, 16):
            for photometric, means in ((1, "black is zero"), (0, "white is zero")):
                grey, wanted = deep(GREY, bits, order)
                stored = grey if photometric else (1 << bits) - 1 - grey
                for compression in (1, 8, 32_773):
                    data = tiff(stored[:, :, None], photometric, bits=bits, order=order, compression=compression)
                    yield f"grey of {bits} bits, {means}, {name}, compression {compression}", data, same(wanted)
    for photometric, means in ((1, "black is zero"), (0, "white is zero")):
        grey, wanted = deep(GREY, 12, "<")
        stored = grey if photometric else 4_095 - grey
        for compression in (1, 8):
            data = tiff(stored[:, :, None], photometric, bits=12, compression=compression)
            yield f"grey of 12 bits, {means}, compression {compression}", data, same(wanted)
    grey, wanted = deep(GREY, 32, "<")
    yield "grey of 32 bits", tiff(grey[:, :, None], 1, bits=32), same(wanted)
    yield "grey of 32 bits, Deflate", tiff(grey[:, :, None], 1, bits=32, compression=8), same(wanted)


def _colours() -> Iterator[tuple[str, bytes, Any]]:
    for bits in (8, 16):
        stored, _ = deep(RGB, bits, "<")
        for order, name in _ORDERS:
            for compression, planes, tile, predictor in (
                (1, False, 0, False),
                (1, False, 16, False),
                (8, False, 0, False),
                (8, False, 0, True),
                (8, False, 16, True),
                (8, True, 0, False),
                (8, True, 16, False),
                (32_773, True, 0, False),
                (1, True, 0, False),
            ):
                shape = f"{'planes' if planes else 'pixels'}, {'tiles' if tile else 'strips'}"
                data = tiff(stored, 2, bits=bits, order=order, compression=compression, planes=planes, tile=tile,
                            predictor=predictor)  # fmt: skip
                garbled = bits == 16 and planes and compression == 1  # Pillow mixes the planes
                yield (
                    f"RGB of {bits} bits, {name}, {shape}, compression {compression}{', predictor' * predictor}",
                    data,
                    Refused("an uncompressed planar TIFF of 3 samples of 16 bits")
                    if garbled
                    else close(RGB, bits == 16),
                )
        alpha = _ALPHA.astype(stored.dtype) * (257 if bits == 16 else 1)
        clear = np.dstack([stored, alpha])
        plain, before = {338: ("H", (2,))}, {338: ("H", (1,))}
        yield f"RGB of {bits} bits with alpha", tiff(clear, 2, bits=bits, tags=plain), close(over_white(RGB, _ALPHA), 2)
        share = alpha[:, :, None] / alpha.max()
        laid = np.dstack([(stored * share).round().astype(stored.dtype), alpha])
        expected = close(over_white(RGB, _ALPHA), 3)
        yield f"RGB of {bits} bits with premultiplied alpha", tiff(laid, 2, bits=bits, tags=before), expected
        ink = np.dstack([stored.max() - stored, np.zeros_like(alpha)])
        yield f"CMYK of {bits} bits", tiff(ink, 5, bits=bits), close(RGB, 1)
        yield (
            f"CMYK of {bits} bits, planes, Deflate",
            tiff(ink, 5, bits=bits, planes=True, compression=8),
            close(RGB, 1),
        )


def _others() -> Iterator[tuple[str, bytes, Any]]:
    colours = np.arange(256)
    table = np.stack([colours, 255 - colours, np.full(256, 90)])
    for bits in (4, 8):
        chosen, most = GREY >> (8 - bits), 1 << bits
        few = table[:, colours[:most] * 255 // (most - 1)]
        palette = {320: ("H", tuple((few * 257).ravel().tolist()))}
        yield f"palette of {bits} bits", tiff(chosen[:, :, None], 3, bits=bits, tags=palette), same(few.T[chosen])
    grey_alpha = tiff(np.dstack([GREY, _ALPHA]), 1, tags={338: ("H", (2,))})
    yield "grey with alpha", grey_alpha, close(over_white(np.repeat(GREY[:, :, None], 3, 2), _ALPHA), 2)
    yield "BigTIFF", tiff(RGB, 2, big=True), same(RGB)
    deeper, wanted = deep(GREY, 16, "<")
    yield "BigTIFF, 16 bits, white is zero", tiff(65_535 - deeper[:, :, None], 0, bits=16, big=True), same(wanted)
    yield "three pages", tiff(RGB, 2, pages=3), same(RGB)
    yield "a thumbnail alone", tiff(RGB, 2, tags={254: ("I", (1,))}), same(RGB)
    neutral = np.dstack([(GREY * 1).astype(np.uint8), np.zeros_like(GREY), np.zeros_like(GREY)])
    luminance = neutral[:, :, :1] / 255 * 100  # CIE L* of a neutral grey, and the sRGB value of its Y
    y = np.where(luminance > 8, ((luminance + 16) / 116) ** 3, luminance / 903.3)
    grey = 255 * np.where(y > 0.0031308, 1.055 * y ** (1 / 2.4) - 0.055, 12.92 * y)
    yield "CIE Lab, neutral", tiff(neutral, 8), close(np.repeat(grey, 3, 2), 3)
    upright: dict[int, Image] = {
        1: RGB, 2: RGB[:, ::-1], 3: RGB[::-1, ::-1], 4: RGB[::-1], 5: RGB.transpose(1, 0, 2),
        6: RGB.transpose(1, 0, 2)[:, ::-1], 7: RGB.transpose(1, 0, 2)[::-1, ::-1], 8: RGB.transpose(1, 0, 2)[::-1],
    }  # fmt: skip
    for turned, shown in upright.items():
        yield f"orientation {turned}", tiff(RGB, 2, tags={274: ("H", (turned,))}), same(shown)


def _by_pillow() -> Iterator[tuple[str, bytes, Any]]:
    from PIL import Image as Pillow

    two = np.where(GREY > 127, 255, 0).astype(np.uint8)
    bilevel = Pillow.fromarray(two).convert("1", dither=Pillow.Dither.NONE)
    for name in ("tiff_ccitt", "group3", "group4"):
        yield f"CCITT {name}", saved(bilevel, "TIFF", compression=name), same(two)
    for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "lzma", "zstd"):
        yield f"compressed by {name}", saved(RGB, "TIFF", compression=name), same(RGB)
    yield "JPEG inside, YCbCr", saved(SMOOTH, "TIFF", compression="jpeg", quality=98), near(SMOOTH)
    yield "JPEG inside, grey", saved(SMOOTH[:, :, 1], "TIFF", compression="jpeg", quality=98), near(SMOOTH[:, :, 1])


def _refused() -> Iterator[tuple[str, bytes, Any]]:
    for bits in (10, 14):
        yield f"grey of {bits} bits", tiff(deep(GREY, bits, "<")[0][:, :, None], 1, bits=bits), Refused(f"{bits} bits")
    for bits in (4, 10, 12, 14, 32):
        yield f"RGB of {bits} bits", tiff(deep(RGB, bits, "<")[0], 2, bits=bits), Refused(f"TIFF of {bits} bits (RGB)")
    big = tiff(deep(GREY, 32, ">")[0][:, :, None], 1, bits=32, order=">")
    yield "grey of 32 bits, big-endian", big, Refused("big-endian TIFF of 32 bits")
    for bits, kind in ((8, np.int8), (16, np.int16), (32, np.int32)):
        signed = tiff(GREY.astype(kind)[:, :, None], 1, bits=bits, tags={339: ("H", (2,))})
        yield f"signed {bits} bits", signed, Refused("signed samples")
    for bits, real in ((16, np.float16), (32, np.float32), (64, np.float64)):
        for samples, photometric in ((GREY[:, :, None], 1), (RGB, 2)):
            floats = tiff(
                (samples / 255).astype(real), photometric, bits=bits, tags={339: ("H", (3,) * samples.shape[2])}
            )
            name = f"floats of {bits} bits, {samples.shape[2]} samples"
            yield name, floats, Refused(f"floating-point samples, which have no agreed white ({bits} bits)")
    yield "samples of no type", tiff(GREY[:, :, None], 1, tags={339: ("H", (4,))}), Refused("an undefined type")
    twelve = tiff(deep(GREY, 12, ">")[0][:, :, None], 1, bits=12, order=">")
    yield "grey of 12 bits, big-endian", twelve, Refused("big-endian TIFF of 12 bits")
    yield "Lab in planes", tiff(RGB, 8, planes=True, compression=8), Refused("a planar TIFF of 3 samples of 8 bits")
    yield "complex samples", tiff(GREY[:, :, None], 1, tags={339: ("H", (6,))}), Refused("complex samples")
    unread = {6: "old JPEG", 34_887: "LERC", 33_005: "JPEG 2000", 50_001: "WebP", 50_002: "JPEG XL", 34_661: "JBIG",
              32_809: "ThunderScan", 34_933: "PNG", 41_999: "method 41999"}  # fmt: skip
    for number, name in unread.items():
        yield f"compressed by {name}", tiff(RGB, 2, compression=number), Refused(f"compressed by {name}")
    yield (
        "YCbCr, uncompressed",
        tiff(RGB, 6, tags={530: ("H", (1, 1))}),
        Refused("YCbCr that is not compressed by JPEG"),
    )
    yield "YCbCr, Deflate", tiff(RGB, 6, compression=8), Refused("YCbCr that is not compressed by JPEG")
    yield "five samples", tiff(np.dstack([RGB, RGB[:, :, :2]]), 2), Refused("5 samples a pixel (RGB)")
    yield "two samples", tiff(RGB[:, :, :2], 1), Refused("8-bit grey with an unnamed sample")
    yield "samples of 5, 6 and 5 bits", tiff(RGB, 2, tags={258: ("H", (5, 6, 5))}), Refused("5, 6, 5 bits")
    for number, name in ((9, "ICC Lab"), (4, "a mask"), (32_803, "colour filter array"), (32_845, "LogLuv")):
        yield name, tiff(GREY[:, :, None], number), Refused(name)
    yield "Lab of 16 bits", tiff(deep(RGB, 16, "<")[0], 8, bits=16), Refused("16 bits (Lab)")
    yield "a raw photograph", tiff(RGB, 2, tags={50_706: ("B", (1, 4, 0, 0))}), Refused("raw photograph (DNG)")
    yield "a thumbnail first", tiff(RGB, 2, tags={254: ("I", (1,))}, pages=2), Refused("first page is a thumbnail")
    yield "BigTIFF, big-endian", tiff(RGB, 2, big=True, order=">"), Refused("big-endian BigTIFF")
    yield "cut in its directory", tiff(RGB, 2)[:60], Refused("directory of its first page is damaged")
    yield "cut in its pixels", tiff(RGB, 2)[:-200], Refused("")
