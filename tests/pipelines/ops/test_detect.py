"""`trichord init PATH`: every kind of data is recognised, and the file that is written plans straight away."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from tests.transforms.samples import picture, saved, sound, tone
from trichord.infra.errors import ConfigError, SourceError
from trichord.infra.project import load_project
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.ops.start import Started, start
from trichord.pipelines.prepare.plan import preview

IMAGE, AUDIO = saved(picture(), "JPEG"), sound(tone(0.2))
SENTENCES = [f"a red circle above {number} blue squares" for number in range(6)]


def put(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def media(folder: Path, count: int = 6, ending: str = "jpg") -> list[str]:
    """Files 0.jpg, 1.jpg ... of different bytes; returns their names."""
    data = AUDIO if ending == "wav" else IMAGE
    for number in range(count):
        put(folder / f"{number}.{ending}", data + (b"" if ending == "wav" else b"%d" % number))
    return [f"{number}.{ending}" for number in range(count)]


def table(path: Path, rows: Sequence[Mapping[str, Any]], delimiter: str = ",") -> Path:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return put(path, out.getvalue())


def lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    return put(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def started(data: Path, tmp_path: Path, rows: int) -> Started:
    """What `init` wrote; the file plans, with as many rows as the data have."""
    out = tmp_path / "trichord.yaml"
    result = start(str(data), out)
    [source] = preview(Workspace(load_project(out)))["sources"]
    assert source["rows"] == rows
    assert len(out.read_text().splitlines()) <= 16
    assert 1 <= len(result.records) <= 3
    return result


def fields_of(result: Started) -> dict[str, Any]:
    assert result.source is not None
    return dict(result.source.get("fields", {}))


def kind_of(result: Started) -> str:
    assert result.source is not None
    return str(result.source["kind"])


def test_a_csv_with_a_caption_beside_a_filename(tmp_path: Path) -> None:
    names = media(tmp_path / "data" / "images")
    rows = [{"filename": name, "caption": text} for name, text in zip(names, SENTENCES, strict=True)]
    path = table(tmp_path / "data" / "photos.csv", rows)

    result = started(path, tmp_path, 6)

    assert result.source == {
        "name": "photos",
        "kind": "manifest",
        "path": "data/photos.csv",
        "media_root": "data/images",
        "fields": {"key": "filename", "text": "caption", "image": "filename"},
    }
    assert result.records[0] == {
        "key": "0.jpg",
        "text": SENTENCES[0],
        "image": {"path": "0.jpg", "bytes": len(IMAGE) + 1},
    }
    assert result.notes == ()


def test_a_tsv_with_german_names(tmp_path: Path) -> None:
    media(tmp_path / "Fotos")
    media(tmp_path / "Ton", ending="wav")
    rows = [
        {
            "Artikelnummer": f"A-{number}",
            "Bildunterschrift": text,
            "Datei Bild": f"Fotos/{number}.jpg",
            "Aufnahme": f"Ton/{number}.wav",
            "Serie": f"s{number // 2}",
            "Teilmenge": "test" if number == 5 else "train",
            "Preis": f"{number},50",
        }
        for number, text in enumerate(SENTENCES)
    ]

    result = started(table(tmp_path / "Katalog.tsv", rows, "\t"), tmp_path, 6)

    assert fields_of(result) == {
        "key": "Artikelnummer",
        "text": "Bildunterschrift",
        "image": "Datei Bild",
        "audio": "Aufnahme",
        "group": "Serie",
        "subset": "Teilmenge",
    }
    assert result.source is not None
    assert "media_root" not in result.source


def test_jsonl_with_chinese_names_and_a_list_of_captions(tmp_path: Path) -> None:
    names = media(tmp_path / "数据")
    rows = [
        {
            "编号": 100 + number,
            "标题": f"红色的圆在{number}个方块上面",
            "图片路径": f"数据/{name}",
            "其他描述": ["一个圆", "方块"],
        }
        for number, name in enumerate(names)
    ]

    result = started(lines(tmp_path / "数据.jsonl", rows), tmp_path, 6)

    assert fields_of(result) == {"key": "编号", "text": "标题", "image": "图片路径", "captions": "其他描述"}
    assert result.records[0]["captions"] == ["一个圆", "方块"]
    assert result.source is not None
    assert result.source["name"] == "data"


def test_captions_as_json_in_a_csv_cell_and_no_text(tmp_path: Path) -> None:
    names = media(tmp_path)
    rows = [{"id": f"k{name}", "pic": name, "sentences": json.dumps([text, "another one"])} for name, text in
            zip(names, SENTENCES, strict=True)]  # fmt: skip

    result = started(table(tmp_path / "m.csv", rows), tmp_path, 6)

    assert fields_of(result) == {"image": "pic", "captions": "sentences"}
    assert result.records[0]["captions"] == [SENTENCES[0], "another one"]


def test_ids_that_repeat_do_not_name_rows_but_are_held_out_together(tmp_path: Path) -> None:
    names = media(tmp_path)
    rows = [
        {"id": f"product-{number // 2}", "photo": name, "title": text}
        for number, (name, text) in enumerate(zip(names, SENTENCES, strict=True))
    ]

    result = started(lines(tmp_path / "m.jsonl", rows), tmp_path, 6)

    assert fields_of(result) == {"key": "photo", "text": "title", "image": "photo", "group": "id"}
    assert result.notes == ("id repeats (3 of 6 rows), so photo names the rows",)


def test_where_nothing_is_unique_the_repeats_are_told(tmp_path: Path) -> None:
    rows = [{"id": f"k{number // 2}", "text": "the same words"} for number in range(6)]

    result = started(lines(tmp_path / "m.jsonl", rows), tmp_path, 6)

    assert "id repeats (3 of 6 rows): of rows with one key the first is kept" in result.notes[0]
    assert "key_repeated" in result.notes[1]


def test_columns_of_usual_names_and_other_content_are_not_taken(tmp_path: Path) -> None:
    names = media(tmp_path)
    rows = [{"id": name, "image": number, "text": f"https://x.org/{number}", "file": name, "notes": text} for
            number, (name, text) in enumerate(zip(names, SENTENCES, strict=True))]  # fmt: skip

    result = started(lines(tmp_path / "m.jsonl", rows), tmp_path, 6)

    assert fields_of(result) == {"text": "notes", "image": "file"}


def test_nested_fields_and_a_lone_image_without_text(tmp_path: Path) -> None:
    names = media(tmp_path / "a" / "b")
    rows = [{"uid": f"u{name}", "meta": {"caption": text, "file": name}} for name, text in
            zip(names, SENTENCES, strict=True)]  # fmt: skip

    result = started(lines(tmp_path / "m.jsonl", rows), tmp_path, 6)

    assert fields_of(result) == {"key": "uid", "text": "meta.caption", "image": "meta.file"}
    assert result.source is not None
    assert result.source["media_root"] == "a/b"


def test_absolute_paths_elsewhere_have_their_folder_as_root(tmp_path: Path) -> None:
    names = media(tmp_path / "far" / "away")
    rows = [{"id": name, "image": str(tmp_path / "far" / "away" / name)} for name in names]

    result = started(lines(tmp_path / "here" / "m.jsonl", rows), tmp_path, 6)

    assert result.source is not None
    assert result.source["media_root"] == "far/away"


def test_media_on_the_web_are_not_fetched(tmp_path: Path) -> None:
    rows = [{"id": str(number), "image_url": f"https://example.org/i/{number}"} for number in range(4)]
    out = tmp_path / "trichord.yaml"

    result = start(str(lines(tmp_path / "m.jsonl", rows)), out)

    assert fields_of(result) == {"image": "image_url"}
    assert result.records[0] == {
        "key": "0",
        "text": None,
        "image": {"path": "https://example.org/i/0", "bytes": None},
    }


@pytest.mark.parametrize("form", ["bytes", "huggingface", "paths"])
def test_parquet_with_media_of_every_form(tmp_path: Path, form: str) -> None:
    names = media(tmp_path / "pictures")
    cells: dict[str, list[Any]] = {
        "bytes": [IMAGE] * 6,
        "huggingface": [{"bytes": IMAGE, "path": name} for name in names],
        "paths": [f"pictures/{name}" for name in names],
    }
    columns = {"photo": cells[form], "caption": SENTENCES, "score": [0.5] * 6}
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "data" / "part-0.parquet")

    result = started(tmp_path / "data", tmp_path, 6)

    assert kind_of(result) == "parquet"
    key = "photo" if form == "paths" else "#row"
    assert fields_of(result) == {"key": key, "text": "caption", "image": "photo"}
    assert result.source is not None
    assert result.source.get("media_root") == ("." if form == "paths" else None)


def test_one_parquet_file_of_many_rows_is_looked_at_in_part(tmp_path: Path) -> None:
    count = 300
    ids = pa.array(range(count))
    columns = {"id": ids, "audio": [AUDIO] * count, "transcript": [f"word {n} and more" for n in range(count)]}
    pq.write_table(pa.table(columns), tmp_path / "speech.parquet")

    result = started(tmp_path / "speech.parquet", tmp_path, count)

    assert fields_of(result) == {"text": "transcript"}
    assert result.records[0]["audio"]["bytes"] == len(AUDIO)


def test_a_delta_table_with_a_partition_column(tmp_path: Path) -> None:
    names = media(tmp_path)
    columns = {
        "sku": [f"s{n}" for n in range(6)],
        "img": names,
        "body": SENTENCES,
        "split": ["train"] * 4 + ["test"] * 2,
    }
    write_deltalake(str(tmp_path / "table"), pa.table(columns), partition_by=["split"])

    result = started(tmp_path / "table", tmp_path, 6)

    assert kind_of(result) == "delta"
    assert fields_of(result) == {"key": "sku", "text": "body", "image": "img"}
    assert result.source is not None
    assert result.source["media_root"] == "."
    assert {record["subset"] for record in result.records} <= {"train", "test"}


def test_a_folder_of_loose_files(tmp_path: Path) -> None:
    media(tmp_path / "clips")
    media(tmp_path / "clips", ending="wav")
    for number, text in enumerate(SENTENCES):
        put(tmp_path / "clips" / f"{number}.txt", text)

    result = started(tmp_path / "clips", tmp_path, 6)

    assert result.source == {"name": "clips", "kind": "folder", "path": "clips"}
    assert set(result.records[0]) == {"key", "text", "image", "audio"}
    assert result.notes == ("6 of 6 records have more than one file (a.txt, a.jpg and a.wav are one record)",)


def test_the_project_file_may_lie_in_the_folder_that_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media(tmp_path / "clips")
    monkeypatch.chdir(tmp_path / "clips")

    start(".", Path("trichord.yaml"))

    project = load_project("trichord.yaml")
    assert project.lake == str(tmp_path / "clips-lake")
    assert preview(Workspace(project))["sources"][0]["rows"] == 6


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_webdataset_tars(tmp_path: Path, several: bool, compressed: bool) -> None:
    ending, mode = ("tar.gz", "w:gz") if compressed else ("tar", "w")
    shards = 2 if several else 1
    (tmp_path / "tars").mkdir()
    for shard in range(shards):
        with tarfile.open(tmp_path / "tars" / f"train-{shard:03d}.{ending}", mode) as archive:  # type: ignore[call-overload]
            for number, text in enumerate(SENTENCES):
                for name, data in ((f"{shard}-{number}.jpg", IMAGE), (f"{shard}-{number}.txt", text.encode())):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    path = tmp_path / "tars" if several else tmp_path / "tars" / f"train-000.{ending}"

    result = started(path, tmp_path, 6 * shards)

    assert kind_of(result) == "webdataset"
    assert result.records[0]["text"] == SENTENCES[0]
    if several and not compressed:
        (tmp_path / "again").mkdir()
        pattern = start(str(tmp_path / "tars" / "train-{000..001}.tar"), tmp_path / "again" / "p.yaml")
        assert pattern.source is not None
        assert pattern.source["path"].endswith("train-{000..001}.tar")


def coco(folder: Path) -> Path:
    names = media(folder / "val2017")
    document = {
        "info": {"year": 2017},
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "annotations": [
            {"id": 10 * number + n, "image_id": number, "caption": f"{text} {n}"}
            for number, text in enumerate(SENTENCES)
            for n in range(2)
        ],
    }
    return put(folder / "annotations" / "captions_val2017.json", json.dumps(document))


def test_coco_captions_find_their_photos_beside_their_folder(tmp_path: Path) -> None:
    path = coco(tmp_path / "coco")

    result = started(path, tmp_path, 6)

    assert result.source == {
        "name": "captions_val2017",
        "kind": "captions",
        "path": "coco/annotations/captions_val2017.json",
        "media_root": "coco/val2017",
    }
    assert result.records[0]["captions"] == [f"{SENTENCES[0]} 1"]
    (tmp_path / "folder").mkdir()
    assert kind_of(start(str(tmp_path / "coco"), tmp_path / "folder" / "t.yaml")) == "captions", (
        "its folder does as well"
    )


@pytest.mark.parametrize("form", ["tokens", "table", "bars"])
def test_flickr_captions(tmp_path: Path, form: str) -> None:
    names = media(tmp_path / "flickr" / "Images")
    rows = [
        (name, number, f"{text} {number}") for name, text in zip(names, SENTENCES, strict=True) for number in (0, 1)
    ]
    told = {
        "tokens": ("Flickr8k.token.txt", "".join(f"{name}#{n}\t{text}\n" for name, n, text in rows)),
        "table": ("captions.txt", "image,caption\n" + "".join(f"{name},{text}\n" for name, _, text in rows)),
        "bars": (
            "results.csv",
            "image_name| comment_number| comment\n" + "".join(f"{name}| {n}| {text}\n" for name, n, text in rows),
        ),
    }[form]
    path = put(tmp_path / "flickr" / told[0], told[1])

    result = started(path, tmp_path, 6)

    assert kind_of(result) == "captions"
    assert result.source is not None
    assert result.source["media_root"] == "flickr/Images"
    assert result.records[0]["captions"] == [f"{SENTENCES[0]} 1"]
    (tmp_path / "folder").mkdir()
    assert kind_of(start(str(tmp_path / "flickr"), tmp_path / "folder" / "t.yaml")) == "captions"


@pytest.mark.parametrize("kind", ["imagefolder", "audiofolder"])
def test_media_folders_with_metadata(tmp_path: Path, kind: str) -> None:
    ending = "jpg" if kind == "imagefolder" else "wav"
    names = media(tmp_path / "hub" / "train", ending=ending)
    rows = [{"file_name": name, "transcription": text} for name, text in zip(names, SENTENCES, strict=True)]
    lines(tmp_path / "hub" / "train" / "metadata.jsonl", rows)

    result = started(tmp_path / "hub", tmp_path, 6)

    assert kind_of(result) == kind
    assert fields_of(result)["text"] == "transcription"
    assert result.records[0]["key"] == f"train/0.{ending}"
    assert result.records[0]["subset"] == "train"


def test_media_in_folders_of_their_class(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        media(tmp_path / "pets" / label, 3)

    result = started(tmp_path / "pets", tmp_path, 6)

    assert result.source == {"name": "pets", "kind": "imagefolder", "path": "pets"}
    assert result.records[0]["text"] == "cat"


def test_a_folder_with_a_table_and_its_media(tmp_path: Path) -> None:
    names = media(tmp_path / "set" / "img")
    rows = [{"id": name, "image": f"img/{name}", "text": text} for name, text in zip(names, SENTENCES, strict=True)]
    lines(tmp_path / "set" / "manifest.jsonl", rows)

    result = started(tmp_path / "set", tmp_path, 6)

    assert result.source == {"name": "manifest", "kind": "manifest", "path": "set/manifest.jsonl"}
    lines(tmp_path / "set" / "second.jsonl", rows)
    with pytest.raises(ConfigError, match=r"several of its files .*manifest.jsonl, second.jsonl.*Name one"):
        start(str(tmp_path / "set"), tmp_path / "other.yaml")


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
        ("a.csv", b"id;text\n1;a b\n", "its columns are divided by ';', not by commas"),
        ("a.csv", b"x.jpg,a b c\ny.jpg,d e f\n", "its first line seems to be a row"),
        ("a.csv", b"n,m\n1,2\n3,4\n", "no column holds texts, pictures or sounds .* columns n, m"),
        ("a.jsonl", b'{"text": "a b", "n": 1.5}\n{"text": "c d", "n": 1.5}\n', "no column names the rows"),
        ("a.jsonl", b"not json\n", "it has no row that can be read; the first: not JSON"),
        ("a.json", b'[{"id": 1}]', "it has no row that can be read"),
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


def test_folders_without_data_and_damaged_data_are_told(tmp_path: Path) -> None:
    out = tmp_path / "trichord.yaml"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="it holds no text, image or audio file, and no table"):
        start(str(tmp_path / "empty"), out)
    put(tmp_path / "docs" / "a.pdf", "x")
    with pytest.raises(ConfigError, match=r"1 files: 1 \.pdf"):
        start(str(tmp_path / "docs"), out)
    with pytest.raises(SourceError, match="no Parquet file"):
        start(str(put(tmp_path / "bad.parquet", "PAR1")), out)
    with pytest.raises(ConfigError, match="only files and folders of this machine"):
        start("s3://bucket/data", out)
    gone = lines(tmp_path / "gone.jsonl", [{"id": str(n), "image": f"gone-{n}.jpg"} for n in range(5)])
    with pytest.raises(ConfigError, match=r"none of the 5 rows looked at can be read \(5 media_missing"):
        start(str(gone), out)
    assert not out.exists()


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
