"""What kind of picture a file is, by its content, and its bytes as the decoder reads them rightly.

| format | what is changed or refused here |
|---|---|
| TIFF | layouts that would be read wrongly (`tiff_layout`); a deep negative is marked as a positive, and turned later |
| PNG | profiles and long comments are left out: inflating them costs time, and Pillow refuses files for their size |
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from trichord.transforms.containers import ContainerError
from trichord.transforms.tiff_layout import tiff_layout

PNG_MARK = b"\x89PNG\r\n\x1a\n"
MAX_COMMENTS = 1 << 20  # bytes of a PNG's comments that are kept; only orientation is read in them
_COMMENTS = (b"tEXt", b"zTXt", b"iTXt")
_KEPT_COMMENTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
_KINDS = (
    ("JPEG", rb"\xff\xd8\xff"),
    ("PNG", rb"\x89PNG"),
    ("WEBP", rb"RIFF....WEBP"),
    ("GIF", rb"GIF8[79]a"),
    ("BMP", rb"BM"),
    ("TIFF", rb"II[*+]\0|MM\0[*+]"),
    ("AVIF", rb"....ftypavi[fs]"),
)
_OTHERS = (
    ("HEIC", rb"....ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)"),
    ("JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL "),
    ("JPEG 2000", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    ("JPEG-LS", rb"\xff\xd8.{0,500}?\xff\xf7"),
    ("JPEG XR", rb"II\xbc"),
    ("PSD", rb"8BP[SB]"),
    ("ICO", rb"\0\0[\x01\x02]\0[^\0]\0"),
    ("ICNS", rb"icns"),
    ("PPM", rb"P[1-7][\s#]"),
    ("PFM", rb"P[Ff][\s#]"),
    ("OpenEXR", rb"v/1\x01"),
    ("Radiance HDR", rb"#\?(?:RADIANCE|RGBE)"),
    ("SVG", rb"(?:\xef\xbb\xbf)?\s*<svg\b|(?:\xef\xbb\xbf)?\s*<(?:\?xml|!--|!DOCTYPE svg).{0,1900}<svg\b"),
    ("DDS", rb"DDS "),
    ("QOI", rb"qoif"),
    ("PCX", rb"\x0a[\0\x02-\x05]\x01[\x01\x02\x04\x08]"),
    ("FITS", rb"SIMPLE  ="),
    ("DjVu", rb"AT&TFORM"),
    ("EPS", rb"%!PS|\xc5\xd0\xd3\xc6"),
    ("PDF", rb"%PDF-"),
    ("raw photograph (RAF)", rb"FUJIFILMCCD-RAW"),
    ("raw photograph (RW2)", rb"IIU\0"),
    ("raw photograph (ORF)", rb"IIR[OS]|MMOR"),
    ("JBIG2", rb"\x97JB2\r\n\x1a\n"),
    ("FLIF", rb"FLIF"),
    ("BPG", rb"BPG\xfb"),
    ("Windows metafile", rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF"),
)  # fmt: skip
_HEAD = 2_048  # bytes in which a kind is looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The bytes to decode, the bits of a sample where more than 8 matter, and whether black and white change places."""

    data: bytes
    bits: int = 8
    negative: bool = False


def read_kind(data: bytes) -> str:
    """Return the format among those that are read that the bytes begin as; empty if none."""
    return _match(data, _KINDS)


def other_kind(data: bytes) -> str:
    """Return the name of a picture format that is not read and that the bytes begin as; empty if none is known."""
    return _match(data, _OTHERS)


def _match(data: bytes, kinds: tuple[tuple[str, bytes], ...]) -> str:
    head = data[:_HEAD]
    return next((name for name, mark in kinds if re.match(mark, head, re.DOTALL)), "")


def prepare(data: bytes) -> Prepared:
    """Return the bytes that are to be decoded.

    Raises:
        ContainerError: format or corrupt; a kind of TIFF that is not read, or one whose directory is damaged.
    """
    if data.startswith(PNG_MARK):
        return Prepared(data=without_comments(data), bits=data[24] if len(data) > 24 else 8)
    layout = tiff_layout(data)
    if layout is None:
        return Prepared(data=data)
    if layout.unread is not None:
        raise ContainerError("format", f"{layout.unread} is not read")
    if layout.negative is None:
        return Prepared(data=data, bits=layout.bits)
    positive = bytearray(data)
    positive[layout.negative] = 1
    return Prepared(data=bytes(positive), bits=layout.bits, negative=True)


def without_comments(png: bytes) -> bytes:
    """Return a PNG without what Pillow would inflate beside the pixels, or count: the same object if there is nothing.

    Profiles are not applied. Of comments, the two that may hold an orientation are kept if they are short.
    """
    chunks = list(_chunks(png))
    comments = sum(end - start for name, start, end in chunks if name in _COMMENTS)
    packed = any(
        name in (b"zTXt", b"iCCP") or (name == b"iTXt" and _is_packed(png, start)) for name, start, _ in chunks
    )
    if not packed and comments <= MAX_COMMENTS:
        return png
    left, kept = MAX_COMMENTS, [png[: len(PNG_MARK)]]
    for name, start, end in chunks:
        if name == b"iCCP":
            continue
        if name in _COMMENTS:
            if not png.startswith(_KEPT_COMMENTS, start + 8):
                continue
            size, before = _inflated(png[start + 8 : end - 4], left), left
            left = max(0, left - size)  # also of one that is left out: so all that is inflated is bounded
            if size > before:
                continue
        kept.append(png[start:end])
    tail = chunks[-1][2] if chunks else len(PNG_MARK)
    return b"".join([*kept, png[tail:]])


def _chunks(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each whole chunk up to the end mark."""
    at = len(PNG_MARK)
    while at + 12 <= len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4], "big")
        if end > len(png):
            return
        name = png[at + 4 : at + 8]
        yield name, at, end
        if name == b"IEND":
            return
        at = end


def _is_packed(png: bytes, start: int) -> bool:
    mark = png.find(b"\0", start + 8, start + 88)
    return mark < 0 or png[mark + 1 : mark + 2] != b"\0"


def _inflated(comment: bytes, most: int) -> int:
    """Return the bytes that a comment comes to, or some number above `most`."""
    packed = comment.partition(b"\0")[2]
    try:
        return max(len(comment), len(zlib.decompressobj().decompress(packed[1:], most + 1)))
    except zlib.error:
        return len(comment)
