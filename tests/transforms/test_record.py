"""Records: equal content has equal digests, and what is stored is read back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.transforms.samples import picture, saved, sound, tone
from trichord.infra.config import PrepareConfig
from trichord.infra.errors import StorageError
from trichord.infra.lake import schema
from trichord.transforms.batch import Batch, Row
from trichord.transforms.chain import prepare_chain
from trichord.transforms.dedup.signatures import signatures_table
from trichord.transforms.media import pcm16
from trichord.transforms.op import run_chain
from trichord.transforms.record import batch_of, finish, rejects_of

CONFIG = PrepareConfig()
ROW = Row(
    key="a",
    source="s",
    partition="s/all",
    group="g",
    subset="train",
    text="words",
    captions=("others",),
    meta='{"n":1}',
)
SAMPLES = pcm16(tone(0.5, 48_000))
IMAGE, AUDIO = saved(picture(400, 300), "PNG"), sound(SAMPLES, "wav", 48_000)


def prepared(row: Row = ROW, image: bytes | None = IMAGE, audio: bytes | None = AUDIO) -> Batch:
    return run_chain(Batch(rows=(row,), raw_images=(image,), raw_audios=(audio,)), prepare_chain(CONFIG))[0]


def digests(row: Row = ROW, image: bytes | None = IMAGE, audio: bytes | None = AUDIO) -> tuple[str, str]:
    (record,) = finish(prepared(row, image, audio), CONFIG).to_pylist()
    return record["content_digest"], record["row_digest"]


def test_records_fit_their_schema_and_come_back_as_they_were() -> None:
    batch = prepared()
    table = finish(batch, CONFIG)
    assert table.schema == schema.RECORDS
    again = batch_of(table, CONFIG.audio.rate_hz)
    assert again.rows == (replace(ROW, payload="{}"),)
    assert again.scores == batch.scores
    before, after = batch.images[0], again.images[0]
    assert before is not None
    assert after is not None
    assert max(after.shape) == CONFIG.image.side
    assert np.abs(before.astype(int) - after).mean() < 7  # of one colour for four pixels
    sent, kept = batch.waves[0], again.waves[0]
    assert sent is not None
    assert kept is not None
    assert kept.rate_hz == 16_000
    assert np.abs(sent.samples - kept.samples).max() <= 1 / 32_768
    assert finish(batch, CONFIG).equals(table)
    assert batch_of(table.select(["key", "text"]), 16_000).rows == (Row(key="a", text="words"),)
    assert batch_of(table.to_batches()[0], 8_000).waves[0].rate_hz == 8_000  # type: ignore[union-attr]


def test_a_row_without_media_and_a_batch_without_rows_are_records_too() -> None:
    table = finish(prepared(image=None, audio=None), CONFIG)
    assert table["image"].to_pylist() == table["audio"].to_pylist() == [None]
    assert finish(Batch(), CONFIG).schema == schema.RECORDS
    assert signatures_table(finish(Batch(), CONFIG), Batch(), CONFIG.dedup).schema == schema.SIGNATURES
    assert rejects_of(Batch()) == []
    assert len(batch_of(finish(Batch(), CONFIG), 16_000)) == 0


def test_content_is_text_pixels_and_samples_whatever_the_file() -> None:
    base = digests()
    rgb = picture(400, 300)
    same = [saved(rgb, "BMP"), saved(rgb, "TIFF"), saved(rgb, "WEBP", lossless=True)]
    assert {digests(image=image) for image in same} == {base}
    assert digests(audio=sound(SAMPLES, "flac", 48_000)) == base
    assert digests(audio=sound(np.stack([SAMPLES, SAMPLES], axis=1), "wav", 48_000)) == base
    assert digests(replace(ROW, text=" words\u200b ")) == base
    others = [
        digests(replace(ROW, text="Words")),
        digests(image=saved(picture(400, 300, seed=1), "PNG")),
        digests(image=None),
        digests(audio=sound(SAMPLES // 2, "wav", 48_000)),
        digests(audio=None),
    ]
    assert len({content for content, _ in [base, *others]}) == 6
    assert digests(image=None) != digests(audio=None)


def test_every_field_of_a_row_counts_in_its_row_digest_alone() -> None:
    content, row_digest = digests()
    changes = ({"key": "b"}, {"source": "t"}, {"group": "h"}, {"subset": ""}, {"captions": ()}, {"meta": "{}"})
    found = [digests(replace(ROW, **change)) for change in changes]
    assert {other for other, _ in found} == {content}
    assert len({row_digest, *(other for _, other in found)}) == 1 + len(changes)
    assert digests(replace(ROW, payload='{"image":"elsewhere"}', partition="s/01")) == (content, row_digest)


def test_signatures_and_rejects_are_what_the_tables_say() -> None:
    batch = prepared().reject({0: ("a_reason", "the evidence")}, "an_op")
    assert rejects_of(batch) == [
        {
            "key": "a",
            "source": "s",
            "partition": "s/all",
            "op": "an_op",
            "reason": "a_reason",
            "detail": "the evidence",
            "payload": "{}",
            "input_digest": "",
        }
    ]
    batch = prepared()
    table = finish(batch, CONFIG)
    signatures = signatures_table(table, batch, CONFIG.dedup)
    assert signatures.schema == schema.SIGNATURES
    assert signatures["content_digest"] == table["content_digest"]


def test_undecoded_and_damaged_media_are_refused() -> None:
    with pytest.raises(ValueError, match="decoded"):
        finish(Batch(rows=(ROW,), raw_images=(IMAGE,)), CONFIG)
    with pytest.raises(StorageError, match=r"'a'.*image_truncated"):
        batch_of(pa.table({"key": ["a"], "image": [saved(picture(), "JPEG")[:500]]}), 16_000)
