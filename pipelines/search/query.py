"""Query: what is asked, by text, picture, sound, or several of them; and how it becomes a batch for the model."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trichord.encoders.base import AUDIO_RATE_HZ
from trichord.infra.config import PrepareConfig
from trichord.infra.errors import ConfigError
from trichord.transforms.batch import Batch, Row
from trichord.transforms.chain import prepare_chain
from trichord.transforms.op import Threshold, run_chain
from trichord.transforms.record import batch_of, finish

if TYPE_CHECKING:
    pass

Picture = "str | os.PathLike[str] | bytes | np.ndarray | Image"
Sound = "str | os.PathLike[str] | bytes | tuple[np.ndarray, int]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question to the index.

    Attributes:
        text: words.
        image: a file's path, its bytes, a Pillow image, or an array of uint8 (H, W, 3).
        audio: a file's path, its bytes, or (samples, rate in Hz): float32 in [-1, 1], (T,) or (T, channels).
    """

    text: str | None = None
    image: Any = None
    audio: Any = None

    @classmethod
    def of(cls, asked: Query | str | Mapping[str, Any]) -> Query:
        """The query that a string (its text) or a mapping (its parts) stands for.

        Raises:
            ConfigError: it is none of these, or has an unknown part.
        """
        if isinstance(asked, Query):
            return asked
        if isinstance(asked, str):
            return cls(text=asked)
        if isinstance(asked, Mapping) and set(asked) <= {"text", "image", "audio"}:
            return cls(**asked)
        raise ConfigError(f"A query is a string, a Query, or a mapping of text, image and audio, not {asked!r:.200}.")


def read_queries(config: PrepareConfig, queries: Sequence[Query]) -> Batch:
    """Take queries the way records go: same decoding, same canonical form, but no threshold. N rows, in order.

    Raises:
        ConfigError: one has no part, or a part of it cannot be read or decoded.
    """
    for number, query in enumerate(queries):
        if query.text is None and query.image is None and query.audio is None:
            raise ConfigError(f"{_name(number, queries)} needs a text, an image or an audio (or several of them).")
    raw = Batch(
        rows=tuple(Row(key=f"{number:09d}", source="query", text=query.text) for number, query in enumerate(queries)),
        raw_images=tuple(_picture_bytes(query.image) for query in queries),
        raw_audios=tuple(_sound_bytes(query.audio) for query in queries),
    )
    batch, _ = run_chain(raw, [op for op in prepare_chain(config) if not isinstance(op, Threshold)])
    for reject in batch.rejects:
        name = _name(int(reject.key), queries)
        raise ConfigError(f"{name} cannot be used: {reject.reason} ({reject.detail}).")
    for number, (row, image, wave) in enumerate(zip(batch.rows, batch.images, batch.waves, strict=True)):
        if not row.text and image is None and wave is None:
            raise ConfigError(f"{_name(number, queries)} is empty: its text holds no visible character.")
    return batch_of(finish(batch, config), AUDIO_RATE_HZ)


def _name(number: int, queries: Sequence[Query]) -> str:
    return "The query" if len(queries) == 1 else f"Query {number + 1} of {len(queries)}"


def _picture_bytes(image: Any) -> bytes | None:
    if isinstance(image, np.ndarray):
        from PIL import Image

        if image.dtype != np.uint8 or image.ndim not in (2, 3):
            raise ConfigError(f"A picture as an array is uint8 (H, W, 3), not {image.dtype} {image.shape}.")
        image = Image.fromarray(image)
    if hasattr(image, "save") and hasattr(image, "mode"):
        stream = io.BytesIO()
        image.save(stream, "PNG")
        return stream.getvalue()
    return _file_bytes(image, "image")


def _sound_bytes(audio: Any) -> bytes | None:
    if isinstance(audio, tuple):
        import soundfile

        samples, rate_hz = audio
        stream = io.BytesIO()
        soundfile.write(stream, np.asarray(samples, dtype=np.float32), int(rate_hz), format="WAV", subtype="FLOAT")
        return stream.getvalue()
    return _file_bytes(audio, "audio")


def _file_bytes(given: Any, part: str) -> bytes | None:
    if given is None or isinstance(given, bytes):
        return given
    if isinstance(given, str | os.PathLike):
        return read_media(Path(given))
    raise ConfigError(f"The {part} of a query cannot be a {type(given).__name__}. Give a path, bytes or decoded media.")


def read_media(path: Path | None) -> bytes | None:
    """The bytes of a picture or sound that a query holds.

    Raises:
        ConfigError: the file cannot be read.
    """
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
