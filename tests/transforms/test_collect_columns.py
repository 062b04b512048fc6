"""A mapped column that the data lack, or that no row fills, is an error in every kind of source, unless optional."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from PIL import Image
from pydantic import TypeAdapter

from trichord.infra.config import Source, StorageConfig
from trichord.infra.errors import SourceError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms.collect import FieldCount, Plan, plan_source
from trichord.transforms.collect.naming import guess_meant, show

STORAGE = Storage(StorageConfig())
Row = dict[str, Any]
ROWS: list[Row] = [
    {"id": f"r{i}", "caption": f"a red dog number {i}", "file": f"{i}.png", "meta": {"title": f"title {i}"}}
    for i in range(4)
]


def picture(shade: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 90, 30)).save(data, "PNG")
    return data.getvalue()


def flat(row: Row) -> Row:
    return {name: json.dumps(value) if isinstance(value, dict) else value or "" for name, value in row.items()}


def jsonl(folder: Path, rows: Sequence[Row]) -> Row:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"kind": "manifest", "path": str(folder / "rows.jsonl")}


def table(folder: Path, rows: Sequence[Row], delimiter: str, name: str) -> None:
    with open(folder / name, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(flat(row) for row in rows)


def as_csv(folder: Path, rows: Sequence[Row]) -> Row:
    table(folder, rows, ",", "rows.csv")
    return {"kind": "manifest", "path": str(folder / "rows.csv")}


def as_tsv(folder: Path, rows: Sequence[Row]) -> Row:
    table(folder, rows, "\t", "rows.tsv")
    return {"kind": "manifest", "path": str(folder / "rows.tsv")}


def imagefolder(folder: Path, rows: Sequence[Row]) -> Row:
    table(folder, [{"file_name": row["file"], **row} for row in rows], ",", "metadata.csv")
    return {"kind": "imagefolder", "path": str(folder)}


def parquet_paths(folder: Path, rows: Sequence[Row]) -> Row:
    for part in range(2):
        pq.write_table(pa.Table.from_pylist(list(rows[part::2])), folder / f"{part}.parquet")
    return {"kind": "parquet", "path": str(folder)}


def inline(rows: Sequence[Row]) -> list[Row]:
    return [
        {
            name: {"bytes": picture(i), "path": value} if name == "file" and value else value
            for name, value in row.items()
        }
        for i, row in enumerate(rows)
    ]


def parquet_bytes(folder: Path, rows: Sequence[Row]) -> Row:
    for part in range(2):
        pq.write_table(pa.Table.from_pylist(inline(rows)[part::2]), folder / f"{part}.parquet")
    return {"kind": "parquet", "path": str(folder)}


def delta_paths(folder: Path, rows: Sequence[Row]) -> Row:
    write_deltalake(str(folder), typed(rows, pa.string()))
    return {"kind": "delta", "path": str(folder)}


def delta_bytes(folder: Path, rows: Sequence[Row]) -> Row:
    for part in range(2):
        shape = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        write_deltalake(str(folder), typed(inline(rows)[part::2], shape), mode="append")
    return {"kind": "delta", "path": str(folder)}


def typed(rows: Sequence[Row], file: pa.DataType) -> pa.Table:
    """Delta has no columns of type null."""
    types: dict[str, pa.DataType] = {"file": file, "meta": pa.struct([("title", pa.string())])}
    return pa.table({n: pa.array([row[n] for row in rows], types.get(n, pa.string())) for n in rows[0]})


Make = Callable[[Path, Sequence[Row]], Row]
KINDS: list[Make] = [jsonl, as_csv, as_tsv, imagefolder, parquet_paths, parquet_bytes, delta_paths, delta_bytes]
NESTED = [jsonl, parquet_paths, parquet_bytes, delta_paths, delta_bytes]
FIELDS = {"text": "caption", "image": "file"}
every_kind = pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)


def plan(tmp_path: Path, make: Make, rows: Sequence[Row], fields: Mapping[str, Any], **settings: Any) -> Plan:
    folder = Path(mkdtemp(dir=tmp_path))
    for i in range(len(ROWS)):
        (folder / f"{i}.png").write_bytes(picture(i))
    given = {"name": "s", **make(folder, rows), "fields": {"key": "id", **fields}, **settings}
    source: Source = TypeAdapter(Source).validate_python(given)
    return plan_source(source, Lake(STORAGE, str(folder / "lake")), rows_per_partition=8, cache=None, checked=True)


def refused(tmp_path: Path, make: Make, rows: Sequence[Row], fields: Mapping[str, Any], **settings: Any) -> str:
    before = set(tmp_path.glob("*/lake"))
    with pytest.raises(SourceError) as caught:
        plan(tmp_path, make, rows, fields, **settings)
    assert set(tmp_path.glob("*/lake")) == before, "nothing was made"
    return str(caught.value)


@every_kind
def test_a_source_that_holds_what_is_mapped_is_planned_and_counted(tmp_path: Path, make: Make) -> None:
    found = plan(tmp_path, make, ROWS, FIELDS)
    assert found.rows == 4
    assert {count.field: count.filled for count in found.fields} == {"key": 4, "text": 4, "image": 4}
    assert found.lacks == {"audio"}


@every_kind
def test_a_misspelt_column_is_an_error_with_the_one_that_was_meant(tmp_path: Path, make: Make) -> None:
    told = refused(tmp_path, make, ROWS, {**FIELDS, "text": "captoin"})
    assert "source 's': `fields.text: captoin`: there is no column captoin; did you mean `caption`?" in told
    assert "id, caption, file" in told
    assert "`optional_fields: [text]`" in told


@pytest.mark.parametrize("make", [as_csv, parquet_bytes], ids=lambda make: make.__name__)
@pytest.mark.parametrize("given", ["Caption", " caption ", "\ufeffcaption"])
def test_case_blanks_and_byte_order_marks_are_seen_through(tmp_path: Path, make: Make, given: str) -> None:
    assert "did you mean `caption`?" in refused(tmp_path, make, ROWS, {**FIELDS, "text": given})


@every_kind
@pytest.mark.parametrize("empty", [None, "  "])
def test_a_column_that_no_row_fills_is_an_error(tmp_path: Path, make: Make, empty: str | None) -> None:
    told = refused(tmp_path, make, [{**row, "caption": empty} for row in ROWS], {**FIELDS, "text": "caption"})
    assert "`fields.text: caption`: the column is empty in all 4 rows" in told


@every_kind
def test_optional_fields_may_be_absent_or_empty(tmp_path: Path, make: Make) -> None:
    assert plan(tmp_path, make, ROWS, {**FIELDS, "group": "album"}, optional_fields=["group"]).rows == 4
    rows = [{**row, "caption": None} for row in ROWS]
    assert plan(tmp_path, make, rows, FIELDS, optional_fields=["text"]).rows == 4


@every_kind
def test_defaults_that_the_data_lack_are_no_error_but_the_key_is(tmp_path: Path, make: Make) -> None:
    assert plan(tmp_path, make, ROWS, {"image": "file"}).rows == 4  # no text, audio, captions, group, split
    told = refused(tmp_path, make, ROWS, {"key": "idd", **FIELDS})
    assert "there is no column idd" in told


@every_kind
def test_one_filled_row_is_enough(tmp_path: Path, make: Make) -> None:
    rows = [{**row, "caption": row["caption"] if row["id"] == "r3" else None} for row in ROWS]
    counts = {count.field: count for count in plan(tmp_path, make, rows, FIELDS).fields}
    expected = 4 if make in (parquet_bytes, delta_bytes) else 1
    assert counts["text"].filled <= expected
    assert counts["text"].exact == (make not in (parquet_bytes, delta_bytes))
    assert counts["image"].filled == 4


@pytest.mark.parametrize("make", NESTED, ids=lambda make: make.__name__)
def test_nested_columns_are_named_by_their_path(tmp_path: Path, make: Make) -> None:
    assert plan(tmp_path, make, ROWS, {**FIELDS, "text": "meta.title"}).rows == 4
    told = refused(tmp_path, make, ROWS, {**FIELDS, "text": "meta.titel"})
    assert "did you mean `meta.title`?" in told
    assert "did you mean `meta.title`?" in refused(tmp_path, make, ROWS, {**FIELDS, "text": "title"})
    rows = [{**row, "meta": {"title": None}} for row in ROWS]
    assert "`fields.text: meta.title`: the column is empty" in refused(
        tmp_path, make, rows, {**FIELDS, "text": "meta.title"}
    )


@pytest.mark.parametrize("make", [parquet_bytes, delta_bytes], ids=lambda make: make.__name__)
def test_a_struct_whose_bytes_are_all_null_is_empty(tmp_path: Path, make: Make) -> None:
    assert plan(tmp_path, make, ROWS, {**FIELDS, "image": "file.bytes"}).rows == 4
    told = refused(tmp_path, make, ROWS, {**FIELDS, "image": "file.byts"})
    assert "did you mean `file.bytes`?" in told


@pytest.mark.parametrize("field", ["segments", "pictures", "regions"])
@pytest.mark.parametrize("make", [as_csv, parquet_bytes], ids=lambda make: make.__name__)
def test_alignment_that_no_row_has_is_an_error(tmp_path: Path, make: Make, field: str) -> None:
    told = refused(tmp_path, make, ROWS, {**FIELDS, field: "cuts"})
    assert f"`fields.{field}: cuts`: there is no column cuts" in told


def test_a_column_of_any_file_is_there_and_the_rows_of_others_are_counted(tmp_path: Path) -> None:
    def days(folder: Path, rows: Sequence[Row]) -> Row:
        old, new = inline(rows)[:3], [{**row, "file": None} for row in rows[3:]]
        pq.write_table(pa.Table.from_pylist(old), folder / "1.parquet")
        pq.write_table(pa.Table.from_pylist(new), folder / "2.parquet")  # a column of type null
        pq.write_table(pa.Table.from_pylist([{"id": "n", "caption": "a cat"}]), folder / "3.parquet")
        return {"kind": "parquet", "path": str(folder)}

    found = {count.field: count for count in plan(tmp_path, days, ROWS, FIELDS).fields}
    assert found["image"] == FieldCount(field="image", column="file", filled=4, rows=5, exact=False)
    assert found["text"].filled == 5


def test_counts_say_how_many_rows_a_vanished_column_left(tmp_path: Path) -> None:
    rows = [row if int(row["id"][1:]) < 3 else {n: v for n, v in row.items() if n != "file"} for row in ROWS]
    found = {count.field: count for count in plan(tmp_path, jsonl, rows, FIELDS).fields}
    assert found["image"] == FieldCount(field="image", column="file", filled=3, rows=4)


@every_kind
def test_no_rows_at_all_are_no_error(tmp_path: Path, make: Make) -> None:
    def none(folder: Path, rows: Sequence[Row]) -> Row:
        made = make(folder, rows)
        for path in folder.rglob("*"):
            if path.suffix in (".csv", ".tsv"):
                path.write_text(path.read_text(encoding="utf-8-sig").splitlines()[0] + "\n", encoding="utf-8")
            elif path.suffix == ".jsonl":
                path.write_text("")
            elif path.suffix == ".parquet" and "_delta_log" not in str(path) and made["kind"] == "parquet":
                pq.write_table(pq.ParquetFile(path).read().slice(0, 0), path)
        if made["kind"] == "delta":
            from deltalake import DeltaTable

            DeltaTable(str(folder)).delete()
        return made

    assert plan(tmp_path, none, ROWS, FIELDS).rows == (4 if make is imagefolder else 0)  # its pictures are rows too


@pytest.mark.parametrize("make", [as_csv, parquet_paths, parquet_bytes, delta_paths], ids=lambda make: make.__name__)
def test_a_header_or_schema_that_lacks_a_column_is_an_error_without_any_row(tmp_path: Path, make: Make) -> None:
    def none(folder: Path, rows: Sequence[Row]) -> Row:
        made = make(folder, rows)
        for path in folder.glob("*"):
            if path.suffix == ".csv":
                path.write_text(path.read_text(encoding="utf-8-sig").splitlines()[0] + "\n", encoding="utf-8")
            elif path.suffix == ".parquet" and made["kind"] == "parquet":
                pq.write_table(pq.ParquetFile(path).read().slice(0, 0), path)
        return made

    assert "did you mean `caption`?" in refused(tmp_path, none, ROWS, {**FIELDS, "text": "captoin"})


def test_rows_that_cannot_be_read_fill_no_column(tmp_path: Path) -> None:
    def broken(folder: Path, _: Sequence[Row]) -> Row:
        (folder / "rows.jsonl").write_text("{]\n[1]\n")
        return {"kind": "manifest", "path": str(folder / "rows.jsonl")}

    told = refused(tmp_path, broken, ROWS, FIELDS)
    assert "none of its 2 rows can be read; the first: line 1: not JSON" in told


def test_rows_without_any_medium_name_their_columns(tmp_path: Path) -> None:
    told = refused(tmp_path, jsonl, ROWS, {})
    assert "none of its 4 rows has a text, an image or a sound; the columns there are: id, caption, file, meta" in told


@pytest.mark.parametrize("make", [jsonl, as_csv, parquet_paths, delta_paths], ids=lambda make: make.__name__)
def test_files_that_are_nowhere_are_an_error(tmp_path: Path, make: Make) -> None:
    rows = [{**row, "file": f"photos/{row['file']}"} for row in ROWS]
    told = refused(tmp_path, make, rows, FIELDS)
    assert 'none of the 4 pictures that `fields.image: file` names was found; the first: "photos/0.png"' in told
    assert "correct `media_root`" in told
    assert plan(tmp_path, make, rows, FIELDS, optional_fields=["image"]).rows == 4
    some = [{**row, "file": f"photos/{row['file']}" if row["id"] != "r0" else row["file"]} for row in ROWS]
    assert plan(tmp_path, make, some, FIELDS).rows == 4


@every_kind
def test_a_required_modality_that_no_row_has_is_an_error(tmp_path: Path, make: Make) -> None:
    told = refused(tmp_path, make, ROWS, FIELDS, require=["image", "audio"])
    assert "`require` names audio, which none of its 4 rows has" in told
    assert plan(tmp_path, make, ROWS, FIELDS, require=["image", "text"], require_any=2).rows == 4
    assert "`require_any` (3)" in refused(tmp_path, make, ROWS, FIELDS, require_any=3)


def test_names_in_messages_are_bounded_and_escaped(tmp_path: Path) -> None:
    names = {f"column{i}": "x" for i in range(300)}
    told = refused(tmp_path, jsonl, [{"id": "a", "\x1b[31mcap\u202etion": "red", **names}], {"text": "capt\x1bion"})
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert len(told) < 3_000


def test_what_was_meant_is_found_by_fold_then_leaf_then_likeness() -> None:
    assert guess_meant("photo ", ["sku", "Photo"]) == "Photo"
    assert guess_meant("img_path", ["img-path", "img"]) == "img-path"
    assert guess_meant("caption", ["id", "meta.caption"]) == "meta.caption"
    assert guess_meant("foto", ["sku", "title", "photo"]) == "photo"
    assert guess_meant("audio", ["sku", "title", "photo"]) is None
    assert [show(name) for name in ("a b", "photo ", "\ufeffid", "a\nb")] == [
        "a b",
        '"photo "',
        '"\\ufeffid"',
        '"a\\nb"',
    ]
