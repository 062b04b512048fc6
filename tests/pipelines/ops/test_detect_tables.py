"""`trichord init TABLE`: columns are known by what they hold, and the file that is written plans straight away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from tests.pipelines.ops.start_data import (
    AUDIO,
    IMAGE,
    SENTENCES,
    fields_of,
    kind_of,
    lines,
    media,
    started,
    table,
)
from trichord.pipelines.ops.start import start


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
