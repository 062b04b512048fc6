"""A file that changes between plan and reading, in any way and in any kind of source, stops the run; a rerun heals."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.transforms.samples import picture, saved, sound, tone
from tests.transforms.test_collect_webdataset import tar
from trichord.infra.config import (
    CaptionsSource,
    FolderSource,
    ManifestSource,
    MediaFolderSource,
    ParquetSource,
    Source,
    StorageConfig,
    WebDatasetSource,
)
from trichord.infra.errors import SourceError, StorageError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Changed, Storage
from trichord.transforms.batch import Batch, join
from trichord.transforms.collect import plan_source, read_partition

STORAGE = Storage(StorageConfig())
IMAGE, AUDIO = saved(picture(seed=3), "JPEG"), sound(tone(0.2))
OTHER = saved(picture(seed=4), "JPEG")


def _folder(root: Path) -> tuple[Source, list[Path]]:
    for name, data in (("a.jpg", IMAGE), ("a.wav", AUDIO), ("a.txt", b"a dog")):
        (root / name).write_bytes(data)
    return FolderSource(kind="folder", name="s", path=str(root)), [root / "a.jpg", root / "a.wav", root / "a.txt"]


def _manifest(version_by: str) -> Callable[[Path], tuple[Source, list[Path]]]:
    def make(root: Path) -> tuple[Source, list[Path]]:
        (root / "deep").mkdir()
        (root / "deep" / "a.jpg").write_bytes(IMAGE)
        (root / "a.wav").write_bytes(AUDIO)
        (root / "a.srt").write_text("1\n00:00:00,000 --> 00:00:00,100\nhello\n")
        row = {"id": "a", "image": "deep/a.jpg", "audio": "a.wav", "segments": "a.srt"}
        (root / "m.jsonl").write_text(json.dumps(row) + "\n")
        settings = {"kind": "manifest", "name": "s", "path": str(root / "m.jsonl"), "fields": {"segments": "segments"}}
        source = ManifestSource.model_validate({**settings, "version_by": version_by})
        return source, [root / "deep" / "a.jpg", root / "a.wav", root / "a.srt"]

    return make


def _imagefolder(root: Path) -> tuple[Source, list[Path]]:
    (root / "a.jpg").write_bytes(IMAGE)
    (root / "metadata.jsonl").write_text(json.dumps({"file_name": "a.jpg", "text": "a dog"}) + "\n")
    return MediaFolderSource(kind="imagefolder", name="s", path=str(root)), [root / "a.jpg"]


def _captions(root: Path) -> tuple[Source, list[Path]]:
    (root / "a.jpg").write_bytes(IMAGE)
    (root / "captions.txt").write_text("image,caption\na.jpg,a dog\n")
    return CaptionsSource(kind="captions", name="s", path=str(root / "captions.txt")), [root / "a.jpg"]


def _parquet_of_paths(root: Path) -> tuple[Source, list[Path]]:
    (root / "a.jpg").write_bytes(IMAGE)
    pq.write_table(pa.table({"id": ["a"], "image": ["a.jpg"]}), root / "a.parquet")
    return ParquetSource(kind="parquet", name="s", path=str(root)), [root / "a.jpg"]


def _parquet(root: Path) -> tuple[Source, list[Path]]:
    rows = pa.table({"id": [f"{i}" for i in range(3)], "image": [IMAGE, AUDIO, IMAGE]})
    pq.write_table(rows, root / "a.parquet")
    return ParquetSource(kind="parquet", name="s", path=str(root)), [root / "a.parquet"]


def _tar(root: Path) -> tuple[Source, list[Path]]:
    (root / "a.tar").write_bytes(tar([("a.jpg", IMAGE), ("a.txt", b"a dog"), ("b.jpg", IMAGE)]))
    return WebDatasetSource(kind="webdataset", name="s", path=str(root)), [root / "a.tar"]


def _packed_tar(root: Path) -> tuple[Source, list[Path]]:
    (root / "a.tgz").write_bytes(gzip.compress(tar([("a.jpg", IMAGE), ("b.jpg", IMAGE)]), mtime=0))
    return WebDatasetSource(kind="webdataset", name="s", path=str(root)), [root / "a.tgz"]


def _replaced(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(OTHER)
    os.replace(new, path)


def _same_size(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


def _link_outside(path: Path) -> None:
    outside = path.parents[2] / "outside"
    outside.write_bytes(path.read_bytes()[::-1])
    path.unlink()
    path.symlink_to(outside)


def _link_inside(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(OTHER)
    path.unlink()
    path.symlink_to(other)


def _folder_is_link(path: Path) -> None:
    moved = path.parents[2] / "moved"
    path.parent.rename(moved)
    path.parent.symlink_to(moved)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def _is_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


SOURCES = {
    "folder": _folder,
    "manifest": _manifest("sha256"),
    "manifest by time": _manifest("mtime_size"),
    "imagefolder": _imagefolder,
    "captions": _captions,
    "parquet of paths": _parquet_of_paths,
    "parquet": _parquet,
    "tar": _tar,
    "packed tar": _packed_tar,
}
SHORT = ("manifest", "parquet", "tar")
CHANGES: dict[str, Callable[[Path], object]] = {
    "replaced": _replaced,
    "same size": _same_size,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "grown": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "link outside": _link_outside,
    "link inside": _link_inside,
    "pipe": _pipe,
    "folder": _is_folder,
    "gone": Path.unlink,
    "circle": _circle,
}


def _read(source: Source, lake: Lake, change: Callable[[], object] = lambda: None) -> Batch:
    planned = plan_source(source, lake, rows_per_partition=8, cache=None).partitions
    change()
    return join(batch for partition in planned for batch in read_partition(source, lake, partition))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "kind", [one if one in SHORT else pytest.param(one, marks=pytest.mark.full) for one in SOURCES]
)
def test_every_change_stops_the_run_and_a_rerun_heals(kind: str, change: str, tmp_path: Path) -> None:
    root = tmp_path / "deep" / "in"
    root.mkdir(parents=True)
    source, paths = SOURCES[kind](root)
    lake = Lake(STORAGE, str(tmp_path / "lake"))
    whole = _read(source, lake)
    assert not whole.rejects
    for path in paths:
        before = path.read_bytes(), path.stat()
        with pytest.raises(SourceError, match=r"changed while it was being read\. Run the command again"):
            _read(source, lake, lambda path=path: CHANGES[change](path))  # type: ignore[misc]
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        path.write_bytes(before[0])
        os.utime(path, ns=(before[1].st_atime_ns, before[1].st_mtime_ns))
    healed = _read(source, lake)
    for name in ("rows", "raw_images", "raw_audios", "attachments"):
        assert getattr(healed, name) == getattr(whole, name)


def test_a_folder_that_became_a_link_stops_the_run_too(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "in"
    root.mkdir(parents=True)
    source, paths = SOURCES["manifest"](root)
    lake = Lake(STORAGE, str(tmp_path / "lake"))
    with pytest.raises(SourceError, match="changed while it was being read"):
        _read(source, lake, lambda: _folder_is_link(paths[0]))
    planned = plan_source(source, lake, rows_per_partition=8, cache=None).partitions
    found = join(batch for partition in planned for batch in read_partition(source, lake, partition))
    assert [reject.reason for reject in found.rejects] == [
        "media_outside_root"
    ]  # as planned now: under its own address
    shutil.rmtree(tmp_path / "deep")


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


@pytest.mark.parametrize("change", [_append, lambda path: os.truncate(path, 5)])
def test_a_file_that_is_written_to_while_it_is_read_is_refused(
    change: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"0123456789\n" * 300_000)
    os.utime(path, ns=(0, 0))
    for read in (STORAGE.lines, STORAGE.chunks):
        found = iter(read(str(path)))
        next(found)
        change(path)
        with pytest.raises(Changed):
            list(found)
        path.write_bytes(b"0123456789\n" * 300_000)
        os.utime(path, ns=(0, 0))


def test_what_is_not_a_file_is_said_to_be_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.jsonl")
    source = ManifestSource(kind="manifest", name="s", path=str(tmp_path / "m.jsonl"))
    with pytest.raises(StorageError, match="pipe"):
        _read(source, Lake(STORAGE, str(tmp_path / "lake")))
