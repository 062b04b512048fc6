"""Sources in a bucket: planning asks for many objects at a time, and finds what asking for each would find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication

from tests.transforms.samples import picture, saved
from trichord.infra.config import ManifestSource, StorageConfig
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms.batch import join
from trichord.transforms.collect import plan_source, read_partition

ROWS = 300


def test_media_of_a_manifest_are_versioned_from_a_listing(
    s3_config: StorageConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = saved(picture(), "JPEG")
    bucket, place = Storage(s3_config), f"s3://lake{tmp_path}"
    rows = [{"id": f"k{i}", "text": f"text {i}", "image": f"images/{i % 50}.jpg"} for i in range(ROWS)]
    for i in range(49):
        bucket.write(f"{place}/data/images/{i}.jpg", image + b"%d" % i)
    bucket.write(f"{place}/data/m.jsonl", "\n".join(map(json.dumps, rows)).encode())
    source = ManifestSource(kind="manifest", name="m", path=f"{place}/data/m.jsonl")
    lake = Lake(bucket, str(tmp_path / "lake"))
    requests: list[tuple[str, str]] = []
    serve = DomainDispatcherApplication.__call__

    def serving(self: Any, environ: Any, start_response: Any) -> Any:
        requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        return serve(self, environ, start_response)

    monkeypatch.setattr(DomainDispatcherApplication, "__call__", serving)
    planned = plan_source(source, lake, rows_per_partition=64, cache=None)
    assert 1 <= len(requests) <= ROWS / 1_000 + 10, requests
    requests.clear()
    one_by_one = source.model_copy(update={"version_by": "mtime_size"})
    assert plan_source(one_by_one, lake, rows_per_partition=64, cache=None).rows == planned.rows == ROWS
    assert len(requests) >= ROWS, "these versions are not in a listing to the digit: each object is asked for"
    batch = join(part for partition in planned.partitions for part in read_partition(source, lake, partition))
    assert len(batch.rows) == ROWS - 6
    assert {reject.reason for reject in batch.rejects} == {"media_missing"}
