"""`trichord init` writes a file that loads, or says what it looked at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.pipelines.ops.start_data import (
    SENTENCES,
    fields_of,
    lines,
    media,
    put,
    started,
)
from trichord.infra.errors import ConfigError, SourceError
from trichord.infra.project import load_project
from trichord.pipelines.ops.start import Started, start


def test_names_that_yaml_reads_as_something_else_are_quoted(tmp_path: Path) -> None:
    names = media(tmp_path / "${HOME}: #1")
    rows = [
        {"null": f"k{name}", "a: b ${X} # c": text, "${IMG}": name} for name, text in zip(names, SENTENCES, strict=True)
    ]

    result = started(lines(tmp_path / "true.jsonl", rows), tmp_path, 6)

    assert fields_of(result)["text"] == "a: b ${X} # c"
    assert fields_of(result)["image"] == "${IMG}"
    [source] = load_project(tmp_path / "trichord.yaml").sources
    assert source.name == "true"
    assert getattr(source, "media_root", None) == str(tmp_path / "${HOME}: #1")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("none.csv", None, "there is no such file or folder"),
        ("a.bin", b"\0\1\2", r"\.bin is not a format that is read"),
        ("a.csv", b"", "it has no row that can be read"),
        ("a.csv", b"id,text\n", "it has no row that can be read"),
        ("a.csv", "id,text\n1,a b\n".encode("utf-16"), "the file is UTF-16, not UTF-8"),
        ("a.csv", b"x.jpg,a b c\ny.jpg,d e f\n", "its first line seems to be a row"),
        ("a.csv", b"n,m\n1,2\n3,4\n", "no column holds texts, pictures or sounds .* columns n, m"),
        ("a.jsonl", b'{"text": "a b", "n": 1.5}\n{"text": "c d", "n": 1.5}\n', "no column names the rows"),
        ("a.jsonl", b"not json\n", "it has no row that can be read; the first: not JSON"),
        ("a.json", b'[{"id": 1}]', "it begins as one JSON array"),
    ],
)
def test_what_cannot_be_guessed_says_what_was_looked_at(
    tmp_path: Path, name: str, content: bytes | None, why: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=f"(?s)Cannot guess how to read .*{why}.*trichord init"):
        start(str(path), tmp_path / "trichord.yaml")

    assert not (tmp_path / "trichord.yaml").exists()


@pytest.mark.parametrize(
    ("name", "content", "delimiter"),
    [
        ("a.csv", b"id;text;price\nr1;a b;7,94\nr2;c d;3,10\n", ";"),
        ("a.csv", b"id\ttext\nr1\ta b\nr2\tc d\n", "\t"),
        ("a.tsv", b"id|text\nr1|a b\nr2|c d\n", "|"),
        ("a.csv", b"id,text\nr1,a b\nr2,c; d\n", None),
    ],
)
def test_what_separates_columns_is_found(tmp_path: Path, name: str, content: bytes, delimiter: str | None) -> None:
    (tmp_path / name).write_bytes(content)
    start(str(tmp_path / name), tmp_path / "trichord.yaml")
    [source] = load_project(tmp_path / "trichord.yaml").sources
    assert getattr(source, "delimiter", "") == delimiter


def test_only_the_beginning_of_a_long_file_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trichord.pipelines.ops.samples.MAX_ROWS", 50)
    rows = [{"id": str(n), "text": f"some words {n}"} for n in range(60)]

    assert started(lines(tmp_path / "m.jsonl", rows), tmp_path, 60).looked_at == "50 rows"


def test_without_data_a_file_to_fill_in_is_written(tmp_path: Path) -> None:
    out = tmp_path / "trichord.yaml"

    assert start(None, out) == Started(path=str(out))
    assert load_project(out).sources[0].name == "products"
    short = out.read_text()
    with pytest.raises(ConfigError, match=r"(?s)exists already.*--force"):
        start(None, out)
    start(None, out, full=True, force=True)
    assert len(out.read_text()) > 10 * len(short)
    assert load_project(out).sources[0].name == "photos"
    with pytest.raises(ConfigError, match="--full"):
        start("data", out, full=True, force=True)


def test_folders_without_data_and_damaged_data_are_told(tmp_path: Path) -> None:
    out = tmp_path / "trichord.yaml"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="it holds no text, image or audio file, and no table"):
        start(str(tmp_path / "empty"), out)
    put(tmp_path / "docs" / "a.pdf", "x")
    with pytest.raises(ConfigError, match=r"1 files: 1 \.pdf"):
        start(str(tmp_path / "docs"), out)
    with pytest.raises(SourceError, match="not a Parquet file"):
        start(str(put(tmp_path / "bad.parquet", "PAR1")), out)
    with pytest.raises(ConfigError, match="only files and folders of this machine"):
        start("s3://bucket/data", out)
    gone = lines(tmp_path / "gone.jsonl", [{"id": str(n), "image": f"gone-{n}.jpg"} for n in range(5)])
    with pytest.raises(ConfigError, match=r"none of the 5 rows looked at can be read \(5 media_missing"):
        start(str(gone), out)
    assert not out.exists()


def test_links_that_lead_nowhere_and_pipes_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path / "notes" / "a.txt", "some words about a dog")
    (tmp_path / "notes" / "gone.txt").symlink_to("nowhere.txt")
    (tmp_path / "notes" / "circle.txt").symlink_to("circle.txt")
    os.mkfifo(tmp_path / "notes" / "pipe.txt")

    done = start(str(tmp_path / "notes"), tmp_path / "trichord.yaml")

    assert [record["key"] for record in done.records] == ["a"]
