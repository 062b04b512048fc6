"""Records: prepared batches as rows of the lake's tables, and stored records as batches."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar

import pyarrow as pa

from trichord.infra.config import PrepareConfig, Source
from trichord.infra.errors import StorageError
from trichord.infra.lake import schema
from trichord.infra.packages import version
from trichord.transforms.align.words import Aligner
from trichord.transforms.batch import Batch, Image, Row, Waveform
from trichord.transforms.chain import prepare_chain
from trichord.transforms.dedup.signatures import content_digest, row_digest, signature_recipe
from trichord.transforms.libraries import audio_libraries, image_libraries
from trichord.transforms.media import (
    MediaError,
    decode_audio,
    decode_image,
    encode_audio,
    encode_image,
    resample,
)
from trichord.transforms.op import OpRecipe, recipe_of

# What any op may compute with, including the character tables.
NUMERIC_LIBRARIES = {name: version(name) for name in ("numpy", "scipy", "torch")} | {
    "unicode": unicodedata.unidata_version
}
FINISH_VERSION = 2  # raised when the same batch would give other bytes
M = TypeVar("M")
_ROW_COLUMNS = ("source", "partition", "group", "subset", "meta", "text", "parent")
_STORED_BYTES, _STORED_PIXELS, _STORED_S = 1 << 30, 1 << 26, 1e6  # prepare wrote them, so bounds need not be tight


def record_recipe(
    config: PrepareConfig, source: Source | None = None, aligner: Aligner | None = None
) -> list[OpRecipe]:
    """Return all that shapes a partition's records: the prepare chain and the encoding."""
    return [
        *recipe_of(prepare_chain(config, source, aligner)),
        {
            "op": "finish",
            "version": FINISH_VERSION,
            "settings": {
                "quality": config.image.quality,
                "libraries": image_libraries() | audio_libraries() | NUMERIC_LIBRARIES,
            },
        },
        *signature_recipe(config.dedup),
    ]


def finish(batch: Batch, config: PrepareConfig) -> pa.Table:
    """Return the batch's rows as a RECORDS table, each medium encoded once.

    Raises:
        ValueError: a medium was not decoded.
    """
    if any(raw is not None for raw in (*batch.raw_images, *batch.raw_audios)):
        raise ValueError("finish needs decoded media; run the prepare chain first")
    rows = []
    for row, image, wave, scores in zip(batch.rows, batch.images, batch.waves, batch.scores, strict=True):
        stored_image = None if image is None else encode_image(image, config.image.quality)
        stored_audio = None if wave is None else encode_audio(wave)
        content = content_digest(row.text, stored_image, stored_audio)
        rows.append(
            {
                "key": row.key,
                "source": row.source,
                "partition": row.partition,
                "group": row.group,
                "subset": row.subset,
                "content_digest": content,
                "row_digest": row_digest(row, content),
                "captions": row.captions,
                "meta": row.meta,
                "scores": sorted(scores.items()),
                "labels": row.labels,
                "changes": [asdict(change) for change in row.changes],
                "segments": [asdict(segment) for segment in row.segments],
                "parent": row.parent,
                "span": row.span,
                "box": row.box,
                "text": row.text,
                "image": stored_image,
                "audio": stored_audio,
            }
        )
    return pa.Table.from_pylist(rows, schema=schema.RECORDS)


def rejects_of(batch: Batch) -> list[dict[str, str]]:
    """Return the batch's rejects as rows of REJECTS."""
    return [asdict(reject) for reject in batch.rejects]


def batch_of(records: pa.Table | pa.RecordBatch, rate_hz: int) -> Batch:
    """Return stored records as a batch with decoded media, sound at `rate_hz`. All columns but `key` are optional.

    Raises:
        StorageError: a stored medium cannot be decoded.
    """
    columns = {name: records.column(name).to_pylist() for name in records.schema.names}
    rows, images, waves, scores = [], [], [], []
    for i, key in enumerate(columns["key"]):
        values = {name: column[i] for name, column in columns.items()}
        images.append(stored_image(key, values.get("image")))
        waves.append(stored_wave(key, values.get("audio"), rate_hz))
        scores.append(dict(values.get("scores") or ()))
        given = {name: values[name] for name in _ROW_COLUMNS if name in values}
        rows.append(Row(key=key, captions=tuple(values.get("captions") or ()), **given))
    return Batch(rows=tuple(rows), images=tuple(images), waves=tuple(waves), scores=tuple(scores))


def stored_image(key: str, stored: bytes | None) -> Image | None:
    """Return the picture that a record holds. Raises StorageError: it cannot be decoded."""
    return _decoded(key, _image, stored)


def stored_wave(key: str, stored: bytes | None, rate_hz: int) -> Waveform | None:
    """Return the sound that a record holds, at `rate_hz`. Raises StorageError: it cannot be decoded."""
    return _decoded(key, lambda data: _wave(data, rate_hz), stored)


def _decoded(key: str, decode: Callable[[bytes | None], M], stored: bytes | None) -> M:
    try:
        return decode(stored)
    except MediaError as error:
        raise StorageError(
            f"a medium of the record {key!r} cannot be decoded ({error.reason}: {error.detail}). Run `trichord recover`"
        ) from error


def _image(stored: bytes | None) -> Image | None:
    return None if stored is None else decode_image(stored, max_pixels=_STORED_PIXELS, max_bytes=_STORED_BYTES)


def _wave(stored: bytes | None, rate_hz: int) -> Waveform | None:
    if stored is None:
        return None
    return resample(decode_audio(stored, max_bytes=_STORED_BYTES, max_duration_s=_STORED_S), rate_hz)
