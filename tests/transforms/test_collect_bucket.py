"""Sources in a bucket: planning asks for many objects at a time, and finds what asking for each would find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.transforms.bucket_media import KINDS, of_media, put, requests, shuffled
from tests.transforms.samples import picture, saved
from trichord.infra.config import ManifestSource, StorageConfig, WebDatasetSource
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.listing import Listing
from trichord.infra.lake.storage import Storage
from trichord.transforms.batch import join
from trichord.transforms.collect import Scope, plan_source, read_partition, replan_source
from trichord.transforms.collect.data_files import TAR_ENDINGS, data_files

ROWS = 1_100
FOLDERS = ("photos/b", "photos/y")


LIKE_OTHERS = ("csv", "coco", "karpathy", "folder")  # lines are as JSONL's, photos as Flickr's, files as an inventory's


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.full] * (kind in LIKE_OTHERS)) for kind in sorted(KINDS)]
)
def test_media_are_versioned_from_listings_of_where_they_lie(
    s3_config: StorageConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    storage, place = Storage(s3_config), f"s3://lake{tmp_path}/data"
    names = shuffled(ROWS, FOLDERS)
    put(place, names)
    source = KINDS[kind](storage, place, names)
    lists_all = kind in ("flickr", "folder", "imagefolder", "inventory")  # whatever lies there may be a row
    put(place, [f"photos/{folder}/{i:05}.bin" for folder in "cz" for i in range(0 if lists_all else 1_200)])

    with requests(monkeypatch) as found:
        planned = plan_source(source, Lake(storage, str(tmp_path / "lake")), rows_per_partition=64, cache=None)
    assert planned.rows == planned.usable == ROWS
    assert len(of_media(found)) <= ROWS / 1_000 + 10, of_media(found)


@pytest.mark.parametrize("by", ["auto", "mtime_size"])
def test_a_plan_by_listings_is_that_of_asking_for_each(
    s3_config: StorageConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: Any
) -> None:
    image = saved(picture(), "JPEG")
    storage, place = Storage(s3_config), f"s3://lake{tmp_path}/data"
    rows = [{"id": f"k{i}", "text": f"text {i}", "image": f"images/{i % 50}.jpg"} for i in range(300)]
    for i in range(49):
        storage.write(f"{place}/images/{i}.jpg", image + b"%d" % i)
    storage.write(f"{place}/m.jsonl", "\n".join(map(json.dumps, rows)).encode())
    source = ManifestSource(kind="manifest", name="m", path=f"{place}/m.jsonl", version_by=by)
    lake = Lake(storage, str(tmp_path / "lake"))
    with requests(monkeypatch) as found:
        planned = plan_source(source, lake, rows_per_partition=64, cache=None)
    assert len(of_media(found)) == 1
    scope = Scope(source="m", keys=frozenset(f"k{i}" for i in range(100)))
    with requests(monkeypatch) as found:
        assert replan_source(source, lake, scope, planned, rows_per_partition=64) == planned
    assert len(of_media(found)) == 1
    monkeypatch.setattr(Listing, "look_up", lambda self, uris: {})
    with requests(monkeypatch) as found:
        assert plan_source(source, lake, rows_per_partition=64, cache=None) == planned
    assert len(of_media(found)) >= 300
    batch = join(part for partition in planned.partitions for part in read_partition(source, lake, partition))
    assert len(batch.rows) == 294
    assert {reject.reason for reject in batch.rejects} == {"media_missing"}


def test_a_folder_for_each_file_costs_no_request_each(
    s3_config: StorageConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, place = Storage(s3_config), f"s3://lake{tmp_path}/data"
    names = [f"{i:04}/photo.jpg" for i in range(ROWS)]
    put(place, names)
    with requests(monkeypatch) as found:
        assert list(storage.folders(place)) == [name.partition("/")[0] for name in names]
    assert len(found) == 2
    source = KINDS["jsonl"](storage, place, names[::11])
    with requests(monkeypatch) as found:
        plan_source(source, Lake(storage, str(tmp_path / "lake")), rows_per_partition=64, cache=None)
    assert len(of_media(found)) == 2


def test_the_files_of_a_pattern_are_found_by_listing(
    s3_config: StorageConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, place = Storage(s3_config), f"s3://lake{tmp_path}/tars"
    put(place, [f"{kind}-{i:03}.tar" for kind in ("test", "train") for i in range(400)])
    source = WebDatasetSource(kind="webdataset", name="w", path=f"{place}/train-{{000..399}}.tar")
    with requests(monkeypatch) as found:
        assert len(data_files(source, storage, TAR_ENDINGS)) == 400
    assert len(found) == 1
