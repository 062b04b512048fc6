"""What a user hands to a model directly, paths, bytes or decoded media, as the batch that encoders read."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from trichord.encoders.base import AUDIO_RATE_HZ, Modality
from trichord.infra.config import PrepareConfig
from trichord.infra.regular_file import read_regular
from trichord.transforms.batch import Batch, Waveform
from trichord.transforms.libraries import Pillow, soundfile
from trichord.transforms.media import decode_audio, decode_image, resample

Picture: TypeAlias = "str | os.PathLike[str] | bytes | np.ndarray | Pillow.Image"
Sound: TypeAlias = str | os.PathLike[str] | bytes | tuple[np.ndarray, int]

MAX_INPUT_BYTES = 512 << 20  # of a file; what may be decoded of it is limited by the project
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")


def is_one_picture(given: Any) -> bool:
    """Return True for a single picture, False for a sequence of them."""
    return isinstance(given, str | bytes | os.PathLike | np.ndarray | Pillow.Image)


def is_one_sound(given: Any) -> bool:
    """Return True for a single sound, False for a sequence of them."""
    pair = isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], np.ndarray)
    return pair or isinstance(given, str | bytes | os.PathLike)


def batch_of_inputs(modality: Modality, inputs: Sequence[Any]) -> Batch:
    """A batch of one row an input, which has this modality alone.

    Raises:
        ValueError: a text is empty, or an input is of no known kind.
        OSError: a file cannot be read.
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


def picture_bytes(picture: Any) -> bytes:
    """Return the content of a picture's file; what is decoded already becomes a PNG.

    Raises:
        ValueError: it is of no known kind, or not a picture.
        OSError: its file cannot be read.
    """
    if isinstance(picture, np.ndarray):
        picture = Pillow.fromarray(_checked_pixels(picture))
    if not isinstance(picture, Pillow.Image):
        return _content(picture)
    stream = io.BytesIO()
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(picture)
    (upright if upright.mode in _PNG_MODES else upright.convert("RGB")).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def sound_bytes(sound: Any) -> bytes:
    """Return the content of a sound's file; samples become a WAV of float32.

    Raises:
        ValueError: it is of no known kind, or not a sound.
        OSError: its file cannot be read.
    """
    if not isinstance(sound, tuple):
        return _content(sound)
    if len(sound) != 2:
        raise ValueError(f"a sound as a tuple is (samples, rate in Hz), not {len(sound)} values")
    samples, rate_hz = np.asarray(sound[0]), sound[1]
    if samples.dtype.kind != "f" or samples.ndim not in (1, 2) or not samples.size:
        raise ValueError(f"samples are float32, (T,) or (T, channels), not {samples.dtype} {samples.shape}")
    stream = io.BytesIO()
    try:
        soundfile.write(stream, samples.astype(np.float32), int(rate_hz), format="WAV", subtype="FLOAT")
    except (soundfile.LibsndfileError, TypeError, OverflowError) as error:
        raise ValueError(f"samples {samples.shape} at {rate_hz} Hz are not a sound: {error}") from error
    return stream.getvalue()


def _pixels(picture: Any) -> np.ndarray:
    if isinstance(picture, np.ndarray):
        return _checked_pixels(picture)
    limits = PrepareConfig().image
    return decode_image(picture_bytes(picture), max_pixels=limits.max_pixels, max_bytes=limits.max_bytes)


def _checked_pixels(picture: np.ndarray) -> np.ndarray:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ValueError(f"a picture as an array is uint8 (H, W, 3), not {picture.dtype} {picture.shape}")
    return picture


def _wave(sound: Any) -> Waveform:
    limits = PrepareConfig().audio
    wave = decode_audio(sound_bytes(sound), max_bytes=limits.max_bytes, max_duration_s=limits.max_duration_s)
    return resample(wave, AUDIO_RATE_HZ)


def _content(given: Any) -> bytes:
    if isinstance(given, bytes):
        return given
    if isinstance(given, str | os.PathLike):
        return read_regular(given, MAX_INPUT_BYTES)
    raise ValueError(f"an input is a path, bytes or decoded media, not of type {type(given).__name__}")
