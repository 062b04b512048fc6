"""Query: text, picture, sound or several of them, and how they become a batch for the model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trichord.encoders.base import AUDIO_RATE_HZ
from trichord.encoders.inputs import MAX_INPUT_BYTES, picture_bytes, sound_bytes
from trichord.infra import log
from trichord.infra.config import PrepareConfig
from trichord.infra.errors import ConfigError
from trichord.infra.regular_file import read_regular
from trichord.transforms.batch import Batch, Row
from trichord.transforms.chain import prepare_chain
from trichord.transforms.clean.language import TextLanguage
from trichord.transforms.clean.spelling import TextSpelling, has_doubtful_words
from trichord.transforms.clean.text import text_ops
from trichord.transforms.op import Threshold, run_chain
from trichord.transforms.record import batch_of, finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query to the index.

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
        """Return the query that a string (its text) or a mapping (its parts) describes.

        Raises:
            ConfigError: the query is something else, or has an unknown part.
        """
        if isinstance(asked, Query):
            return asked
        if isinstance(asked, str):
            return cls(text=asked)
        if isinstance(asked, Mapping) and set(asked) <= {"text", "image", "audio"}:
            return cls(**asked)
        raise ConfigError(f"A query is a string, a Query, or a mapping of text, image and audio, not {asked!r:.200}.")


def read_queries(config: PrepareConfig, queries: Sequence[Query], *, before: int = 0, behind: int = 0) -> Batch:
    """Decode queries exactly like records, but without thresholds; return N rows, in order.

    A text counts up to `max_chars` characters, more than any record has.

    Args:
        config: how records are prepared.
        queries: N of them.
        before: number of the caller's queries before these, and `behind` them; for messages only.
        behind: see `before`.

    Raises:
        ConfigError: a query has no part, or a part cannot be read or decoded.
    """
    total = before + len(queries) + behind
    names = ["The query"] if total == 1 else [f"Query {before + n + 1} of {total}" for n in range(len(queries))]
    for number, query in enumerate(queries):
        if query.text is None and query.image is None and query.audio is None:
            raise ConfigError(f"{names[number]} needs a text, an image or an audio, or several of them.")
        if not isinstance(query.text, str | None):
            raise ConfigError(f"{names[number]} has a text that is not a string: {query.text!r:.200}.")
    texts = [_cut(query.text, config.text.max_chars, name) for query, name in zip(queries, names, strict=True)]
    raw = Batch(
        rows=tuple(Row(key=f"{number:09d}", source="query", text=text) for number, text in enumerate(texts)),
        raw_images=tuple(_bytes("image", query.image, picture_bytes) for query in queries),
        raw_audios=tuple(_bytes("audio", query.audio, sound_bytes) for query in queries),
    )
    has_media = any(query.image is not None or query.audio is not None for query in queries)
    ops = prepare_chain(config) if has_media else text_ops(config.text)
    batch, _ = run_chain(raw, [op for op in ops if not isinstance(op, Threshold | TextLanguage | TextSpelling)])
    if config.text.spelling and any(row.text and has_doubtful_words(row.text) for row in batch.rows):
        # the label of the language, whose model loads slowly, is read by the spelling alone
        batch, _ = run_chain(batch, [op for op in ops if isinstance(op, TextLanguage | TextSpelling)])
    for reject in batch.rejects:
        raise ConfigError(f"{names[int(reject.key)]} cannot be used: {reject.reason} ({reject.detail}).")
    for number, (row, image, wave) in enumerate(zip(batch.rows, batch.images, batch.waves, strict=True)):
        if not row.text and image is None and wave is None:
            raise ConfigError(f"{names[number]} is empty: its text holds no visible character.")
    return batch_of(finish(batch, config), AUDIO_RATE_HZ) if has_media else batch  # texts are stored as they are


def _cut(text: str | None, most: int, name: str) -> str | None:
    """Return the first `most` characters: no record has more, and encoding keeps other queries waiting."""
    if text is None or len(text) <= most:
        return text
    log.event("query_cut", query=name, characters=len(text), read=most)
    return text[:most]


def _bytes(part: str, given: Any, read: Callable[[Any], bytes]) -> bytes | None:
    if given is None:
        return None
    try:
        return read(given)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        shown = f"The {part} {os.fspath(given)}" if isinstance(given, str | os.PathLike) else f"The {part} of a query"
        raise ConfigError(f"{shown} cannot be read: {why}.") from error


def read_media(path: Path | None) -> bytes | None:
    """Read a query's picture or sound file.

    Raises:
        ConfigError: the file cannot be read.
    """
    if path is None:
        return None
    try:
        return read_regular(path, MAX_INPUT_BYTES)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
