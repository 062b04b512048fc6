"""Planning sees the marks of data files: of their rows where it can, and of their names where rows have none."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from tests.transforms.test_collect_captions import plan, read
from trichord.infra.config import (
    DeltaSource,
    FieldMap,
    FolderSource,
    ParquetSource,
    Source,
    StorageConfig,
    WebDatasetSource,
)
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms.collect import Scope, column_probe, replan_source
from trichord.transforms.collect.file_marks import find_file_marks

Marks = Sequence[str | None]
Make = Callable[[Path, Marks], Source]


def rows(marks: Marks) -> pa.Table:
    keys = [f"{number}-{mark}" for number, mark in enumerate(marks)]
    return pa.table({"id": keys, "text": keys, "split": pa.array(marks, pa.string())})


def parquet(folder: Path, marks: Marks, **options: object) -> ParquetSource:
    folder.mkdir()
    pq.write_table(rows(marks), folder / "a.parquet", row_group_size=2, **options)
    return ParquetSource(kind="parquet", name="s", path=str(folder))


def without_statistics(folder: Path, marks: Marks) -> ParquetSource:
    return parquet(folder, marks, write_statistics=False, use_dictionary=False)


def nested(folder: Path, marks: Marks) -> ParquetSource:
    folder.mkdir()
    table = rows(marks)
    inner = pa.StructArray.from_arrays([table["split"].combine_chunks()], ["part"])
    pq.write_table(table.drop_columns("split").append_column("of", inner), folder / "a.parquet")
    return ParquetSource(kind="parquet", name="s", path=str(folder), fields=FieldMap(subset="of.part"))


def delta(folder: Path, marks: Marks) -> DeltaSource:
    for mark in dict.fromkeys(marks):  # a file each, of which the log says the only word
        write_deltalake(str(folder), rows([one for one in marks if one == mark]), mode="append")
    return DeltaSource(kind="delta", name="s", path=str(folder))


def delta_in_one_file(folder: Path, marks: Marks) -> DeltaSource:
    write_deltalake(str(folder), rows(marks))
    return DeltaSource(kind="delta", name="s", path=str(folder))


def partitioned_delta(folder: Path, marks: Marks) -> DeltaSource:
    write_deltalake(str(folder), rows(marks), partition_by=["split"])
    return DeltaSource(kind="delta", name="s", path=str(folder))


def tar(folder: Path, marks: Marks, name: str = "a.tar") -> WebDatasetSource:
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / name, "w") as archive:
        for number, mark in enumerate(marks):
            stem = f"{name}-{number}".replace(".", "_")
            told = {"text": stem, **({} if mark is None else {"split": mark})}
            for ending, data in ((".json", json.dumps(told).encode()), (".cls", b"{")):
                info = tarfile.TarInfo(stem + ending)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return WebDatasetSource(kind="webdataset", name="s", path=str(folder))


KINDS = [parquet, without_statistics, nested, delta, delta_in_one_file, partitioned_delta, tar]


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_planning_sees_the_marks_of_every_kind_of_data_file(make: Make, tmp_path: Path) -> None:
    marks = ["train", "train", "train", "fold4", "fold4", None]
    source = make(tmp_path / "in", marks)
    assert plan(source, tmp_path / "lake").marks == {"train": 3, "fold4": 2}
    assert sorted(row.subset for row in read(source, tmp_path / "lake").rows) == ["", *["fold4"] * 2, *["train"] * 3]


def test_marks_beyond_the_rows_that_planning_reads_are_left_to_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(column_probe, "MAX_MARK_ROWS", 2)
    source = without_statistics(tmp_path / "in", ["train"] * 4)
    assert plan(source, tmp_path / "lake").marks == {"train": 2}


def test_a_mark_that_is_no_word_is_not_counted(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["x", "y"], "split": [["train"], []]}), tmp_path / "a.parquet")
    source = ParquetSource(kind="parquet", name="s", path=str(tmp_path / "a.parquet"))
    assert plan(source, tmp_path / "lake").marks == {}


@pytest.mark.parametrize(
    ("paths", "marks"),
    [
        (("train-00000-of-00002.parquet", "test-00000-of-00001.parquet"), ("train", "test")),
        (("train-000.tar", "val-000.tar.gz", "extra-000.tar"), ("train", "val", "extra")),
        (("data/train/0.parquet", "data/test/0.parquet"), ("train", "test")),
        (("split=train/0.parquet", "split=dev/0.parquet"), ("train", "dev")),
        (("train-clean-100.tar", "dev-clean.tar"), ("train-clean", "dev-clean")),
        (("train-0.tar", "train-1.tar"), ()),
        (("part-0.tar", "part-1.tar"), ()),
        (("test-0.parquet", "part-1.parquet"), ()),
    ],
)
def test_names_of_data_files_are_marks_where_they_name_two_parts(paths: Sequence[str], marks: Sequence[str]) -> None:
    assert find_file_marks(paths) == (dict(zip(paths, marks, strict=True)) if marks else {})


def test_rows_without_a_mark_have_that_of_their_file(tmp_path: Path) -> None:
    tar(tmp_path / "tars", [None, "val"], "train-0.tar")
    tars = tar(tmp_path / "tars", [None], "test-0.tar")
    (tmp_path / "in").mkdir()
    for name in ("train-0", "test-0"):
        pq.write_table(pa.table({"id": [name], "text": [name]}), tmp_path / "in" / f"{name}.parquet")
    files = ParquetSource(kind="parquet", name="s", path=str(tmp_path / "in"))
    for source, marks in ((tars, {"train": 1, "val": 1, "test": 1}), (files, {"train": 1, "test": 1})):
        assert plan(source, tmp_path / "lake").marks == marks
        assert sorted(row.subset for row in read(source, tmp_path / "lake").rows) == sorted(marks)
    unset = files.model_copy(update={"fields": FieldMap(subset=None)})
    assert {row.subset for row in read(unset, tmp_path / "lake").rows} == {""}


def loose(folder: Path, *paths: str, subset: Literal["folder"] | None = "folder") -> FolderSource:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    return FolderSource(kind="folder", name="s", path=str(folder), subset=subset)


@pytest.mark.parametrize(
    ("paths", "marks"),
    [
        (("train/a.txt", "test/a.txt", "test/deep/b.txt"), {"train": 1, "test": 2}),
        (("Held-Out/a.txt", "b.txt"), {"Held-Out": 1}),
        (("dev/a.txt", "notes/b.txt"), {"dev": 1, "notes": 1}),  # an error afterwards: `notes` is unknown
        (("train-a/a.txt", "val-b/b.txt"), {"train-a": 1, "val-b": 1}),
        (("train-a/a.txt", "b/b.txt"), {}),
        (("a/test/a.txt", "b/train/b.txt"), {}),
        (("test.txt", "train.txt"), {}),
        (("test/a.py", "docs/b.txt"), {}),  # no record is in it
        ((".test/a.txt", "docs/b.txt"), {}),
    ],
)
def test_first_folders_of_loose_files_are_marks_as_those_of_an_imagefolder(
    tmp_path: Path, paths: Sequence[str], marks: dict[str, int]
) -> None:
    source = loose(tmp_path / "in", *paths)
    (tmp_path / "in" / "eval").mkdir()  # empty
    assert plan(source, tmp_path / "lake").marks == marks
    rows = read(source, tmp_path / "lake").rows
    assert {row.key: row.subset for row in rows if row.subset} == {
        path[:-4]: path.split("/")[0] for path in paths if marks and "/" in path
    }
    unset = loose(tmp_path / "in", subset=None)
    assert plan(unset, tmp_path / "lake").marks == {}


def test_a_first_folder_that_makes_marks_of_the_others_needs_a_whole_plan(tmp_path: Path) -> None:
    source = loose(tmp_path / "in", "a/a.txt", "b/b.txt")
    lake = Lake(Storage(StorageConfig()), str(tmp_path / "lake"))
    last = plan(source, tmp_path / "lake")
    scope = Scope(source="s", prefix="test/")
    assert replan_source(source, lake, scope, last, rows_per_partition=8) == last
    loose(tmp_path / "in", "test/c.txt")
    assert replan_source(source, lake, scope, last, rows_per_partition=8) is None
    marked = plan(source, tmp_path / "lake")
    assert replan_source(source, lake, scope, marked, rows_per_partition=8) == marked
