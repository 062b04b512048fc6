"""A shortened log: what is kept reads as before, whatever file is damaged and wherever the work was cut off."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from deltalake import DeltaTable

from tests.conftest import Place
from tests.infra.test_commit_log import damage
from tests.infra.test_table import make_shard, reconcile, row, table_of
from trichord.infra.config import StorageConfig
from trichord.infra.errors import StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.commit_log import Damage
from trichord.infra.lake.log_base import Base
from trichord.infra.lake.logged_table import LoggedTables
from trichord.infra.lake.publications import Publications, rows_until
from trichord.infra.lake.shard import ShardRef
from trichord.infra.lake.shorten import shorten
from trichord.infra.lake.storage import Storage
from trichord.infra.lake.table import LakeTable

NAME = "signatures"
COMMITS, NEEDED, FIRST = 22, 15, 9  # version 9 is the last before 15 with a checkpoint, the next is 19
Shards = dict[str, ShardRef]


class KilledError(Exception):
    """Stands for SIGKILL: nothing is done after it."""


def kill_before(step: int) -> Callable[[], None]:
    steps = iter(range(step))

    def check() -> None:
        if next(steps, None) is None:
            raise KilledError

    return check


def shorten_log(place: Place, needed: int = NEEDED, kill_at: int = 1_000, before_ns: int | None = None) -> int:
    before_ns = time.time_ns() if before_ns is None else before_ns
    return shorten(place.lake, NAME, needed=needed, before_ns=before_ns, check=kill_before(kill_at))


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Shards]]:
    """A lake with a table of 22 commits, and what each version holds. Read only."""
    folder = tmp_path_factory.mktemp("long")
    place = Place(Storage(StorageConfig()), str(folder / "lake"))
    refs, versions = [make_shard(place, number) for number in range(3)], []
    for step in range(COMMITS):
        reconcile(table_of(place), [refs[step % 3], *refs[(step + 1) % 3 :][:1]])
        versions.append(table_of(place).shards())
    return folder, versions


@pytest.fixture
def copies(long: tuple[Path, list[Shards]], tmp_path: Path) -> Callable[[str], Place]:
    """Make copies of the lake."""

    def copy(name: str) -> Place:
        shutil.copytree(long[0], tmp_path / name, copy_function=os.link)
        return Place(Storage(StorageConfig()), str(tmp_path / name / "lake"))

    return copy


def require_same(place: Place, versions: list[Shards], first: int = NEEDED) -> None:
    """Require that needed versions read as before: by us, by Delta alone, and from commits and copies alone."""
    logged = LoggedTables(place.lake)
    assert table_of(place).version() == logged.newest(NAME) == len(versions) - 1
    for version in {first, NEEDED, len(versions) - 1} - set(range(first)):
        wanted = versions[version]
        assert table_of(place).shards(version) == logged.shards(NAME, version) == wanted
        uris = DeltaTable(place.lake.uri(NAME), version=version).file_uris()
        assert set(uris) == {place.lake.uri(ref.path) for ref in wanted.values()}


def versions_of(place: Place, ending: str) -> list[int]:
    names = [path.name for path in Path(place.uri, NAME).rglob(f"{'[0-9]' * 20}{ending}")]
    return sorted(int(name.split(".")[0]) for name in names)


def restore(table: LakeTable) -> list[Damage]:
    """Repair what is damaged, as `trichord recover` does; return it."""
    found = table.log.examine()
    for one in found:
        if one.path.endswith(".base"):
            base = table.log.base()
            assert base is not None
            table.log.write_base(base)
        elif one.remedy is None:
            table.log.forget_checkpoints()
        else:
            table._lake.write(one.path, one.remedy)
    return found


def test_what_is_needed_reads_as_before_and_what_is_not_is_gone(long, copies) -> None:
    place, (_, versions) = copies("copy"), long
    assert shorten_log(place) == FIRST
    for ending in (".json", ".copy"):
        assert versions_of(place, ending) == list(range(FIRST, COMMITS))
    assert versions_of(place, ".checkpoint.parquet") == [FIRST, 19]
    assert versions_of(place, ".base") == [FIRST]
    assert table_of(place).log.examine() == []
    require_same(place, versions, first=FIRST)
    for read in (table_of(place).shards, partial(LoggedTables(place.lake).shards, NAME)):
        with pytest.raises(StorageError, match=f"8 of table .* no longer kept: its log begins with version {FIRST}"):
            read(8)
    assert shorten_log(place) == 0
    for step in range(8):  # up to another checkpoint
        reconcile(table_of(place), [make_shard(place, step % 3)])
    assert shorten_log(place, needed=29) == 29 - FIRST
    assert (versions_of(place, ".base"), versions_of(place, ".json")) == ([29], [29])
    assert table_of(place).log.examine() == []
    assert table_of(place).shards() == LoggedTables(place.lake).shards(NAME, 29)


def test_work_that_is_cut_off_anywhere_changes_nothing_for_readers_and_is_completed_by_the_next(long, copies) -> None:
    step, killed = 0, True
    while killed:
        place = copies(str(step))
        try:
            shorten_log(place, kill_at=step)
            killed = False
        except KilledError:
            pass
        assert table_of(place).log.examine() == []
        require_same(place, long[1])
        shorten_log(place)
        assert versions_of(place, ".json") == versions_of(place, ".copy") == list(range(FIRST, COMMITS))
        require_same(place, long[1])
        shutil.rmtree(Path(place.uri).parent)
        step += 1
    assert step > 2 * FIRST


def test_a_base_replaces_an_earlier_one_wherever_it_is_cut_off(long, copies) -> None:
    for step in range(0, 24, 3):
        place = copies(str(step))
        shorten_log(place)
        with pytest.raises(KilledError):
            shorten_log(place, needed=20, kill_at=step)
        for path in Path(place.uri, NAME, layout.COPIES).glob("*.base"):
            damage(path, "flip")  # both of them, if there are two
        require_same(place, long[1], first=20)
        restore(table_of(place))
        assert table_of(place).log.examine() == []
        require_same(place, long[1], first=20)


@pytest.mark.parametrize("way", ["flip", "cut", "remove"])
def test_any_file_of_a_shortened_log_that_is_damaged_is_found_and_restored(long, copies, tmp_path, way) -> None:
    shortened = copies("shortened")
    shorten_log(shortened)
    lake = Path(shortened.uri)
    files = [path for folder in (layout.LOG, layout.COPIES) for path in (lake / NAME / folder).iterdir()]
    assert len(files) == 2 * (COMMITS - FIRST) + 2 + 1 + 1  # commits and copies, checkpoints, the last, the base
    for path in files:
        shutil.copytree(lake, tmp_path / path.name, copy_function=os.link)
        place = Place(shortened.storage, str(tmp_path / path.name))
        relative = path.relative_to(lake)
        victim = Path(place.uri, relative)
        damage(victim, way)
        assert LoggedTables(place.lake).shards(NAME, NEEDED) == long[1][NEEDED]
        assert [one.path for one in restore(table_of(place))] == [relative.as_posix()]
        assert table_of(place).log.examine() == []
        require_same(place, long[1], first=FIRST)
        if path.name in ("_last_checkpoint", f"{19:020d}.checkpoint.parquet"):
            assert not victim.exists()  # the commits say the same
        elif path.name != f"{FIRST:020d}.copy":  # which named the last checkpoint of its time
            assert victim.read_bytes() == path.read_bytes()


def test_a_base_that_is_lost_with_its_checkpoint_is_said_to_be_lost(copies) -> None:
    place = copies("copy")
    shorten_log(place)
    for path in (layout.base_path(NAME, FIRST), f"{layout.log_folder(NAME)}/{FIRST:020d}.checkpoint.parquet"):
        damage(Path(place.uri, path), "flip")
    assert {one.version for one in table_of(place).log.examine()} >= set(range(FIRST))
    with pytest.raises(StorageError, match="trichord recover"):
        LoggedTables(place.lake).shards(NAME, NEEDED)


def test_a_log_of_which_only_copies_are_left_is_not_a_new_table(copies) -> None:
    place = copies("copy")
    shorten_log(place)
    shutil.rmtree(Path(place.uri, NAME, layout.LOG))
    with pytest.raises(StorageError, match="trichord recover"):
        table_of(place).version()


def test_commits_of_the_grace_period_stay(long, copies) -> None:
    place = copies("copy")
    for path in Path(place.uri, NAME).rglob("*.*"):
        copied = path.read_bytes()
        path.unlink()
        path.write_bytes(copied)
        os.utime(path, (0, 0) if path.name < f"{12:020d}" or path.suffix == ".parquet" else None)
    assert shorten_log(place, needed=21, before_ns=10**9) == 9  # as version 12 is young
    assert versions_of(place, ".json")[0] == 9
    require_same(place, long[1], first=9)


def test_a_checkpoint_that_says_something_else_than_the_commits_removes_none(long, copies) -> None:
    place = copies("copy")
    path = Path(place.uri, layout.log_folder(NAME), f"{FIRST:020d}.checkpoint.parquet")
    path.unlink()
    shutil.copyfile(path.with_name(f"{19:020d}.checkpoint.parquet"), path)
    table_of(place).log.write_copy(FIRST)
    assert long[1][FIRST] != long[1][19]
    with pytest.raises(StorageError, match="names other shards than the commits"):
        shorten_log(place)
    assert versions_of(place, ".json")[0] == 0


def test_the_rows_of_removed_commits_of_publications_are_in_the_base(place: Place) -> None:
    publications = Publications(place.lake)
    for sequence in range(1, 15):
        publications.append(row(sequence))
    history = publications.rows()
    shorten(
        place.lake, "publications", needed=13, before_ns=time.time_ns() + 10**10,
        rows=partial(rows_until, history=history), check=lambda: None,
    )  # fmt: skip
    assert Publications(place.lake).rows() == history
    for stat in list(place.lake.list("publications")):
        if stat.uri.endswith(".parquet") and layout.LOG not in stat.uri:
            place.storage.delete(stat.uri)
    assert publications.logged(13) == history
    assert Publications(place.lake).rows(9) == history[:10]
    with pytest.raises(StorageError, match="no longer kept"):
        Publications(place.lake).logged(8)
    base = publications.log.base()
    assert base is not None
    assert Base.parse(9, base.to_bytes()) == base
    place.lake.delete(layout.base_path("publications", 9))
    with pytest.raises(StorageError, match="trichord recover"):  # the checkpoint does not hold the rows
        publications.logged(13)
    assert rows_until(LoggedTables(place.lake), 9, history) == base.rows
