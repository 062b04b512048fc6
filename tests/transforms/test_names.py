"""One rule for the names of records, whichever reader finds them: what cannot be typed is a reject with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.transforms.samples import picture, saved
from tests.transforms.test_collect_webdataset import tar
from trichord.infra.config import Project, StorageConfig
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.infra.printable import printable, typed_forms
from trichord.transforms.batch import Batch, join
from trichord.transforms.collect import plan_source, read_partition

IMAGE = saved(picture(), "JPEG")
HOSTILE = [
    "a\x1b[31mb",
    "a\x9bb",
    "a\x7fb",
    "a\nb",
    "a\u202eb",
    "a\u2066b",
    "a\u200eb",
    "a\u200bb",
    "a\ufeffb",
    "a\u2028b",
]
SECRET = "s3cr3tV4lue"
FINE = ["plain", "مو\u200cها", "鍵", "x y"]


def manifest(folder: Path, keys: list[str]) -> dict[str, Any]:
    (folder / "m.jsonl").write_text("".join(json.dumps({"id": key, "text": "words"}) + "\n" for key in keys))
    return {"kind": "manifest", "path": str(folder / "m.jsonl")}


def table(folder: Path, keys: list[str]) -> dict[str, Any]:
    lines = "".join(f'"{key}","words"\n' for key in keys)
    (folder / "m.csv").write_bytes(f"id,text\n{lines}".encode())
    return {"kind": "manifest", "path": str(folder / "m.csv")}


def files(folder: Path, keys: list[str]) -> dict[str, Any]:
    for key in keys:
        (folder / f"{key}.txt").write_text("words")
    return {"kind": "folder", "path": str(folder)}


def imagefolder(folder: Path, keys: list[str]) -> dict[str, Any]:
    for key in keys:
        (folder / f"{key}.jpg").write_bytes(IMAGE)
    return {"kind": "imagefolder", "path": str(folder)}


def coco(folder: Path, keys: list[str]) -> dict[str, Any]:
    (folder / "p.jpg").write_bytes(IMAGE)
    document = {"images": [{"id": key, "file_name": "p.jpg"} for key in keys], "annotations": []}
    (folder / "c.json").write_text(json.dumps(document))
    return {"kind": "captions", "path": str(folder / "c.json")}


def parquet(folder: Path, keys: list[str]) -> dict[str, Any]:
    rows = [{"id": key, "text": "words", "image": IMAGE} for key in keys]
    pq.write_table(pa.Table.from_pylist(rows), folder / "p.parquet")
    return {"kind": "parquet", "path": str(folder / "p.parquet")}


def delta(folder: Path, keys: list[str]) -> dict[str, Any]:
    deltalake.write_deltalake(str(folder / "t"), pa.table({"id": keys, "text": ["words"] * len(keys)}))
    return {"kind": "delta", "path": str(folder / "t")}


def webdataset(folder: Path, keys: list[str]) -> dict[str, Any]:
    (folder / "t.tar").write_bytes(tar([(f"{key}.txt", b"words") for key in keys]))
    return {"kind": "webdataset", "path": str(folder / "t.tar")}


READERS = (manifest, table, files, imagefolder, coco, parquet, delta, webdataset)
Reader = Callable[[Path, list[str]], dict[str, Any]]


def read(settings: dict[str, Any], lake: Path) -> Batch:
    project = Project.model_validate({"lake": str(lake), "sources": [{"name": "s", **settings}]})
    (source,), storage = project.sources, Storage(StorageConfig())
    found = plan_source(source, Lake(storage, str(lake)), rows_per_partition=100, cache=None)
    return join(batch for one in found.partitions for batch in read_partition(source, Lake(storage, str(lake)), one))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_a_name_that_cannot_be_typed_is_a_reject_of_every_reader(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    batch = read(reader(tmp_path / "in", [*HOSTILE, *FINE]), tmp_path / "lake")
    ending = ".jpg" if reader is imagefolder else ""
    assert {row.key for row in batch.rows} == {key + ending for key in FINE}
    for row in batch.rows:
        assert row.key in typed_forms(printable(row.key)), "what a terminal shows can be given to `explain`"
    assert {reject.reason for reject in batch.rejects} <= {"key_invalid", "row_invalid"}
    for reject in batch.rejects:
        shown = json.dumps([reject.key, reject.detail], ensure_ascii=False)
        assert printable(shown) == shown
    if reader is not table:  # a CSV row with a line break in it is another matter
        assert {reject.key.removesuffix(".txt").removesuffix(".jpg") for reject in batch.rejects} == {
            printable(key) for key in HOSTILE
        }
        assert all("U+" in reject.detail for reject in batch.rejects)


@pytest.mark.parametrize("field", ["group", "split"])
def test_groups_and_subsets_are_names_too(field: str, tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "words", field: "x\x1by"}, {"id": "b", "text": "words", field: "fine"}]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    batch = read({"kind": "manifest", "path": str(tmp_path / "m.jsonl")}, tmp_path / "lake")
    assert [row.key for row in batch.rows] == ["b"]
    assert [(reject.key, reject.reason) for reject in batch.rejects] == [("a", "key_invalid")]


@pytest.mark.parametrize("reader", [manifest, coco, parquet, delta], ids=lambda reader: reader.__name__)
def test_a_key_that_is_a_signed_url_loses_its_signature(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    keys = [f"https://user:{SECRET}@host/a.jpg", f"https://host/b.jpg?X-Amz-Signature={SECRET}", "plain"]
    batch = read(reader(tmp_path / "in", keys), tmp_path / "lake")
    assert {row.key for row in batch.rows} == {
        "https://REDACTED@host/a.jpg", "https://host/b.jpg?X-Amz-Signature=REDACTED", "plain",
    }  # fmt: skip
    for path in (tmp_path / "lake").rglob("*.parquet"):
        assert SECRET not in json.dumps(pq.ParquetFile(path).read().to_pylist(), default=str)
