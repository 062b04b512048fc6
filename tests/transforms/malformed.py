"""Forty malformed inputs and more of each modality, and the reasons with which each may be refused."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile

import numpy as np
from PIL import Image as Pillow

from tests.transforms.samples import AUDIO_FORMATS, flipped, patched, picture, png, quiet_flac, saved, sound, tone
from trichord.infra import digest


def _zip(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, content)
    return out.getvalue()


def _foreign(real: bytes, ending: str) -> dict[str, bytes]:
    """Bytes that are not a medium, or one in disguise."""
    return {
        "a text file": b"this is no medium at all\n" * 40,
        "a web page": b"<!DOCTYPE html><html><body>404</body></html>",
        "an SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><rect width='9' height='9'/></svg>",
        "a PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n",
        "a program": b"\x7fELF\x02\x01\x01" + bytes(400),
        "a zip with the medium": _zip(f"a.{ending}", real),
        "the medium gzipped": gzip.compress(real, mtime=0),
        "zeros": bytes(5_000),
        "random bytes": digest.generator("malformed", ending).bytes(5_000),
        "one byte": real[:1],
        "the medium without its beginning": real[200:],
        "the medium twice wrapped in JSON": json.dumps({"data": real.hex()}).encode(),
    }


def images() -> dict[str, tuple[bytes, frozenset[str]]]:
    """name → (bytes, reasons that may be given)."""
    rgb = picture()
    jpeg, gif = saved(rgb, "JPEG", quality=85), saved(Pillow.fromarray(rgb).quantize(64), "GIF")
    files = {
        "jpeg": jpeg,
        "progressive": saved(rgb, "JPEG", progressive=True),
        "png": saved(rgb, "PNG"),
        "webp": saved(rgb, "WEBP"),
        "gif": gif,
        "bmp": saved(rgb, "BMP"),
        "tiff": saved(rgb, "TIFF"),
        "lzw tiff": saved(rgb, "TIFF", compression="tiff_lzw"),
    }
    cut = {
        f"{kind} cut at {share:.0%}": (data[: max(3, int(len(data) * share))], _IMAGE_CUT)
        for kind, data in files.items()
        for share in (0.001, 0.1, 0.5, 0.97)
    }
    cut |= {f"{kind} without its last byte": (files[kind][:-1], _IMAGE_CUT) for kind in ("jpeg", "png", "webp", "gif")}
    frame, table = jpeg.index(b"\xff\xc0"), jpeg.index(b"\xff\xdb")
    scan = jpeg.index(b"\xff\xda")
    pixels = files["png"].index(b"IDAT") + 60
    damaged = {
        "jpeg with its first byte flipped": (flipped(jpeg, 0), _IMAGE_FOREIGN),
        "jpeg with a table too long": (flipped(jpeg, table + 2), _IMAGE_DAMAGE),
        "jpeg without height": (patched(jpeg, frame + 5, b"\0\0"), _IMAGE_DAMAGE | {"media_empty"}),
        "jpeg of 12 bits": (patched(jpeg, frame + 4, b"\x0c"), _IMAGE_DAMAGE | {"image_format"}),
        "jpeg that declares 65535 squared": (patched(jpeg, frame + 5, b"\xff" * 4), _BOMB),
        "jpeg of 5000 scans": (jpeg[:scan] + jpeg[scan : scan + 20] * 5_000 + jpeg[scan:], _BOMB),
        "png with its mark flipped": (flipped(files["png"], 1), _IMAGE_FOREIGN),
        "png with its header flipped": (flipped(files["png"], 19, 1), _IMAGE_DAMAGE),
        "png with a pixel byte flipped": (flipped(files["png"], pixels, 1), _IMAGE_DAMAGE),
        "png of an unknown colour type": (png(40, 40, 5, 8), _IMAGE_DAMAGE),
        "png with too few pixels": (png(40, 40, 2, 8, body=b"\x78\x9c\x03\x00\x00\x00\x00\x01"), _IMAGE_CUT),
        "png bomb of 400 megapixels": (png(20_000, 20_000, 0, 1), _BOMB),
        "png that declares 2 to the 31": (png(2**31 - 1, 2**31 - 1, 2, 8, body=b""), _BOMB | _IMAGE_DAMAGE),
        "png without height": (png(40, 0, 2, 8), _IMAGE_DAMAGE | {"media_empty"}),
        "webp bomb": (saved(Pillow.new("L", (9_000, 9_000)).convert("RGB"), "WEBP", quality=1, method=0), _BOMB),
        "webp that declares more": (patched(files["webp"], 4, struct.pack("<I", 1 << 30)), _IMAGE_CUT),
        "gif that declares 65535 squared": (patched(gif, 6, b"\xff" * 4), _BOMB),
        "gif with an unknown block": (flipped(gif, 13 + (3 << ((gif[10] & 7) + 1))), _IMAGE_DAMAGE),
        "bmp that declares 2 to the 30": (patched(files["bmp"], 18, struct.pack("<ii", 1 << 30, 1 << 30)), _BOMB),
        "tiff with its directory far away": (patched(files["tiff"], 4, struct.pack("<I", 1 << 30)), _IMAGE_DAMAGE),
        "tiff of floats": (saved(Pillow.new("F", (64, 64), 0.5), "TIFF"), frozenset({"image_format"})),
        "an icon": (saved(rgb, "ICO"), _IMAGE_FOREIGN),
        "a portable pixmap": (saved(rgb, "PPM"), _IMAGE_FOREIGN),
        "a sound": (sound(tone(0.5)), _IMAGE_FOREIGN),
        "nothing": (b"", frozenset({"media_empty"})),
    }
    foreign = {name: (data, _IMAGE_FOREIGN) for name, data in _foreign(jpeg, "jpg").items()}
    return cut | damaged | foreign


_IMAGE_CUT = frozenset({"image_truncated", "image_corrupt", "image_format"})
_IMAGE_DAMAGE = frozenset({"image_corrupt", "image_format", "image_truncated"})
_IMAGE_FOREIGN = frozenset({"image_format", "image_corrupt", "image_truncated"})
_BOMB = frozenset({"image_bomb"})


def audios() -> dict[str, tuple[bytes, frozenset[str]]]:
    """name → (bytes, reasons that may be given)."""
    samples = tone(1.0)
    files = {kind: sound(samples, kind, 48_000 if kind == "opus" else 22_050) for kind in AUDIO_FORMATS}
    wav, ogg, mp3 = files["wav"], files["ogg"], files["mp3"]
    cut = {
        f"{kind} cut at {share:.0%}": (data[: max(5, int(len(data) * share))], _AUDIO_CUT)
        for kind, data in files.items()
        for share in (0.001, 0.1, 0.5, 0.97)
    }
    cut |= {f"{kind} without its last byte": (data[:-1], _AUDIO_CUT) for kind, data in files.items()}
    floats = sound(samples, "wav", subtype="FLOAT")
    at = floats.index(b"data") + 8 + 4_000
    data, frame = wav.index(b"data"), mp3.index(mp3[:2], 600)
    damaged = {
        "wav with its mark flipped": (flipped(wav, 0), _AUDIO_FOREIGN),
        "wav without channels": (patched(wav, 22, b"\0\0"), _AUDIO_DAMAGE),
        "wav of 60000 channels": (patched(wav, 22, b"\x60\xea"), _AUDIO_DAMAGE),
        "wav without rate": (patched(wav, 24, bytes(4)), _AUDIO_DAMAGE),
        "wav with a bit of its rate flipped": (flipped(wav, 24, 1), _AUDIO_DAMAGE),
        "wav of 0 bits": (patched(wav, 34, b"\0\0"), _AUDIO_DAMAGE),
        "wav that declares 3 GB": (patched(wav, data + 4, b"\xff\xff\xff\xc0"), _AUDIO_CUT),
        "wav that declares no sound": (
            patched(wav[: data + 4], 4, b"\x24\0\0\0") + bytes(4),
            frozenset({"media_empty"}),
        ),
        "wav header alone": (wav[:44], _AUDIO_CUT),
        "wav without a sample": (sound(samples[:0]), frozenset({"media_empty"})),
        "wav with a NaN": (patched(floats, at, struct.pack("<f", np.nan)), _NAN),
        "wav with an infinity": (patched(floats, at, struct.pack("<f", -np.inf)), _NAN),
        "wav of NaN alone": (sound(np.full(4_000, np.nan, np.float32), "wav", subtype="FLOAT"), _NAN),
        "flac with its mark flipped": (flipped(files["flac"], 0), _AUDIO_FOREIGN),
        "flac with its header's length flipped": (flipped(files["flac"], 7), _AUDIO_DAMAGE),
        "flac that declares more samples": (flipped(files["flac"], 22), _AUDIO_CUT | {"audio_too_long"}),
        "flac with a sample byte flipped": (flipped(files["flac"], len(files["flac"]) // 2, 4), _AUDIO_DAMAGE),
        "flac of two hours of silence": (quiet_flac(7_200), frozenset({"audio_too_long"})),
        "ogg with its mark flipped": (flipped(ogg, 0), _AUDIO_FOREIGN),
        "ogg with a bit flipped": (flipped(ogg, len(ogg) // 2, 1), _AUDIO_DAMAGE),
        "ogg without its first page": (ogg[ogg.index(b"OggS", 4) :], _AUDIO_DAMAGE),
        "ogg pages of another stream": (ogg + ogg[: len(ogg) // 2], _AUDIO_CUT),
        "mp3 with a frame destroyed": (patched(mp3, frame, b"\0\0\0\0"), _AUDIO_DAMAGE),
        "mp3 tag alone": (b"ID3\x04\0\0\0\0\0\x20" + bytes(32), _AUDIO_CUT | _AUDIO_FOREIGN),
        "mp3 of free format": (patched(mp3[:417], 2, bytes([mp3[2] & 0x0F])) * 4, _AUDIO_FOREIGN),
        "an AIFF": (b"FORM\0\0\0\x2eAIFFCOMM" + bytes(60), _AUDIO_FOREIGN),
        "an AU": (b".snd\0\0\0\x18" + bytes(200), _AUDIO_FOREIGN),
        "a MIDI file": (b"MThd\0\0\0\x06\0\x01\0\x01\0\x60MTrk", _AUDIO_FOREIGN),
        "a picture": (saved(picture(), "JPEG"), _AUDIO_FOREIGN),
        "nothing": (b"", frozenset({"media_empty"})),
    }
    foreign = {name: (content, _AUDIO_FOREIGN) for name, content in _foreign(wav, "wav").items()}
    return cut | damaged | foreign


_AUDIO_CUT = frozenset({"audio_truncated", "audio_corrupt", "audio_format", "media_empty"})
_AUDIO_DAMAGE = frozenset({"audio_corrupt", "audio_format", "audio_truncated"})
_AUDIO_FOREIGN = frozenset({"audio_format", "audio_corrupt", "audio_truncated"})
_NAN = frozenset({"audio_nan"})


def lines() -> dict[str, tuple[bytes, str]]:
    """name → (a line of a manifest, the reason that must be given). `good.jpg` exists."""

    def row(**fields: object) -> bytes:
        return json.dumps({"id": "bad", "text": "words", **fields}).encode()

    invalid = {
        "no JSON": b"hello",
        "half a row": b'{"id": "bad", "text": "wo',
        "two rows in one": row() + row(),
        "a comma too many": b'{"id": "bad", "text": "words",}',
        "single quotes": b"{'id': 'bad'}",
        "a list": b'["bad", "words"]',
        "a number": b"7",
        "a string": b'"bad"',
        "null": b"null",
        "true": b"true",
        "an empty list": b"[]",
        "NaN": b'{"id": "bad", "text": "words", "score": NaN}',
        "Infinity": b'{"id": "bad", "text": "words", "score": -Infinity}',
        "a number beyond floats": b'{"id": "bad", "text": "words", "score": 1e999}',
        "a number of 5000 digits": b'{"id": "bad", "text": "words", "n": ' + b"9" * 5_000 + b"}",
        "nesting 100000 deep": b'{"id": "bad", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "a lone surrogate in the text": b'{"id": "bad", "text": "w\\ud800"}',
        "a lone surrogate in the key": b'{"id": "b\\udfff", "text": "words"}',
        "a lone surrogate deep inside": b'{"id": "bad", "text": "words", "a": [{"b\\ud912": 1}]}',
        "bytes that are not UTF-8": b'{"id": "bad", "text": "w\xff\xfe"}',
        "UTF-16": '{"id": "bad", "text": "words"}'.encode("utf-16-le").replace(b"\n", b""),
        "NUL bytes": b"\0" * 60,
        "gzip": gzip.compress(b"words", mtime=0).replace(b"\n", b""),
        "a line of 5 MB": b'{"id": "bad", "text": "' + b"w" * 5_000_000 + b'"}',
        "a key that is a list": row(id=["bad"]),
        "a key that is a float": row(id=1.5),
        "a key that is true": row(id=True),
        "a key that is an object": row(id={"a": 1}),
        "a text that is a number": row(text=7),
        "a text that is a list": row(text=["words"]),
        "an image that is a number": row(image=7),
        "an image that is a list": row(image=["good.jpg"]),
        "an audio that is an object": row(audio={"path": "a.wav"}),
        "captions that are a number": row(captions=7),
        "captions that hold a number": row(captions=["words", 7]),
        "captions that are an object": row(captions={"a": "words"}),
        "a group that is a list": row(group=["a"]),
        "a subset that is an object": row(split={"a": 1}),
    }
    others = {
        "a key of 2000 characters": (row(id="k" * 2_000), "key_invalid"),
        "no key": (b'{"text": "words"}', "key_missing"),
        "a key that is null": (row(id=None), "key_missing"),
        "an empty key": (row(id=""), "key_missing"),
        "nothing in any modality": (b'{"id": "bad"}', "row_empty"),
        "all null": (row(text=None, image=None, audio=None, captions=None), "row_empty"),
        "empty strings": (row(text="", image="", audio="", captions=[]), "row_empty"),
        "blanks alone": (row(text=" \t\u00a0\u2003\n"), "row_empty"),
        "invisible characters alone": (row(text="\u200b\ufeff\x07\x1b"), "row_empty"),
        "a text too long": (row(text="w" * 20_001), "text_too_long"),
        "an image that is not there": (row(image="none.jpg"), "media_missing"),
        "an image that is a folder": (row(image="."), "media_missing"),
        "an image with a NUL in its name": (row(image="good\0.jpg"), "media_missing"),
        "a name too long for a file": (row(audio="a" * 9_000), "media_missing"),
        "an image above the root": (row(image="../good.jpg"), "media_outside_root"),
        "an image above the root, hidden": (row(image="a/../../good.jpg"), "media_outside_root"),
        "an image of the system": (row(image="/etc/hostname"), "media_outside_root"),
        "a file URI outside": (row(image="file:///etc/hostname"), "media_outside_root"),
        "a bucket": (row(audio="s3://bucket/a.wav"), "media_outside_root"),
        "a web address": (row(image="https://example.org/a.jpg"), "media_scheme"),
        "an FTP address": (row(audio="ftp://example.org/a.wav"), "media_scheme"),
        "a data URI": (row(image="data:image/png;base64,AAAA"), "media_scheme"),
    }
    return {name: (line, "row_invalid") for name, line in invalid.items()} | others
