"""Copies that a person would call the same item: what happens to media and texts on their way."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
import soundfile
from PIL import Image as Pillow
from PIL import ImageDraw, ImageEnhance

from tests.bench.lookalikes.pictures import font
from trichord.transforms.batch import Waveform
from trichord.transforms.media import resample

Rng = np.random.Generator
Changed = Callable[[Pillow.Image, Rng], tuple[Pillow.Image, str, int]]  # picture, format, quality


def _resized(picture: Pillow.Image, rng: Rng) -> tuple[Pillow.Image, str, int]:
    share = float(rng.uniform(0.55, 0.9))
    size = round(picture.width * share), round(picture.height * share)
    return picture.resize(size, Pillow.Resampling.LANCZOS), "JPEG", 88


def _cropped(picture: Pillow.Image, rng: Rng) -> tuple[Pillow.Image, str, int]:
    left, top, right, bottom = (float(v) for v in rng.uniform(0, 0.025, 4))
    box = (round(left * picture.width), round(top * picture.height),
           round((1 - right) * picture.width), round((1 - bottom) * picture.height))  # fmt: skip
    return picture.crop(box), "JPEG", 90


def _bordered(picture: Pillow.Image, rng: Rng) -> tuple[Pillow.Image, str, int]:
    edge = round(float(rng.uniform(0.01, 0.03)) * max(picture.size))
    framed = Pillow.new("RGB", (picture.width + 2 * edge, picture.height + 2 * edge),
                        (0, 0, 0) if rng.integers(2) else (255, 255, 255))  # fmt: skip
    framed.paste(picture, (edge, edge))
    return framed, "JPEG", 90


def _marked(picture: Pillow.Image, rng: Rng) -> tuple[Pillow.Image, str, int]:
    layer = Pillow.new("RGBA", picture.size, (0, 0, 0, 0))
    shade = 255 if float(np.asarray(picture.convert("L")).mean()) < 128 else 0
    ImageDraw.Draw(layer).text(
        (picture.width / 2, picture.height * float(rng.uniform(0.4, 0.6))), "SAMPLE", anchor="mm",
        font=font(round(picture.width / 6)), fill=(shade, shade, shade, int(rng.integers(26, 60))),
    )  # fmt: skip
    return Pillow.alpha_composite(picture.convert("RGBA"), layer).convert("RGB"), "JPEG", 90


def _brighter(picture: Pillow.Image, rng: Rng) -> tuple[Pillow.Image, str, int]:
    return ImageEnhance.Brightness(picture).enhance(float(rng.uniform(0.85, 1.15))), "JPEG", 90


PICTURES: Mapping[str, Changed] = {
    "jpeg_30": lambda picture, rng: (picture, "JPEG", 30),
    "jpeg_50": lambda picture, rng: (picture, "JPEG", 50),
    "jpeg_80": lambda picture, rng: (picture, "JPEG", 80),
    "webp": lambda picture, rng: (picture, "WEBP", 75),
    "resized": _resized,
    "cropped": _cropped,
    "bordered": _bordered,
    "brightness": _brighter,
    "watermark": _marked,
}


def encode(picture: Pillow.Image, kind: str = "PNG", quality: int = 90) -> bytes:
    """Encode a picture."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({} if kind == "PNG" else {"quality": quality}))
    return buffer.getvalue()


def copy_picture(picture: Pillow.Image, way: str, rng: Rng) -> bytes:
    """Return a changed copy as a file."""
    return encode(*PICTURES[way](picture, rng))


Played = Callable[[np.ndarray, int, Rng], tuple[np.ndarray, int, str]]  # samples, rate, format


def _to_rate(samples: np.ndarray, rate_hz: int, rate: int) -> np.ndarray:
    return resample(Waveform(samples.astype(np.float32), rate_hz), rate).samples


def _trimmed(samples: np.ndarray, rate_hz: int, rng: Rng) -> tuple[np.ndarray, int, str]:
    start, end = (round(float(v) * len(samples)) for v in rng.uniform(0, 0.04, 2))
    return samples[start : len(samples) - end], rate_hz, "WAV"


def _noisy(samples: np.ndarray, rate_hz: int, rng: Rng) -> tuple[np.ndarray, int, str]:
    level = float(np.sqrt(np.mean(np.square(samples)))) * 10 ** (-float(rng.uniform(20, 30)) / 20)
    return samples + rng.standard_normal(len(samples)) * level, rate_hz, "WAV"


SOUNDS: Mapping[str, Played] = {
    "mp3": lambda samples, rate_hz, rng: (samples, rate_hz, "MP3"),
    "ogg": lambda samples, rate_hz, rng: (samples, rate_hz, "OGG"),
    "resampled": lambda samples, rate_hz, rng: (_to_rate(samples, rate_hz, 22_050), 22_050, "FLAC"),
    "narrow": lambda samples, rate_hz, rng: (_to_rate(samples, rate_hz, 11_025), 11_025, "WAV"),
    "gain": lambda samples, rate_hz, rng: (samples * 10 ** (float(rng.uniform(-9, 3)) / 20), rate_hz, "WAV"),
    "trimmed": _trimmed,
    "padded": lambda samples, rate_hz, rng: (np.concatenate([np.zeros(rate_hz // 20), samples]), rate_hz, "FLAC"),
    "noise": _noisy,
}


def encode_samples(samples: np.ndarray, rate_hz: int, kind: str = "WAV") -> bytes:
    """Encode a sound; what passes full scale is clipped."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1), rate_hz, format=kind)
    return buffer.getvalue()


def copy_sound(samples: np.ndarray, rate_hz: int, way: str, rng: Rng) -> bytes:
    """Return a changed copy as a file."""
    return encode_samples(*SOUNDS[way](samples, rate_hz, rng))


TEXTS: Mapping[str, Callable[[str], str]] = {
    "case": str.upper,
    "lower": str.lower,
    "punctuation": lambda text: text.replace(", ", " - ").rstrip(".") + "!",
    "blanks": lambda text: "  " + text.replace(" ", " \t ") + "\n",
    "markup": lambda text: f"<p><b>{text}</b></p>",
    "quotes": lambda text: f"“{text}”",
}
