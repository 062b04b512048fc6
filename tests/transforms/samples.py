"""Small real media made by the libraries that write them, and tools to damage them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image as Pillow

from trichord.infra import digest
from trichord.transforms.batch import Image, Samples

AUDIO_FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def picture(width: int = 160, height: int = 120, seed: int = 0) -> Image:
    """A picture with edges, slopes and some texture; no side mirrors another."""
    rng = digest.generator("picture", seed)
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[:] = np.linspace(40, 200, width)[None, :, None]
    rgb[: height // 3, : width // 4] = (220, 30, 40)
    cv2.circle(rgb, (width // 2, height // 2), min(width, height) // 4, (20, 200, 60), -1)
    noise = rng.integers(-20, 21, rgb.shape)
    return np.clip(rgb.astype(int) + noise, 0, 255).astype(np.uint8)


def saved(picture: Pillow.Image | Image, kind: str, **options: Any) -> bytes:
    """A picture as a file of Pillow's format `kind`."""
    out = io.BytesIO()
    opened = picture if isinstance(picture, Pillow.Image) else Pillow.fromarray(picture)
    opened.save(out, kind, **options)
    return out.getvalue()


def tone(duration_s: float = 1.0, rate_hz: int = 22_050, hz: float = 440.0, level: float = 0.5) -> Samples:
    """A tone with a slow beat and some noise."""
    t = np.arange(int(duration_s * rate_hz)) / rate_hz
    noise = digest.generator("tone", hz).standard_normal(len(t)) * 0.01
    return (level * (np.sin(2 * np.pi * hz * t) * (0.8 + 0.2 * np.sin(7 * t)) + noise)).astype(np.float32)


def sound(
    samples: Samples | npt.NDArray[np.int16], kind: str = "wav", rate_hz: int = 22_050, subtype: str | None = None
) -> bytes:
    """Samples (T,) or (T, channels) as a file of one of AUDIO_FORMATS."""
    form, usual = AUDIO_FORMATS[kind]
    out = io.BytesIO()
    soundfile.write(out, samples, rate_hz, format=form, subtype=subtype or usual)
    return out.getvalue()


def flipped(data: bytes, at: int, mask: int = 0xFF) -> bytes:
    """The bytes with the bits of `mask` changed at one place."""
    changed = bytearray(data)
    changed[at] ^= mask
    return bytes(changed)


def patched(data: bytes, at: int, new: bytes) -> bytes:
    """The bytes with some of them overwritten."""
    return data[:at] + new + data[at + len(new) :]


def png(width: int, height: int, colour: int, bits: int, body: bytes | None = None) -> bytes:
    """A PNG by hand, all zero unless `body` gives the compressed pixels; every CRC is right."""
    values = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    if body is None:
        packer, row = zlib.compressobj(1), bytes(1 + (width * values * bits + 7) // 8)
        body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def quiet_flac(seconds: int, rate_hz: int = 16_000, channels: int = 1) -> bytes:
    """Minutes of silence in a few kilobytes."""
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", rate_hz, channels, format="FLAC", subtype="PCM_16") as file:
        for _ in range(seconds):
            file.write(np.zeros((rate_hz, channels), np.int16))
    return out.getvalue()
