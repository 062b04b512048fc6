"""rejects export: what is written can be mended and serves as a source."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.pipelines.lakes import result_of, rows_of, trichord, workspace_of, write_project, write_rows
from trichord.infra.errors import ConfigError
from trichord.infra.lake.shard import read_shard
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.job import prepare_only
from trichord.pipelines.rejects.export import export_rejects
from trichord.pipelines.rejects.query import Choice

LONG = " ".join(
    f"The {thing} of the {place} were seen by {who} in the {when} of that year."
    for thing, place, who, when in zip(
        ["boats", "nets", "houses", "lamps", "roads", "bells", "gardens", "walls"],
        ["harbour", "bay", "village", "street", "forest", "church", "palace", "town"],
        ["sailors", "fishermen", "travellers", "children", "riders", "monks", "painters", "soldiers"],
        ["spring", "summer", "autumn", "winter", "morning", "evening", "midst", "end"],
        strict=True,
    )
)


def opened(project: Path, *more: str) -> Workspace:
    """The project; no share of rejects is too large."""
    return workspace_of(project, "gate.max_reject_ratio=1.0", *more)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared project where some rows name media that may not be read, and one that is cut. Read only."""
    folder = tmp_path_factory.mktemp("export")
    path = write_project(folder, records=34)
    rows = rows_of(folder / "corpus")
    (folder / "secret.jpg").write_bytes((folder / "corpus" / rows[0]["image"]).read_bytes())
    (folder / "corpus" / "link.jpg").symlink_to(folder / "secret.jpg")
    rows[0] = {"id": "long", "image": rows[0]["image"], "text": LONG, "captions": ["one"], "group": "g", "extra": 1}
    rows += [
        {"id": "outside", "text": "a", "image": "../secret.jpg", "audio": "none.wav"},
        {"id": "linked", "text": "b", "image": "link.jpg"},
        {"id": "missing", "text": "c", "image": "images/none.jpg", "audio": rows[5]["audio"]},
        {"id": "cut", "image": rows[6]["image"], "boxes": [{"box": [0, 0, 1e9, 9], "text": "No box."}]},
    ]
    write_rows(folder / "corpus", rows)
    source = {"name": "demo", "kind": "manifest", "path": "corpus/manifest.jsonl", "fields": {"regions": "boxes"}}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "sources": [source]}))
    prepare_only(opened(path, "prepare.text.max_chars=300"))
    return path


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Rows of an exported JSONL file by id."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row["id"]: row for row in rows}


def test_every_reject_is_written_with_its_whole_row_and_media(prepared, tmp_path):
    workspace = opened(prepared)
    out = tmp_path / "out" / "rejects.jsonl"
    told = export_rejects(workspace, Choice(), out=out, media=tmp_path / "out" / "media")
    rows = read(out)
    total = sum(ref.rows for ref in workspace.table("rejects").shards().values())
    assert told.rows == total == sum(told.by_reason.values())
    assert told.rows_gone == 0
    assert rows["long"]["text"] == LONG
    assert (rows["long"]["captions"], rows["long"]["group"], rows["long"]["meta"]) == (["one"], "g", {"extra": 1})
    corpus = prepared.parent / "corpus"
    for row in rows.values():
        for name in ("image", "audio"):
            if name in row:
                assert (out.parent / row[name]).read_bytes() == (corpus / row["payload"][name]).read_bytes()
    assert "audio" in rows["missing"]
    assert rows["cut#r0000"]["regions"] == [{"box": [0.0, 0.0, 1e9, 9.0], "text": "No box."}]


def test_media_outside_the_source_are_never_read(prepared, tmp_path):
    out = tmp_path / "rejects.jsonl"
    told = export_rejects(opened(prepared), Choice(), out=out, media=tmp_path / "media")
    rows = read(out)
    assert not {"image", "audio"} & {*rows["outside"], *rows["linked"]}
    assert told.not_read == {"media_missing": 2, "media_outside_root": 2}
    secret = (prepared.parent / "secret.jpg").read_bytes()
    others = [row for row in rows.values() if "image" in row and row["id"] != "long"]
    assert all((tmp_path / row["image"]).read_bytes() != secret for row in others)
    bounded = export_rejects(
        opened(prepared, "prepare.image.max_bytes=1"), Choice(), out=out, media=tmp_path / "bounded"
    )
    assert not any("image" in row for row in read(out).values())
    assert bounded.not_read["media_too_large"] > 0


