"""What a user hands to a model directly, paths, bytes or decoded media, as the batch that encoders read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from trichord.encoders.base import AUDIO_RATE_HZ, Modality
from trichord.infra.config import PrepareConfig
from trichord.transforms.batch import Batch, Waveform
from trichord.transforms.media import decode_audio, decode_image, resample

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = "str | os.PathLike[str] | bytes | np.ndarray | Image"
Sound: TypeAlias = "str | os.PathLike[str] | bytes | tuple[np.ndarray, int]"


def is_one_picture(given: Any) -> bool:
    """Return True for a single picture, False for a sequence of them."""
    return isinstance(given, str | bytes | os.PathLike | np.ndarray) or hasattr(given, "mode")


def is_one_sound(given: Any) -> bool:
    """Return True for a single sound, False for a sequence of them."""
    pair = isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], np.ndarray)
    return pair or isinstance(given, str | bytes | os.PathLike)


def batch_of_inputs(modality: Modality, inputs: Sequence[Any]) -> Batch:
    """A batch of one row an input, which has this modality alone.

    Raises:
        ValueError: a text is empty, or an input is of no known kind.
        MediaError: a picture or sound cannot be decoded.
    """
    nothing: list[Any] = [None] * len(inputs)
    if modality == "text":
        for text in inputs:
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"a text to encode is a string that is not empty, not {text!r:.100}")
        return Batch.of(texts=list(inputs), images=nothing, waves=nothing)
    if modality == "image":
        return Batch.of(texts=nothing, images=[_pixels(picture) for picture in inputs], waves=nothing)
    return Batch.of(texts=nothing, images=nothing, waves=[_wave(sound) for sound in inputs])


def _pixels(picture: Any) -> np.ndarray:
    if hasattr(picture, "convert"):
        picture = np.asarray(picture.convert("RGB"))
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"a picture as an array is uint8 (H, W, 3), not {picture.dtype} {picture.shape}")
        return picture
    limits = PrepareConfig().image
    return decode_image(_content(picture), max_pixels=limits.max_pixels, max_bytes=limits.max_bytes)


def _wave(sound: Any) -> Waveform:
    if isinstance(sound, tuple):
        samples, rate_hz = sound
        samples = np.asarray(samples, dtype=np.float32)
        mono = samples.mean(axis=1) if samples.ndim == 2 else samples
        wave = Waveform(samples=np.ascontiguousarray(mono), rate_hz=int(rate_hz))
    else:
        limits = PrepareConfig().audio
        wave = decode_audio(_content(sound), max_bytes=limits.max_bytes, max_duration_s=limits.max_duration_s)
    return resample(wave, AUDIO_RATE_HZ)


def _content(given: Any) -> bytes:
    if isinstance(given, bytes):
        return given
    if isinstance(given, str | os.PathLike):
        return Path(given).read_bytes()
    raise ValueError(f"an input is a path, bytes or decoded media, not {type(given).__name__}")
