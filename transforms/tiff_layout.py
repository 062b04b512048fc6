"""Read how a TIFF lays out its samples, and say which layouts are not read.

Pillow reads some layouts wrongly without an error: 16-bit MinIsWhite comes inverted, 12 bits come 16 times too dark,
32 bits are clipped, uncompressed planes of 16 bits are mixed. So a layout is looked up here before it is decoded. Tags
are those of TIFF 6.0 and its supplements.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from trichord.transforms.containers import ContainerError

_MAX_TAGS = 4_096  # of a page; files have some twenty
_MAX_VALUES = 64  # of a tag that is read here
_WIDTHS = {1: 1, 3: 2, 4: 4, 16: 8}  # bytes of a value, by type: BYTE, SHORT, LONG, LONG8
_SUBFILE, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR = 254, 258, 259, 262, 277, 284
_PAGES, _EXTRA, _FORMAT, _SAMPLING, _DNG = 330, 338, 339, 530, 50_706
_WANTED = (_SUBFILE, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR, _PAGES, _EXTRA, _FORMAT, _SAMPLING, _DNG)

_NONE, _JPEG, _ALPHA = 1, 7, 2  # two compressions, and an extra sample that is plain alpha
_READ = (_NONE, 2, 3, 4, 5, _JPEG, 8, 32_773, 32_946, 34_925, 50_000)
_COMPRESSIONS = {
    6: "old JPEG", 9: "JBIG", 10: "JBIG", 32_766: "NeXT", 32_809: "ThunderScan", 33_003: "JPEG 2000",
    33_004: "JPEG 2000", 33_005: "JPEG 2000", 34_661: "JBIG", 34_676: "SGI LogLuv", 34_677: "SGI LogLuv",
    34_712: "JPEG 2000", 34_887: "LERC", 34_892: "lossy JPEG of DNG", 34_933: "PNG", 34_934: "JPEG XR",
    50_001: "WebP", 50_002: "JPEG XL", 52_546: "JPEG XL",
}  # fmt: skip
_WHITE, _BLACK, _RGB, _PALETTE, _MASK, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 4, 5, 6, 8
_PHOTOMETRICS = {
    _MASK: "a mask", 9: "ICC Lab", 10: "ITU Lab", 32_803: "a colour filter array (a raw photograph)",
    32_844: "LogL", 32_845: "LogLuv", 34_892: "linear raw (a raw photograph)", 51_177: "depth",
}  # fmt: skip
_COLOURS = {_WHITE: 1, _BLACK: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3, _LAB: 3}  # samples without extra ones
_DEPTHS = {
    _WHITE: (1, 2, 4, 8, 12, 16), _BLACK: (1, 2, 4, 8, 12, 16, 32), _RGB: (8, 16), _PALETTE: (1, 2, 4, 8),
    _CMYK: (8, 16), _YCBCR: (8,), _LAB: (8,),
}  # fmt: skip
_FORMATS = {
    2: "signed samples",
    3: "floating-point samples, which have no agreed white",
    4: "samples of an undefined type",
    5: "complex samples",
    6: "complex samples",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffLayout:
    """The first page's samples.

    Attributes:
        bits: of a sample.
        unread: what is not read of it, "a TIFF of ..."; None if it is decoded rightly.
        negative: the position of its PhotometricInterpretation's value, where 0 means white in a deep grey; else None.
    """

    bits: int
    unread: str | None
    negative: int | None = None


def tiff_layout(data: bytes) -> TiffLayout | None:
    """Return how a TIFF lays out its first page; None where the file is not one.

    Raises:
        ContainerError: corrupt; the directory of the first page is damaged.
    """
    order = {b"II*\0": "<", b"II+\0": "<", b"MM\0*": ">", b"MM\0+": ">"}.get(data[:4])
    if order is None:
        return None
    if data.startswith(b"MM\0+"):
        return TiffLayout(bits=8, unread="a big-endian BigTIFF")
    try:
        tags, more_pages, places = _tags(data, order, big=b"+" in data[2:4])
    except struct.error as error:
        raise ContainerError("corrupt", f"the directory of its first page is damaged: {error}") from error
    photometric = _first(tags, _PHOTOMETRIC, _WHITE)
    bits = tags.get(_BITS, (1,))[: max(1, _first(tags, _SAMPLES, 1))] or (1,)
    deep = photometric == _WHITE and bits[0] > 8
    return TiffLayout(
        bits=bits[0],
        unread=_unread(tags, photometric, bits, more_pages=more_pages, big=data[:2] == b"MM"),
        negative=places.get(_PHOTOMETRIC) if deep else None,
    )


def _unread(
    tags: Mapping[int, tuple[int, ...]], photometric: int, bits: tuple[int, ...], *, more_pages: bool, big: bool
) -> str | None:
    """Return what is not read, as "a TIFF of ..."; None if all is."""
    compression, samples = _first(tags, _COMPRESSION, _NONE), _first(tags, _SAMPLES, 1)
    extra, planes = tags.get(_EXTRA, ()), _first(tags, _PLANAR, 1) == 2 and samples > 1
    if _DNG in tags:
        return "a raw photograph (DNG)"
    if _first(tags, _SUBFILE, 0) & 1 and (more_pages or _PAGES in tags):
        return "a TIFF whose first page is a thumbnail of another"
    if compression not in _READ:
        return f"a TIFF compressed by {_COMPRESSIONS.get(compression, f'method {compression}')}"
    if photometric not in _COLOURS:
        return f"a TIFF of {_PHOTOMETRICS.get(photometric, f'photometric interpretation {photometric}')}"
    if kind := next((_FORMATS[one] for one in tags.get(_FORMAT, ()) if one in _FORMATS), None):
        return f"a TIFF of {kind}" + (f" ({bits[0]} bits)" if kind.startswith("float") else "")
    if len(set(bits)) > 1:
        return f"a TIFF whose samples have {', '.join(map(str, bits))} bits"
    if bits[0] not in _DEPTHS[photometric] or (bits[0] in (12, 32) and big):
        order = "big-endian " if bits[0] in (12, 32) and big else ""
        return f"a {order}TIFF of {bits[0]} bits" + _of_colour(photometric)
    if compression == _JPEG and bits[0] != 8:
        return f"a TIFF of {bits[0]}-bit JPEG"
    if photometric == _YCBCR and compression != _JPEG:
        return "a TIFF of YCbCr that is not compressed by JPEG"
    return _unread_samples(photometric, bits[0], samples, extra, planes=planes, plain=compression == _NONE)


def _unread_samples(
    photometric: int, bits: int, samples: int, extra: tuple[int, ...], *, planes: bool, plain: bool
) -> str | None:
    beside = samples - _COLOURS[photometric]
    deep = bits > 8
    if beside < 0 or beside > 1 or (beside and photometric not in (_BLACK, _RGB)) or (beside and bits == 12):
        return f"a TIFF of {samples} samples a pixel" + _of_colour(photometric)
    if beside and photometric == _BLACK and (deep or planes or extra[:1] != (_ALPHA,)):
        kind = {_ALPHA: "alpha", 1: "premultiplied alpha"}.get(extra[0] if extra else 0, "an unnamed sample")
        return f"a TIFF of {bits}-bit grey with {kind}" + (" in another plane" if planes else "")
    if planes and (photometric == _LAB or (plain and (deep or (beside and extra[:1] != (_ALPHA,))))):
        return f"{'an uncompressed' if plain else 'a'} planar TIFF of {samples} samples of {bits} bits"
    return None


def _of_colour(photometric: int) -> str:
    names = {_RGB: "RGB", _PALETTE: "a palette", _CMYK: "CMYK", _YCBCR: "YCbCr", _LAB: "Lab"}
    return f" ({names[photometric]})" if photometric in names else ""


def _first(tags: Mapping[int, tuple[int, ...]], tag: int, default: int) -> int:
    values = tags.get(tag)
    return values[0] if values else default


def _tags(data: bytes, order: str, *, big: bool) -> tuple[dict[int, tuple[int, ...]], bool, dict[int, int]]:
    """Return the wanted tags of the first page, whether there is another page, and where values' low bytes are."""
    word, counter, size, inside = ("Q", "Q", 20, 8) if big else ("I", "H", 12, 4)
    (at,) = struct.unpack_from(order + word, data, 8 if big else 4)
    (count,) = struct.unpack_from(order + counter, data, at)
    at += struct.calcsize(counter)
    if count > _MAX_TAGS:
        raise ContainerError("corrupt", f"its first page has {count} tags; the limit is {_MAX_TAGS}")
    tags, places = dict[int, tuple[int, ...]](), dict[int, int]()
    for entry in range(at, at + count * size, size):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag not in _WANTED or kind not in _WIDTHS or tag in tags:
            continue
        (number,) = struct.unpack_from(order + word, data, entry + 4)
        number, value = min(number, _MAX_VALUES), entry + size - inside
        if number * _WIDTHS[kind] > inside:
            (value,) = struct.unpack_from(order + word, data, value)
        tags[tag] = struct.unpack_from(f"{order}{number}{' B HI'[kind] if kind < 5 else 'Q'}", data, value)
        places[tag] = value + (_WIDTHS[kind] - 1 if order == ">" else 0)
    end = at + count * size
    following = data[end : end + struct.calcsize(word)]  # some writers leave it out
    return tags, any(following), places