def test_a_second_export_is_the_same_file(prepared, tmp_path):
    first, second = (tmp_path / name / "rejects.jsonl" for name in ("a", "b"))
    for out in (first, second, second):
        told = export_rejects(opened(prepared), Choice(), out=out, media=out.parent / "media")
    assert told.files == 0
    assert first.read_bytes() == second.read_bytes()
    assert not list(second.parent.rglob(".*"))


def test_an_export_serves_as_a_source(prepared, tmp_path):
    out = tmp_path / "mended.jsonl"
    told = export_rejects(opened(prepared), Choice(reason="text_too_long"), out=out, media=tmp_path / "media")
    project = Path(shutil.copy(prepared, tmp_path / "trichord.yaml"))
    settings = yaml.safe_load(project.read_text())
    source = {"name": "mended", "kind": "manifest", "path": "mended.jsonl"}
    project.write_text(yaml.safe_dump({**settings, "sources": [source]}))
    workspace = opened(project)
    assert prepare_only(workspace).counts.rows_in == told.rows
    [records] = workspace.table("records").shards().values()
    assert "long" in read_shard(workspace.lake, records, ["key"])["key"].to_pylist()
    rejects = workspace.table("rejects").shards().values()
    ops = [op for ref in rejects for op in read_shard(workspace.lake, ref)["op"].to_pylist()]
    assert "read" not in ops


def test_parquet_holds_the_same_rows(prepared, tmp_path):
    told = export_rejects(opened(prepared), Choice(), out=tmp_path / "rejects.parquet")
    table = pq.ParquetFile(tmp_path / "rejects.parquet").read()
    assert len(table) == told.rows
    assert told.media_root == str(prepared.parent / "corpus")
    row = next(row for row in table.to_pylist() if row["id"] == "long")
    assert (prepared.parent / "corpus" / row["image"]).exists()
    assert json.loads(row["meta"]) == {"extra": 1}


def test_rows_that_left_their_source_are_written_from_the_reject(prepared, tmp_path):
    folder = Path(shutil.copytree(prepared.parent, tmp_path / "copy", symlinks=True))
    write_rows(folder / "corpus", [row for row in rows_of(folder / "corpus") if row["id"] != "long"])
    out = tmp_path / "rejects.jsonl"
    told = export_rejects(opened(folder / prepared.name), Choice(reason="text_too_long"), out=out)
    assert told.rows_gone == 1
    assert LONG.startswith(read(out)["long"]["text"])


def test_wrong_names_are_refused(prepared, tmp_path):
    with pytest.raises(ConfigError, match=r"\.parquet"):
        export_rejects(opened(prepared), Choice(), out=tmp_path / "rejects.csv")
    with pytest.raises(ConfigError, match="text_too_long"):
        export_rejects(opened(prepared), Choice(reason="no_such"), out=tmp_path / "rejects.jsonl")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["manifest.jsonl", "mine.jsonl", "mine.parquet", "mended.jsonl"])
def test_no_file_but_an_earlier_export_is_replaced(prepared, tmp_path, name):
    folder = Path(shutil.copytree(prepared.parent, tmp_path / "copy", symlinks=True))
    out, project = folder / "corpus" / name, folder / prepared.name
    if name == "mine.jsonl":
        out.write_text('{"id": "a", "text": "mine"}\n')
    elif name == "mine.parquet":
        pq.write_table(pa.table({"id": ["a"]}), out)
    elif name == "mended.jsonl":  # an export that was mended and is a source now
        export_rejects(opened(project), Choice(), out=out)
        settings = yaml.safe_load(project.read_text())
        settings["sources"].append({"name": "mended", "kind": "manifest", "path": str(out)})
        project.write_text(yaml.safe_dump(settings))
    before = out.read_bytes()
    with pytest.raises(ConfigError, match="left as it is"):
        export_rejects(opened(project), Choice(), out=out)
    assert out.read_bytes() == before


def test_the_verbs_speak_json_and_prose(prepared, tmp_path):
    project = ["--project", str(prepared)]
    out = ["--out", str(tmp_path / "rejects.jsonl"), "--media", str(tmp_path / "media")]
    assert result_of(trichord("rejects", "export", *project, *out, "--json"))["rows"] > 0
    assert "media_root" in trichord("rejects", "export", *project, *out).stdout
    same = ["--set", "prepare.text.max_chars=300"]
    assert result_of(trichord("rejects", "replay", *project, *same, "--json"))["nothing_to_replay"]
    assert "Nothing to replay" in trichord("rejects", "replay", *project, *same).stdout
    assert "text_too_long" in trichord("rejects", "ls", *project, "--source", "demo").stdout
    told = trichord("rejects", "replay", *project, "--reason", "no_such", check=2)
    assert "Known reasons" in told.stderr
