"""Listing: the stats of many objects for a few requests, and the same as those asked for one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from trichord.infra.config import StorageConfig
from trichord.infra.lake import listing
from trichord.infra.lake.listing import Listing
from trichord.infra.lake.storage import Stat, Storage


@pytest.fixture
def bucket(s3_config: StorageConfig, tmp_path: Path) -> tuple[Storage, str]:
    storage, root = Storage(s3_config), f"s3://lake{tmp_path}/media"
    for i in range(30):
        storage.write(f"{root}/{'ab'[i % 2]}/{i:02}.jpg", b"x" * i)
    return storage, root


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """URIs that were asked for one by one."""
    uris: list[str] = []
    stat = Storage.stat

    def asking(self: Storage, uri: str) -> Stat:
        uris.append(uri)
        return stat(self, uri)

    monkeypatch.setattr(Storage, "stat", asking)
    return uris


def test_a_listing_says_of_objects_what_asking_for_each_says(bucket: tuple[Storage, str], asked: list[str]) -> None:
    storage, root = bucket
    listed = Listing(storage, root, 1_000)
    found = {i: listed.stat(f"{root}/{'ab'[i % 2]}/{i:02}.jpg") for i in range(30)}
    assert asked == []
    for stat in found.values():
        alone = storage.stat(stat.uri)
        assert (stat.uri, stat.size, stat.etag) == (alone.uri, alone.size, alone.etag)
    asked.clear()
    for name in ("a/99.jpg", "none", "a", "a/00.jpg/x"):
        with pytest.raises(FileNotFoundError):
            listed.stat(f"{root}/{name}")
    assert asked == []


def test_what_is_behind_its_end_or_outside_is_asked_for(bucket: tuple[Storage, str], asked: list[str]) -> None:
    storage, root = bucket
    listed = Listing(storage, root, 20)
    assert listed.stat(f"{root}/b/09.jpg").size == 9
    with pytest.raises(FileNotFoundError):
        listed.stat(f"{root}/a/99.jpg")
    assert asked == []
    assert listed.stat(f"{root}/b/29.jpg").size == 29
    with pytest.raises(FileNotFoundError):
        listed.stat(f"{root}/c.jpg")
    other = f"{root}-other.jpg"
    storage.write(other, b"12")
    assert listed.stat(other).size == 2
    assert asked == [f"{root}/b/29.jpg", f"{root}/c.jpg", other]
    assert listing.PAGE == 1_000
