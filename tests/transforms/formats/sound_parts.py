"""Parts of sound files: chunks, tags, pages and frames, written by hand."""

from __future__ import annotations

import io
import re
import struct

import numpy as np
import numpy.typing as npt
import soundfile

RATE_HZ = 16_000


def wave(hz: float = 440.0, seconds: float = 0.5, rate_hz: int = RATE_HZ) -> npt.NDArray[np.float32]:
    """A tone that gets louder, so that no part of it is like another; exact in 16 bits."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    values = np.sin(2 * np.pi * hz * t) * (0.2 + 0.6 * t / seconds)
    return (np.rint(values * 32_768) / 32_768).astype(np.float32)


def written(samples: npt.NDArray[np.float32], form: str, subtype: str, rate_hz: int = RATE_HZ, **more: str) -> bytes:
    """Samples as libsndfile writes them."""
    out = io.BytesIO()
    soundfile.write(out, samples, rate_hz, format=form, subtype=subtype, **more)
    return out.getvalue()


def played(data: bytes) -> npt.NDArray[np.float32]:
    """The mono mix of a plain file, by libsndfile alone."""
    samples = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]
    return samples.mean(axis=1, dtype=np.float32)


def chunk(name: bytes, body: bytes, *, length: int | None = None, pad: bool = True, order: str = "<") -> bytes:
    """A chunk of a WAV or (order ">") AIFF."""
    size = len(body) if length is None else length
    return name + struct.pack(order + "I", size) + body + b"\0" * (len(body) % 2 if pad else 0)


def riff(*chunks: bytes, length: int | None = None, mark: bytes = b"RIFF") -> bytes:
    """A WAV of chunks."""
    body = b"WAVE" + b"".join(chunks)
    return mark + struct.pack("<I", len(body) if length is None else length) + body


def fmt(tag: int = 1, channels: int = 1, bits: int = 16, rate_hz: int = RATE_HZ, more: bytes = b"") -> bytes:
    """The `fmt ` chunk of a WAV."""
    block = channels * ((bits + 7) // 8)
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * block, block, bits) + more)


def pcm(samples: npt.NDArray[np.float32]) -> bytes:
    """Samples as little-endian 16 bits."""
    return (samples * 32_768).astype("<i2").tobytes()


def form(*chunks: bytes, length: int | None = None, kind: bytes = b"AIFF") -> bytes:
    """An AIFF of chunks."""
    body = kind + b"".join(chunks)
    return b"FORM" + struct.pack(">I", len(body) if length is None else length) + body


def comm(frames: int, channels: int = 1, bits: int = 16, codec: bytes = b"") -> bytes:
    """The `COMM` chunk of an AIFF at 16 kHz."""
    rate = struct.pack(">HQ", 16_383 + 13, 16_000 << 50)  # 80 bits: 1.953125 × 2^13
    name = codec + b"\x00\x00" if codec else b""
    return chunk(b"COMM", struct.pack(">HIH", channels, frames, bits) + rate + name, order=">")


def ssnd(body: bytes, *, length: int | None = None, offset: int = 0) -> bytes:
    """The `SSND` chunk of an AIFF."""
    return chunk(b"SSND", struct.pack(">II", offset, 0) + bytes(offset) + body, length=length, order=">")


def id3v2(size: int = 300) -> bytes:
    """A tag before a sound, with a comment."""
    frame = b"TXXX" + struct.pack(">I", size - 10) + b"\0\0\0" + b"x" * (size - 11)
    return b"ID3\x03\0\0" + bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0)) + frame


def id3v1() -> bytes:
    """A tag behind a sound."""
    return b"TAG" + b"title".ljust(30, b"\0") + bytes(94) + b"\x0c"


def ape(*, header: bool = True) -> bytes:
    """An APE tag, version 2, or version 1, which has no header."""
    items = struct.pack("<II", 5, 0) + b"Title\0words"
    size, flags = struct.pack("<II", len(items) + 32, 1), 0x80000000 if header else 0

    def ends(more: int) -> bytes:
        return b"APETAGEX" + struct.pack("<I", 2_000) + size + struct.pack("<I", flags | more) + bytes(8)

    return (ends(0x20000000) if header else b"") + items + ends(0)


def lyrics3() -> bytes:
    """A Lyrics3 tag, version 2."""
    body = b"LYRICSBEGIN" + b"LYR00011[00:00]words"
    return body + f"{len(body):06}".encode() + b"LYRICS200"


def mp3(samples: npt.NDArray[np.float32], rate_hz: int = RATE_HZ, *, declares: bool = True) -> bytes:
    """An MP3; its frames alone, unless it `declares` their number."""
    data = written(samples, "MP3", "MPEG_LAYER_III", rate_hz)
    return data if declares else data[mp3_frames(data)[1] :]


def mp3_frames(data: bytes) -> list[int]:
    """First bytes of the frames of an MP3 that libsndfile wrote, which all begin alike."""
    found = [match.start() for match in re.finditer(re.escape(data[:2]), data)]
    return [at for at in found if data[at + 2] & 0x0C == data[2] & 0x0C and data[at + 2] >> 4 not in (0, 15)]


def streamed_flac(data: bytes) -> bytes:
    """A FLAC as written into a pipe: no number of samples, no checksum of all."""
    return data[:21] + bytes([data[21] & 0xF0]) + bytes(4 + 16) + data[42:]


def flac_frames(data: bytes) -> tuple[bytes, list[bytes]]:
    """The metadata and the frames of a FLAC."""
    at, last = 4, False
    while not last:
        last, at = bool(data[at] & 0x80), at + 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    starts = [match.start() for match in re.finditer(re.escape(data[at : at + 3]), data) if match.start() >= at]
    starts += [found for found in [data.rfind(data[at : at + 2])] if found > starts[-1]]  # the last is shorter
    return data[:at], [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]


def ogg_pages(data: bytes) -> list[bytes]:
    """The pages of an Ogg."""
    pages, at = [], 0
    while at < len(data):
        body = at + 27 + data[at + 26]
        end = body + sum(data[at + 27 : body])
        pages.append(data[at:end])
        at = end
    return pages


def ogg_page(packets: list[bytes], serial: int, number: int, flags: int = 0, granule: int = 0) -> bytes:
    """A page of whole packets."""
    laces = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    head = b"OggS\0" + struct.pack("<BQIIIB", flags, granule, serial, number, 0, len(laces))
    return with_crc(head + laces + b"".join(packets))


def with_crc(page: bytes) -> bytes:
    """A page with its CRC, bit by bit (RFC 3533)."""
    value = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        value ^= byte << 24
        for _ in range(8):
            value = ((value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return page[:22] + struct.pack("<I", value) + page[26:]


def ogg_flac(data: bytes, serial: int = 7) -> bytes:
    """A FLAC in Ogg, a frame in each packet."""
    head, frames = flac_frames(data)
    first = b"\x7fFLAC\x01\0" + struct.pack(">H", 1) + head[:42]
    pages = [ogg_page([first], serial, 0, flags=2)]
    comment = b"\x84" + struct.pack(">I", 8)[1:] + bytes(8)
    pages.append(ogg_page([comment], serial, 1))
    for number, frame in enumerate(frames, 2):
        last = number == len(frames) + 1
        pages.append(ogg_page([frame], serial, number, flags=4 * last, granule=1 + number))
    return b"".join(pages)
