"""Footers: committed shards are found without being opened, unless their files are not as they were."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.conftest import Place
from tests.infra.test_shard import records
from trichord.infra.digest import address
from trichord.infra.lake import layout
from trichord.infra.lake.footers import FEW, Footers
from trichord.infra.lake.schema import RECORDS
from trichord.infra.lake.shard import ShardRef, ShardWriter, find_finished
from trichord.infra.lake.storage import Storage

SHARDS = FEW + 4


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """URIs that were opened."""
    uris: list[str] = []
    record_opened(monkeypatch, uris)
    return uris


def record_opened(monkeypatch: pytest.MonkeyPatch, uris: list[str]) -> None:
    """Add each URI that is opened from now on to a list."""
    open_file = Storage.open

    def opening(self: Storage, uri: str) -> BinaryIO:
        uris.append(uri)
        return open_file(self, uri)

    monkeypatch.setattr(Storage, "open", opening)


def write_shards(place: Place, count: int = SHARDS) -> dict[str, ShardRef]:
    refs = {}
    for i in range(count):
        with ShardWriter(place.lake, "records", address("shard", i), RECORDS) as writer:
            writer.write(records(3))
            ref = writer.finish({"rows_in": 3, "fan_out": 0, "rows_kept": 3, "rows_rejected": 0, "op/in": i})
        refs[ref.address] = ref
    return refs


def test_committed_shards_are_found_with_their_counts_and_none_is_opened(place: Place, opened: list[str]) -> None:
    refs = write_shards(place)
    assert find_finished(place.lake, "records", refs) == refs
    assert len(opened) == SHARDS
    opened.clear()
    Footers.remember(place.lake, "records", refs.values())
    found = find_finished(place.lake, "records", refs)
    assert found == refs
    assert {one: dict(ref.counts) for one, ref in found.items()} == {one: dict(r.counts) for one, r in refs.items()}
    assert opened == []
    find_finished(place.lake, "records", refs, verify=True)
    assert len(opened) == SHARDS


@pytest.mark.full
def test_of_thousands_of_committed_shards_none_is_opened(
    tmp_path: Path, storage: Storage, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    place = Place(storage, str(tmp_path))
    refs = write_shards(place, 2_000)
    Footers.remember(place.lake, "records", refs.values())
    opened.clear()
    assert find_finished(place.lake, "records", refs) == refs
    assert opened == []


def test_a_file_that_is_not_as_it_was_is_opened(tmp_path: Path, storage: Storage, opened: list[str]) -> None:
    place = Place(storage, str(tmp_path))
    refs = write_shards(place)
    Footers.remember(place.lake, "records", refs.values())
    first, second, third = list(refs)[:3]
    path = Path(place.lake.uri(refs[first].path))
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)  # damage that keeps the size
    os.truncate(place.lake.uri(refs[second].path), 100)
    os.unlink(place.lake.uri(refs[third].path))
    found = find_finished(place.lake, "records", refs)
    assert refs.keys() - found.keys() == {first, second, third}
    assert sorted(opened) == sorted(place.lake.uri(refs[one].path) for one in (first, second))


@pytest.mark.parametrize("damage", ["missing", "damaged", "other columns"])
def test_without_its_file_everything_is_opened(
    damage: str, tmp_path: Path, storage: Storage, opened: list[str]
) -> None:
    place = Place(storage, str(tmp_path))
    refs = write_shards(place)
    Footers.remember(place.lake, "records", refs.values())
    file = Path(place.lake.uri(layout.footers_path("records")))
    if damage == "missing":
        file.unlink()
    elif damage == "damaged":
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    else:
        file.write_bytes(Path(place.lake.uri(next(iter(refs.values())).path)).read_bytes())
    assert find_finished(place.lake, "records", refs) == refs
    assert len(opened) == SHARDS


def test_it_is_written_only_where_something_changed_and_not_for_few(tmp_path: Path, storage: Storage) -> None:
    place = Place(storage, str(tmp_path))
    refs = list(write_shards(place).values())
    file = Path(place.lake.uri(layout.footers_path("records")))
    Footers.remember(place.lake, "records", refs[:FEW])
    assert not file.exists()
    Footers.remember(place.lake, "records", refs)
    stamp = file.stat().st_mtime_ns
    Footers.remember(place.lake, "records", refs)
    assert file.stat().st_mtime_ns == stamp
    Footers.remember(place.lake, "records", refs[1:])
    assert len(Footers.load(place.lake, "records")._known) == SHARDS - 1
