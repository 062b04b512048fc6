"""Content digests: equal for records that say, show and sound exactly the same."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa

from infra import digest
from infra.config import DedupConfig
from infra.lake import schema
from transforms.batch import Batch, Image, Row, Waveform
from transforms.media import pcm16


def content_digest(row: Row, image: Image | None, wave: Waveform | None) -> str:
    """Digest of the normalised text, the canonical pixels and the canonical 16-bit samples (32 hex characters).

    A file encoded again without loss is the same content; captions, key and source do not count.
    """
    return digest.address(
        "content",
        row.text,
        None if image is None else [list(image.shape), hashlib.sha256(image.tobytes()).hexdigest()],
        None if wave is None else [wave.rate_hz, hashlib.sha256(pcm16(wave.samples).tobytes()).hexdigest()],
    )


def signature_recipe(config: DedupConfig) -> list[dict[str, Any]]:
    """What shapes the signatures: a part of the address of whatever `prepare` makes. JSON."""
    del config
    return []


def signatures_table(records: pa.Table, batch: Batch, config: DedupConfig) -> pa.Table:
    """What dedup needs of prepared rows: `records` is `finish(batch)`, row for row."""
    del batch, config
    return records.select(schema.SIGNATURES.names).cast(schema.SIGNATURES)
