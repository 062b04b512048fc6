"""Copies of commits: what is lost or damaged of a table's log is noticed and restored, byte by byte."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Place
from tests.infra.test_table import by_address, make_shard, reconcile, row, table_of
from trichord.infra.config import StorageConfig
from trichord.infra.errors import CommitConflict, StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.logged_table import LoggedTables
from trichord.infra.lake.publications import Publications
from trichord.infra.lake.set_aside import set_log_aside
from trichord.infra.lake.storage import Storage

NAME = "signatures"


@pytest.fixture
def local(tmp_path: Path) -> Place:
    return Place(Storage(StorageConfig()), str(tmp_path / "lake"))


def restore(place: Place) -> None:
    log = table_of(place).log
    for damage in log.examine():
        if damage.remedy is None:
            log.forget_checkpoints()
        else:
            place.lake.write(damage.path, damage.remedy)


def damage(path: Path, way: str) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    if way != "remove":
        path.write_bytes({"flip": bytes(data), "cut": bytes(data[: len(data) // 2]), "empty": b""}[way])


@pytest.mark.parametrize("way", ["flip", "cut", "empty", "remove"])
@pytest.mark.parametrize("version", [0, 1, 12, 13])
@pytest.mark.parametrize("path_of", [layout.commit_path, layout.copy_path])
def test_a_damaged_commit_or_copy_is_found_and_restored(local: Place, way: str, version: int, path_of) -> None:
    refs = [make_shard(local, number) for number in range(3)]
    for step in range(14):  # past a checkpoint
        reconcile(table_of(local), [refs[step % 3], refs[(step + 1) % 3]])
    path = Path(local.uri, path_of(NAME, version))
    before = path.read_bytes()
    damage(path, way)
    (found,) = table_of(local).log.examine()
    assert found.path == path_of(NAME, version)
    assert LoggedTables(local.lake).shards(NAME, 13) == by_address([refs[13 % 3], refs[14 % 3]])
    restore(local)
    assert path.read_bytes() == before
    assert table_of(local).log.examine() == []
    assert table_of(local).shards() == by_address([refs[13 % 3], refs[14 % 3]])


@pytest.mark.parametrize("version", [0, 1])
def test_a_table_that_lost_its_last_commit_is_not_the_table_of_the_day_before(place: Place, version: int) -> None:
    for step in range(version + 1):
        reconcile(table_of(place), [make_shard(place, step)])
    place.lake.delete(layout.commit_path(NAME, version))
    with pytest.raises(StorageError, match="trichord recover"):
        table_of(place).shards()
    restore(place)
    assert table_of(place).version() == version


@pytest.mark.parametrize("name", ["_last_checkpoint", "*.checkpoint.parquet"])
@pytest.mark.parametrize("way", ["flip", "cut", "empty", "remove"])
def test_a_damaged_checkpoint_is_found_and_the_commits_take_its_place(local: Place, name: str, way: str) -> None:
    refs = [make_shard(local, number) for number in range(12)]
    for ref in refs:
        reconcile(table_of(local), [ref])
    (path,) = Path(local.uri, layout.log_folder(NAME)).glob(name)
    damage(path, way)
    assert [found.path for found in table_of(local).log.examine()] == [f"{layout.log_folder(NAME)}/{path.name}"]
    restore(local)
    assert table_of(local).log.examine() == []
    assert table_of(local).shards() == by_address(refs[11:])


def test_a_commit_whose_writer_was_killed_gets_its_copy_from_the_next(local: Place) -> None:
    table = table_of(local)
    for step in range(3):
        reconcile(table, [make_shard(local, step)])
    for version in (1, 2):
        Path(local.uri, layout.copy_path(NAME, version)).unlink()
    assert table.shards() == by_address([make_shard(local, 2)])  # a missing copy stops nobody
    reconcile(table, [make_shard(local, 3)])
    assert table.log.examine() == []


def test_a_commit_lost_with_its_copy_is_said_to_be_lost(local: Place) -> None:
    for step in range(3):
        reconcile(table_of(local), [make_shard(local, step)])
    for path_of in (layout.commit_path, layout.copy_path):
        Path(local.uri, path_of(NAME, 1)).unlink()
    (found,) = table_of(local).log.examine()
    assert found.version == 1
    with pytest.raises(StorageError, match="lost"):
        LoggedTables(local.lake).shards(NAME, 2)
    assert LoggedTables(local.lake).shards(NAME, 0) == by_address([make_shard(local, 0)])
    set_log_aside(local.lake, NAME)
    assert table_of(local).version() is None


def test_publications_are_in_their_commits_and_the_table_is_made_again_from_these(place: Place) -> None:
    publications = Publications(place.lake)
    for sequence in range(1, 5):
        publications.append(row(sequence))
    shards = [stat.uri for stat in place.lake.list("publications") if stat.uri.endswith(".parquet")]
    for uri in shards:
        place.storage.delete(uri)
    with pytest.raises(StorageError, match="trichord recover"):
        Publications(place.lake).live()
    assert publications.logged(3) == [row(sequence) for sequence in range(1, 5)]
    assert Publications(place.lake).rows(1) == [row(1), row(2)]  # every earlier version stays readable
    assert Publications(place.lake).rewrite(publications.logged(3), [], after=3) is None  # the very same file
    assert Publications(place.lake).rows() == [row(sequence) for sequence in range(1, 5)]
    with pytest.raises(CommitConflict, match="recover"):
        Publications(place.lake).rewrite([row(1)], [], after=2)


def test_publications_get_a_new_log_where_the_old_one_is_set_aside(local: Place) -> None:
    lake = Lake(local.storage, local.uri)
    publications = Publications(lake)
    for sequence in range(1, 4):
        publications.append(row(sequence))
    set_log_aside(lake, "publications")
    assert Publications(lake).rewrite([row(1), row(2)], [row(3)], after=-1) == 0
    assert Publications(lake).rows() == [row(1), row(2), row(3)]
    assert Publications(lake).logged(0) == [row(1), row(2), row(3)]


@pytest.mark.parametrize(
    "change",
    [
        *((f'"{name}"', f'"{name}x"') for name in ("dataChange", "partitionValues", "minReaderVersion", "path")),
        (r'"path":"..', '"path":"zz'),
        ("numRecords", "numRecorde"),
    ],
)
def test_a_commit_without_a_copy_that_delta_or_we_cannot_read_is_lost(local: Place, change: tuple[str, str]) -> None:
    reconcile(table_of(local), [make_shard(local, 0)])
    Path(local.uri, layout.copy_path(NAME, 0)).unlink()
    commit = Path(local.uri, layout.commit_path(NAME, 0))
    commit.write_text(re.sub(*change, commit.read_text()))
    (found,) = table_of(local).log.examine()
    assert (found.path, found.version) == (layout.commit_path(NAME, 0), 0)
