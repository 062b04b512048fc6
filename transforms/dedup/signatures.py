"""What identifies a record's content: a digest for exact copies, signatures for near ones."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from trichord.infra import digest
from trichord.infra.config import DedupConfig
from trichord.infra.lake import schema
from trichord.infra.packages import version
from trichord.transforms.batch import Batch, Row
from trichord.transforms.dedup import detail, same_text, shingles, spectrum
from trichord.transforms.libraries import opencv_version
from trichord.transforms.op import OpRecipe

_OF_RECORDS = ("key", "source", "partition", "row_digest", "content_digest")


def content_digest(text: str | None, image: bytes | None, audio: bytes | None) -> str:
    """Return the digest of the stored text, picture and sound (32 hex characters).

    Equal pixels and samples are stored as equal bytes, so a file encoded again without loss is the same content.
    Captions, key and source do not count.
    """
    media = (None if data is None else hashlib.sha256(data).hexdigest() for data in (image, audio))
    return digest.address("content", text, *media)


def row_digest(row: Row, content: str) -> str:
    """Return the digest of a prepared row, with key, source and content (32 hex characters)."""
    return digest.address("row", row.source, row.key, content, list(row.captions), row.meta, row.group, row.subset)


def signature_recipe(config: DedupConfig) -> list[OpRecipe]:
    """Return what shapes the signatures: a part of the address of whatever `prepare` makes.

    It holds no limits: other limits need no media.
    """
    if not config.near:
        return []
    libraries = {"numpy": version("numpy"), "opencv": opencv_version(), "scipy": version("scipy")}
    versions = {
        "text": shingles.VERSION,
        "spectrum": spectrum.VERSION,
        "form": same_text.VERSION,
        "detail": detail.VERSION,
    }
    return [{"op": "signatures", "version": 1, "settings": {**versions, "libraries": libraries}}]


def signatures_table(records: pa.Table, batch: Batch, config: DedupConfig) -> pa.Table:
    """Return what dedup needs of prepared rows; `records` is `finish(batch)`, row for row."""
    rows = []
    sketches = shingles.text_sketches([row.text if config.near else None for row in batch.rows])
    bands = shingles.bands_of(sketches)
    for i, (row, image, wave, larger) in enumerate(
        zip(batch.rows, batch.images, batch.waves, batch.details, strict=True)
    ):
        given = (("text", row.text), ("image", image), ("audio", wave))
        shown = None if image is None or not config.near else detail.contents_of(image, larger)
        rows.append(
            {
                "input_digest": row.input_digest,
                "modalities": ",".join(name for name, value in given if value is not None) if config.near else "",
                "text_sketch": sketches[i],
                "text_bands": bands[i],
                "image_hash": None if shown is None else spectrum.image_hash(shown.stripped),
                "image_inner": None if shown is None or shown.inner is None else spectrum.image_hash(shown.inner),
                "audio_hash": None if wave is None or not config.near else spectrum.audio_hash(wave),
                "text_form": same_text.form_digest(row.text) if config.near else None,
                "image_map": None if shown is None else shown.map,
                "image_detail": larger,
            }
        )
    kept = records.select(_OF_RECORDS)
    added = pa.Table.from_pylist(
        rows, schema=pa.schema([schema.SIGNATURES.field(i) for i in range(5, len(schema.SIGNATURES))])
    )
    columns = {**dict(zip(kept.column_names, kept.columns, strict=True)),
               **dict(zip(added.column_names, added.columns, strict=True))}  # fmt: skip
    return pa.table(columns).cast(schema.SIGNATURES)
