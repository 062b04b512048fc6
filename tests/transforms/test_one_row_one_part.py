"""Whatever the kind of a source, a row that changed rewrites one part of its plan, and all others are kept."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Place
from tests.transforms.bucket_media import KINDS, put, shuffled
from trichord.infra.config import Source, StorageConfig, WebDatasetSource
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms.collect import plan_parts, plan_source

ROWS, GROUPS = 120, 4


def parts_of(source: Source, storage: Storage, lake: Path) -> set[str]:
    """Plan a source; return the names of its parts, all of which are there."""
    planned = plan_source(source, Lake(storage, str(lake)), rows_per_partition=2, cache=None)
    found = {partition.locator for partition in planned.partitions}
    assert all((lake / locator).exists() for locator in found)
    return found


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_changed_row_rewrites_one_part(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(plan_parts, "MAX_GROUPS", GROUPS)
    remote = kind == "inventory"
    config = request.getfixturevalue("s3_config") if remote else StorageConfig()
    place = Place(Storage(config), f"s3://lake{tmp_path}/data" if remote else str(tmp_path / "data"))
    names = shuffled(ROWS, ("a", "b"))
    put(place.uri, names)
    source = KINDS[kind](place.storage, place.uri, names)
    parts = parts_of(source, place.storage, tmp_path / "lake")
    assert len(parts) > ROWS / 2 / GROUPS

    for name in names[::40]:
        before, files = parts, set((tmp_path / "lake" / layout.PLANS).iterdir())
        place.storage.write(f"{place.uri}/{name}", b"another picture")
        if remote:
            source = KINDS[kind](place.storage, place.uri, names)
        parts = parts_of(source, place.storage, tmp_path / "lake")
        assert len(parts - before) == len(before - parts) == 1
        assert len(set((tmp_path / "lake" / layout.PLANS).iterdir()) - files) == 1


def test_a_changed_member_rewrites_the_index_of_its_tar(tmp_path: Path, storage: Storage) -> None:
    (tmp_path / "tars").mkdir()
    source = WebDatasetSource(kind="webdataset", name="w", path=str(tmp_path / "tars"))

    def write(number: int, text: str) -> None:
        with tarfile.open(tmp_path / "tars" / f"{number}.tar", "w") as archive:
            for i in range(5):
                data = f"{text} {i}".encode()
                member = tarfile.TarInfo(f"{number}-{i}.txt")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))

    for number in range(4):
        write(number, "a text")
    before = parts_of(source, storage, tmp_path / "lake")
    write(2, "another text")
    after = parts_of(source, storage, tmp_path / "lake")
    assert len(after) == 4
    assert len(after - before) == len(before - after) == 1
