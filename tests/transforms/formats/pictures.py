"""Every variant of a picture: what is read, what is refused by name, and what is counted by its ending."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from tests.transforms.formats import Counted, Refused, Variant, foreign_encoders
from tests.transforms.formats.cameras import cameras
from tests.transforms.formats.pngs import pngs
from tests.transforms.formats.scene import GREY, RGB, picture_variant
from tests.transforms.formats.tiffs import tiffs
from tests.transforms.samples import saved

_HEIF = struct.pack(">I4s4sI8s", 24, b"ftyp", b"heic", 0, b"mif1heic")


def pictures() -> Iterator[Variant]:
    """Yield every variant of a picture."""
    yield from tiffs()
    yield from pngs()
    yield from cameras()
    for form, (ending, data) in _foreign().items():
        yield picture_variant(form, "named as a picture", "jpg", data, Refused(f"{form} is not read"))
        yield picture_variant(form, "by its own ending", ending, data, Counted())


def _foreign() -> dict[str, tuple[str, bytes]]:
    """Name → (ending, content) of formats that are not read."""
    height, width = GREY.shape
    deep = (GREY.astype(">u2") * 257).tobytes()
    return {
        "HEIC": ("heic", _HEIF + bytes(400)),
        "JPEG XL": ("jxl", foreign_encoders.JPEG_XL),
        "JPEG 2000": ("jp2", saved(RGB, "JPEG2000")),
        "JPEG XR": ("jxr", b"II\xbc\x01\x20\0\0\0" + bytes(400)),
        "SVG": ("svg", b'<?xml version="1.0"?>\n<!-- a rect -->\n<svg xmlns="http://www.w3.org/2000/svg"/>'),
        "PSD": ("psd", b"8BPS\0\x01" + bytes(6) + struct.pack(">HIIHH", 3, height, width, 8, 3) + bytes(400)),
        "ICO": ("ico", saved(RGB, "ICO")),
        "ICNS": ("icns", b"icns" + struct.pack(">I", 408) + bytes(400)),
        "PPM": ("pgm", b"P5\n%d %d\n65535\n" % (width, height) + deep),
        "PFM": ("pfm", b"Pf\n%d %d\n-1.0\n" % (width, height) + (GREY / 255).astype("<f4").tobytes()),
        "OpenEXR": ("exr", b"v/1\x01\x02\0\0\0channels\0" + bytes(400)),
        "Radiance HDR": ("hdr", b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n" + bytes(4)),
        "DDS": ("dds", saved(np.dstack([RGB, GREY]), "DDS")),
        "QOI": ("qoi", saved(RGB, "QOI")),
        "PCX": ("pcx", saved(RGB, "PCX")),
        "EPS": ("eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"),
        "PDF": ("pdf", b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"),
        "raw photograph (RAF)": ("raf", b"FUJIFILMCCD-RAW 0201" + bytes(400)),
    }
