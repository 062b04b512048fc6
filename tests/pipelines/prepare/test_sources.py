"""Every kind of source through the whole line: the demo corpus in other clothes gives the same records."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from deltalake import write_deltalake

from tests.pipelines.lakes import SETTINGS, result_of, rows_of, trichord, workspace_of
from trichord.infra.lake.shard import read_shard
from trichord.pipelines.demo.corpus import write_corpus

RECORDS = 128


Rows = list[dict[str, Any]]


def _bytes(corpus: Path, rows: Rows) -> pa.Table:
    return pa.Table.from_pylist(
        [row | {name: (corpus / row[name]).read_bytes() for name in ("image", "audio")} for row in rows]
    )


def parquet(corpus: Path, rows: Rows, folder: Path) -> dict[str, Any]:
    pq.write_table(_bytes(corpus, rows), folder / "data.parquet", row_group_size=24)
    return {"kind": "parquet", "path": "data.parquet"}


def delta(corpus: Path, rows: Rows, folder: Path) -> dict[str, Any]:
    write_deltalake(str(folder / "table"), _bytes(corpus, rows))
    return {"kind": "delta", "path": "table"}


def webdataset(corpus: Path, rows: Rows, folder: Path) -> dict[str, Any]:
    for part in range(2):
        with tarfile.open(folder / f"part-{part}.tar", "w") as archive:
            for row in reversed(rows[part::2]):
                told = {name: row[name] for name in ("text", "captions", "group")}
                files = {Path(row[name]).suffix: (corpus / row[name]).read_bytes() for name in ("audio", "image")}
                for ending, data in {**files, ".json": json.dumps(told).encode()}.items():
                    info = tarfile.TarInfo(row["id"] + ending)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    return {"kind": "webdataset", "path": "part-{0..1}.tar"}


def captions(corpus: Path, rows: Rows, folder: Path) -> dict[str, Any]:
    images = [{"id": row["id"], "file_name": row["image"]} for row in rows]
    told = [
        {"id": n, "image_id": row["id"], "caption": caption}
        for row in rows
        for n, caption in enumerate([row["text"], *row["captions"]])
        if caption
    ]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": told}))
    return {"kind": "captions", "path": "captions.json", "media_root": str(corpus)}


def imagefolder(corpus: Path, rows: Rows, folder: Path) -> dict[str, Any]:
    (folder / "in" / "train").mkdir(parents=True)
    with open(folder / "in" / "train" / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["id", "file_name", "text"])
        table.writeheader()
        for row in rows:
            name = Path(row["image"]).name
            (folder / "in" / "train" / name).write_bytes((corpus / row["image"]).read_bytes())
            table.writerow({"id": row["id"], "file_name": name, "text": row["text"]})
    return {"kind": "imagefolder", "path": "in", "fields": {"key": "id"}}


def kept(project: Path) -> set[str]:
    workspace = workspace_of(project)
    shards = workspace.table("records").shards().values()
    return {key for shard in shards for key in read_shard(workspace.lake, shard, columns=["key"])["key"].to_pylist()}


def indexed(folder: Path, sources: list[dict[str, Any]]) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    project = {"lake": "lake", "sources": sources, "engine": {"workers": 1}, **SETTINGS}
    (folder / "trichord.yaml").write_text(yaml.safe_dump(project))
    return result_of(trichord("reindex", "--project", str(folder / "trichord.yaml"), "--json"))


def test_sources_of_every_kind_go_through_the_whole_line_together(tmp_path: Path) -> None:
    corpus, folder = tmp_path / "corpus", tmp_path / "all"
    write_corpus(corpus, records=RECORDS, seed=7, defects=0.01)
    rows = rows_of(corpus)
    indexed(tmp_path / "one", [{"name": "demo", "kind": "manifest", "path": str(corpus / "manifest.jsonl")}])
    expected = kept(tmp_path / "one" / "trichord.yaml")
    folder.mkdir()
    kinds = (parquet, delta, webdataset, captions, imagefolder)
    parts = [rows[i :: len(kinds)] for i in range(len(kinds))]
    sources = [{"name": make.__name__, **make(corpus, part, folder)} for make, part in zip(kinds, parts, strict=True)]
    first = indexed(folder, sources)
    found = kept(folder / "trichord.yaml")
    for make, part in zip(kinds, parts, strict=True):
        keys = {row["id"] for row in part}
        if make in (parquet, delta, webdataset):  # the same rows, the same media: the same verdict on each
            assert found & keys == expected & keys, make.__name__
        else:  # without the sound more rows are good
            assert found & keys >= expected & keys, make.__name__
    assert len(found) > 0.5 * RECORDS
    again = indexed(folder, sources)
    assert (first["unchanged"], again["unchanged"]) == (False, True)
