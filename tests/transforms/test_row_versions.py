"""A Parquet file that is written again keeps the versions of the parts whose rows did not change."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trichord.infra.config import FieldMap, ParquetSource, StorageConfig
from trichord.infra.errors import SourceError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage, VersionCache
from trichord.transforms.collect import parquet, plan_source, read_partition, row_versions
from trichord.transforms.collect.partitions import Partition
from trichord.transforms.collect.row_versions import ROWS

STORAGE = Storage(StorageConfig())
OLD = time.time() - 3_600


def rows(count: int = 20) -> list[dict[str, Any]]:
    return [{"id": f"k{n}", "text": f"text {n}", "image": b"%d" % n * 40, "n": n} for n in range(count)]


def write(path: Path, made: list[dict[str, Any]], *, seconds: int = 0, **options: Any) -> None:
    """Write a file that is an hour old: younger ones are not trusted to keep their time."""
    pq.write_table(pa.Table.from_pylist(made), path, **{"row_group_size": 2, **options})
    os.utime(path, (OLD + seconds, OLD + seconds))


def plan(path: Path, cache: VersionCache | None = None, **options: Any) -> tuple[Partition, ...]:
    source = ParquetSource(kind="parquet", name="p", path=str(path), **options)
    lake = Lake(STORAGE, str(path.parent / "lake"))
    return plan_source(source, lake, rows_per_partition=4, cache=cache).partitions


def versions(path: Path, **options: Any) -> list[str]:
    return [one.version for one in plan(path, **options)]


def changed(one: list[str], other: list[str]) -> list[int]:
    assert len(one) == len(other)
    return [n for n, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]


def test_a_changed_row_changes_the_version_of_its_part_alone(tmp_path):
    path, made = tmp_path / "a.parquet", rows()
    write(path, made)
    before = versions(path)
    assert len(set(before)) == 5
    for column, value in (("text", "other words"), ("image", b"another picture"), ("n", None)):
        write(path, [{**row, column: value} if n == 9 else row for n, row in enumerate(made)])
        assert changed(before, versions(path)) == [2], column
    write(path, made, compression="zstd", use_dictionary=False, data_page_size=100)  # in other bytes
    assert versions(path) == before
    write(path, [*made[:9], *made[10:], made[9]])  # every row behind it moves
    assert changed(before, versions(path)) == [2, 3, 4]
    write(path, made[:18])
    assert changed(before[:4], versions(path)[:4]) == []
    write(path, [{**row, "n": str(row["n"])} for row in made])  # the same in JSON, but of another type
    assert changed(before, versions(path)) == [0, 1, 2, 3, 4]


def test_a_part_has_another_version_in_another_place_of_the_file_and_under_other_fields(tmp_path):
    path, made = tmp_path / "a.parquet", rows(8)
    write(path, made)
    before = versions(path)
    write(path, [*made[4:], *made[:4]])
    assert not set(before) & set(versions(path))  # a row's place is part of its payload
    write(path, made)
    assert not set(before) & set(versions(path, fields=FieldMap(text="n")))


def test_only_a_file_of_another_time_is_read_again(tmp_path, monkeypatch):
    path, cache = tmp_path / "a.parquet", VersionCache()
    write(path, rows())
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 3_600_000_000_000)  # the change time is that of today
    before = [one.version for one in plan(path, cache)]
    read: list[str] = []
    digest_parts = row_versions.digest_parts

    def note(*given: Any) -> list[str]:
        read.append("file")
        return digest_parts(*given)

    monkeypatch.setattr(parquet, "digest_parts", note)
    assert [one.version for one in plan(path, cache)] == before
    assert read == []
    write(path, rows(), seconds=1)
    assert [one.version for one in plan(path, cache)] == before
    assert read == ["file"]


def test_rows_that_changed_since_planning_are_noticed_and_others_are_read(tmp_path):
    path, made = tmp_path / "a.parquet", rows()
    write(path, made)
    source, lake = ParquetSource(kind="parquet", name="p", path=str(path)), Lake(STORAGE, str(tmp_path / "lake"))
    planned = plan(path)
    write(path, [{**row, "text": "a longer text than before"} if n == 9 else row for n, row in enumerate(made)])
    for number, partition in enumerate(planned):
        if number == 2:
            with pytest.raises(SourceError, match="changed"):
                list(read_partition(source, lake, partition))
        else:
            assert sum(len(batch) for batch in read_partition(source, lake, partition)) == partition.rows


def test_where_files_are_not_hashed_their_versions_are_those_of_the_store(tmp_path):
    path = tmp_path / "a.parquet"
    write(path, rows())
    parts = [one.part for one in plan(path, version_by="mtime_size")]
    assert {part.version for part in parts if part is not None} == {
        f"mtime_size:{os.stat(path).st_mtime_ns}:{path.stat().st_size}"
    }
    assert all(one.part is not None and one.part.version.startswith(ROWS) for one in plan(path))


def test_a_damaged_page_leaves_the_version_of_the_file_and_fails_where_it_is_read(tmp_path):
    path = tmp_path / "a.parquet"
    noted = [{**row, "note": f"note {row['n']}"} for row in rows()]  # of no field: planning does not look into it
    options: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    write(path, noted, write_page_checksum=True, **options)
    data = path.read_bytes()
    at = data.index(b"note 9")
    path.write_bytes(data[:at] + b"NOTE" + data[at + 4 :])
    planned = plan(path)
    assert len({one.part.version for one in planned if one.part is not None}) == 1
    source, lake = ParquetSource(kind="parquet", name="p", path=str(path)), Lake(STORAGE, str(tmp_path / "lake"))
    with pytest.raises(SourceError, match="damaged"):
        list(read_partition(source, lake, planned[2]))
    assert sum(len(batch) for batch in read_partition(source, lake, planned[0])) == 4
