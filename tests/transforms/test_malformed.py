"""No crash, no loss: every malformed input is one reject with a reason, and the rows beside it stay."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.transforms import malformed
from tests.transforms.samples import picture, saved, sound, tone
from trichord.infra.config import ManifestSource, PrepareConfig, StorageConfig
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms import media
from trichord.transforms.batch import Batch, Reject, Row
from trichord.transforms.chain import prepare_chain
from trichord.transforms.collect import plan_source, read_partition
from trichord.transforms.op import run_chain
from trichord.transforms.record import finish, rejects_of

CONFIG = PrepareConfig()
CHAIN = prepare_chain(CONFIG)
IMAGES, AUDIOS, LINES = malformed.images(), malformed.audios(), malformed.lines()


def rejected(bad: Batch, good: Batch) -> Reject:
    """The one reject that a bad row between good ones becomes."""
    rows = (*good.rows, *bad.rows, Row(key="last", text="words"))
    images, audios = (*good.raw_images, *bad.raw_images, None), (*good.raw_audios, *bad.raw_audios, None)
    after, _ = run_chain(Batch(rows=rows, raw_images=images, raw_audios=audios), CHAIN)
    assert [row.key for row in after.rows] == ["good", "last"]
    assert finish(after, CONFIG).num_rows == 2
    assert len(rejects_of(after)) == 1
    return after.rejects[0]


def test_there_are_at_least_forty_of_each_modality() -> None:
    assert min(len(IMAGES), len(AUDIOS), len(LINES)) >= 40


@pytest.mark.parametrize("name", IMAGES)
def test_a_malformed_image_is_one_reject_with_reason(name: str) -> None:
    data, reasons = IMAGES[name]
    good = Batch(rows=(Row(key="good"),), raw_images=(saved(picture(), "PNG"),))
    reject = rejected(Batch(rows=(Row(key="bad", text="words"),), raw_images=(data,)), good)
    assert reject.op == "image_decode"
    assert reject.reason in reasons, reject.detail
    assert f"| {reject.reason}" in str(media.__doc__) or f", {reject.reason} |" in str(media.__doc__)
    assert reject.detail


@pytest.mark.parametrize("name", AUDIOS)
def test_a_malformed_sound_is_one_reject_with_reason(name: str) -> None:
    data, reasons = AUDIOS[name]
    good = Batch(rows=(Row(key="good"),), raw_audios=(sound(tone(), rate_hz=16_000),))
    reject = rejected(Batch(rows=(Row(key="bad", text="words"),), raw_audios=(data,)), good)
    assert reject.op == "audio_decode"
    assert reject.reason in reasons, reject.detail
    assert re.search(rf"[|,] {reject.reason}\b", str(media.__doc__))
    assert reject.detail


@pytest.mark.parametrize("name", LINES)
def test_a_malformed_row_is_one_reject_with_reason(name: str, tmp_path: Path) -> None:
    line, reason = LINES[name]
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "good.jpg").write_bytes(saved(picture(), "JPEG"))
    (tmp_path / "good.jpg").write_bytes(saved(picture(), "JPEG"))
    good = [json.dumps({"id": key, "text": "words", "image": "good.jpg"}).encode() for key in ("first", "last")]
    (folder / "m.jsonl").write_bytes(b"\n".join([good[0], line, good[1]]))
    source = ManifestSource(kind="manifest", name="s", path=str(folder / "m.jsonl"))
    storage = Storage(StorageConfig())
    plan = plan_source(source, Lake(storage, str(tmp_path / "lake")), rows_per_partition=2, cache=None)
    assert plan.rows == 3
    batches = [
        run_chain(batch, CHAIN)[0]
        for partition in plan.partitions
        for batch in read_partition(source, Lake(storage, str(tmp_path / "lake")), partition)
    ]
    assert sorted(row.key for batch in batches for row in batch.rows) == ["first", "last"]
    (reject,) = [reject for batch in batches for reject in batch.rejects]
    assert reject.reason == reason, reject.detail
    assert reject.detail
    assert reject.source == "s"
    assert isinstance(json.loads(reject.payload), dict)
    assert sum(len(rejects_of(batch)) for batch in batches) == 1
