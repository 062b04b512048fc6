"""Real files: every picture and sound of the sample decodes, and its manifest is collected whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trichord.infra.config import ManifestSource, PrepareConfig, StorageConfig
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms.batch import Batch, Row
from trichord.transforms.chain import prepare_chain
from trichord.transforms.collect import plan_source, read_partition
from trichord.transforms.media import decode_audio, decode_image
from trichord.transforms.op import run_chain

SAMPLE = Path(os.environ.get("TRICHORD_SAMPLE", ""))
pytestmark = pytest.mark.sample


def test_every_real_picture_and_sound_decodes() -> None:
    pictures, sounds = sorted(SAMPLE.rglob("*.jpg")), sorted(SAMPLE.rglob("*.ogg"))
    assert len(pictures) > 200
    assert len(sounds) > 200
    for path in pictures:
        rgb = decode_image(path.read_bytes(), max_pixels=50_000_000, max_bytes=50_000_000)
        assert min(rgb.shape[:2]) > 100
    for path in sounds:
        wave = decode_audio(path.read_bytes(), max_bytes=50_000_000, max_duration_s=600)
        assert 0.3 < wave.duration_s < 60


def test_every_row_of_the_real_manifest_is_collected_and_prepared(tmp_path: Path) -> None:
    source = ManifestSource(kind="manifest", name="sample", path=str(SAMPLE / "manifest.jsonl"))
    storage = Storage(StorageConfig())
    plan = plan_source(source, Lake(storage, str(tmp_path)), rows_per_partition=64, cache=None)
    rows, chain = sum(1 for _ in (SAMPLE / "manifest.jsonl").open()), prepare_chain(PrepareConfig())
    assert plan.rows == rows
    kept: list[Row] = []
    rejects: Batch = Batch()
    for partition in plan.partitions:
        for batch in read_partition(source, Lake(storage, str(tmp_path)), partition):
            after, _ = run_chain(batch, chain)
            kept.extend(after.rows)
            rejects = Batch(rejects=rejects.rejects + after.rejects)
    assert len(kept) + len(rejects.rejects) == rows
    assert [(reject.key, reject.reason, reject.detail) for reject in rejects.rejects] == []
