"""Parquet as pyarrow, Spark, pandas and Hugging Face write it, with columns in folder names, and Delta tables."""

from __future__ import annotations

import datetime
import decimal
import io
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.feather as feather
import pyarrow.parquet as pq
from deltalake import write_deltalake

from tests.transforms.formats import Counted, Expected, Read, Refused, Variant
from tests.transforms.formats.collecting import settings
from tests.transforms.samples import picture, saved

JPEG = saved(picture(48, 36), "JPEG")
AB = {"id": ["a", "b"], "text": ["a dog", "a cat"]}


def parquet(table: pa.Table | Mapping[str, Any], **options: Any) -> bytes:
    """A table as a Parquet file."""
    out = io.BytesIO()
    pq.write_table(table if isinstance(table, pa.Table) else pa.table(dict(table)), out, **options)
    return out.getvalue()


def records(expected: Mapping[str, Mapping[str, Any]], *, rejected: int = 0) -> Read:
    """Records with these values by key, and this many rejected rows; `meta` may hold more."""

    def check(rows: list[dict[str, Any]]) -> bool:
        good = {row["key"]: row for row in rows if "rejected" not in row}
        same = all(
            value.items() <= good[key][name].items() if name == "meta" else good[key][name] == value
            for key, wanted in expected.items()
            if key in good
            for name, value in wanted.items()
        )
        return set(good) == set(expected) and same and len(rows) - len(good) == rejected

    return Read(check)


def _variant(variant: str, files: Mapping[str, bytes], expected: Expected, **options: Any) -> Variant:
    return Variant("table", "parquet", variant, dict(files) | settings("parquet", **options), expected)


def _tree(table: pa.Table, columns: list[str]) -> dict[str, bytes]:
    """A table as pyarrow partitions it into folders."""
    with tempfile.TemporaryDirectory() as folder:
        flavour = ds.partitioning(pa.schema([table.schema.field(name) for name in columns]), flavor="hive")
        ds.write_dataset(table, folder, format="parquet", partitioning=flavour)
        return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*.parquet"))}


def parquet_tables() -> Iterator[Variant]:
    """Every variant of Parquet tables."""
    yield from _hive()
    yield from _columns()
    yield from _files()


def _hive() -> Iterator[Variant]:
    table = pa.table({**AB, "split": ["train", "test"], "lang": ["en", "de"]})
    found = records({"a": {"subset": "train", "meta": {"lang": "en"}}, "b": {"subset": "test", "meta": {"lang": "de"}}})
    yield _variant("columns in folder names", _tree(table, ["split", "lang"]), found)
    two = pa.table({**AB, "year": [2023, 2024]})
    years = records({"a": {"meta": {"year": 2023}}, "b": {"meta": {"year": 2024}}})
    yield _variant("integers in folder names", _tree(two, ["year"]), years)
    zeros = pa.table({**AB, "part": ["01", "2"]})
    texts = records({"a": {"meta": {"part": "01"}}, "b": {"meta": {"part": "2"}}})
    yield _variant("leading zeros in folder names", _tree(zeros, ["part"]), texts)
    odd = pa.table({**AB, "topic": ["a/b c=d%", "café:ü"]})
    encoded = records({"a": {"meta": {"topic": "a/b c=d%"}}, "b": {"meta": {"topic": "café:ü"}}})
    yield _variant("encoded values in folder names", _tree(odd, ["topic"]), encoded)
    nulls = pa.table({**AB, "lang": ["en", None]})
    unknown = records({"a": {"meta": {"lang": "en"}}, "b": {"meta": {"lang": None}}})
    yield _variant("no value in a folder name", _tree(nulls, ["lang"]), unknown)
    one, other = parquet({"id": ["a"], "text": ["a dog"], "lang": ["en"]}), parquet({"id": ["b"], "text": ["a cat"]})
    both = {"lang=en/0.parquet": one, "lang=de/0.parquet": other}
    agree = records({"a": {"meta": {"lang": "en"}}, "b": {"meta": {"lang": "de"}}})
    yield _variant("a column in folder name and file", both, agree)
    marked = parquet({"id": ["a", "c"], "text": ["a dog", "x"], "split": ["train", "test"]})
    train = records({"a": {"subset": "train"}}, rejected=1)
    yield _variant("a mark that contradicts the folder", {"split=train/0.parquet": marked}, train)
    why = Refused("'test' in the file, 'train' in its folder's name")
    yield _variant("a mark that contradicts the folder, the reason", {"split=train/0.parquet": marked}, why)
    yield _variant("a column twice in folder names", {"a=1/a=2/0.parquet": one}, Refused("name the column a twice"))
    pictures = pa.table({**AB, "image": [JPEG, JPEG], "split": ["train", "test"]})
    seen = records({"a": {"subset": "train", "image": True}, "b": {"subset": "test", "image": True}})
    yield _variant("pictures below folder names", _tree(pictures, ["split"]), seen)
    paths = _tree(pa.table({**AB, "image": ["a.jpg", "a.jpg"], "split": ["train", "test"]}), ["split"])
    yield _variant("paths of pictures below folder names", {**paths, "a.jpg": JPEG}, seen)
    with tempfile.TemporaryDirectory() as folder:
        write_deltalake(folder, table, partition_by=["split", "lang"])
        delta = {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
    yield Variant("table", "delta", "partitioned", delta | settings("delta"), found)


def _columns() -> Iterator[Variant]:
    said = records({"a": {"text": "a dog"}, "b": {"text": "a cat"}})
    for name, kind in (("large_string", pa.large_string()), ("dictionary", pa.dictionary(pa.int32(), pa.string()))):
        made = pa.table({"id": ["a", "b"], "text": pa.array(AB["text"]).cast(kind)})
        yield _variant(f"{name} columns", {"0.parquet": parquet(made)}, said)
    raw = pa.table({"id": ["a", "b"], "text": pa.array(AB["text"]).cast(pa.binary())})
    yield _variant("binary texts", {"0.parquet": parquet(raw)}, Refused("text: bytes, not text"))
    for name, kind in (("large_binary", pa.large_binary()), ("binary(n)", pa.binary(len(JPEG)))):
        made = pa.table({"id": ["a"], "image": pa.array([JPEG]).cast(kind)})
        yield _variant(f"{name} pictures", {"0.parquet": parquet(made)}, records({"a": {"image": True}}))
    struct = pa.table({**AB, "image": [{"bytes": JPEG, "path": "x.jpg"}] * 2})
    yield _variant(
        "Hugging Face's {bytes, path}", {"0.parquet": parquet(struct)}, records({"a": {"image": True}, "b": {}})
    )
    several = pa.table({**AB, "image": [[{"bytes": JPEG, "path": "x.jpg"}]] * 2})
    yield _variant("lists of pictures", {"0.parquet": parquet(several)}, Refused("neither bytes nor a path"))
    null = pa.table({**AB, "image": pa.nulls(2), "note": pa.nulls(2)})
    yield _variant("columns without any value", {"0.parquet": parquet(null)}, said)
    mixed = {"0.parquet": parquet(null), "1.parquet": parquet({"id": ["c"], "text": ["a fox"], "image": [JPEG]})}
    filled = records({"a": {"image": False}, "b": {}, "c": {"image": True}})
    yield _variant("a column without any value in one file", mixed, filled)
    twice = pa.table([["a"], ["one"], ["two"]], names=["id", "text", "text"])
    yield _variant("a column twice", {"0.parquet": parquet(twice)}, Refused("several columns have the name text"))
    lists = pa.table({**AB, "captions": [["x", "y"], None]})
    told = records({"a": {"captions": ["x", "y"]}, "b": {"captions": []}})
    yield _variant("lists of captions", {"0.parquet": parquet(lists)}, told)
    objects = pa.table({**AB, "captions": [[{"raw": "x"}], []]})
    yield _variant("objects as captions", {"0.parquet": parquet(objects)}, Refused("must be a list of strings"))
    written = pa.table({**AB, "captions": ["['x', 'y']", '["z"]']})
    told = records({"a": {"captions": ["x", "y"]}, "b": {"captions": ["z"]}})
    yield _variant("lists as texts", {"0.parquet": parquet(written)}, told)
    when = datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
    kinds = pa.table({
        **AB,
        "when": pa.array([when, None], pa.timestamp("us", "UTC")),
        "day": pa.array([datetime.date(2024, 5, 6), None]),
        "price": pa.array([decimal.Decimal("1.10"), None]),
        "nested": [{"x": {"y": [1, 2]}}, None],
        "tags": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
    })  # fmt: skip
    meta = {"when": "2024-05-06T07:08:09+00:00", "day": "2024-05-06", "price": "1.10", "nested": {"x": {"y": [1, 2]}}}
    yield _variant(
        "times, decimals and nested columns", {"0.parquet": parquet(kinds)}, records({"a": {"meta": meta}, "b": {}})
    )
    nested = pa.table({"id": ["a"], "about": [{"said": "a dog"}]})
    dotted = records({"a": {"text": "a dog"}})
    yield _variant("a nested text", {"0.parquet": parquet(nested)}, dotted, fields={"text": "about.said"})
    floats = pa.table({"id": [1.0], "text": ["x"]})
    yield _variant("floats as keys", {"0.parquet": parquet(floats)}, Refused("id must be a string or an integer"))


def _files() -> Iterator[Variant]:
    said = records({"a": {"text": "a dog"}, "b": {"text": "a cat"}})
    ab = parquet(AB)
    for codec in ("snappy", "gzip", "zstd", "brotli", "lz4"):
        yield _variant(f"compressed by {codec}", {"0.parquet": parquet(AB, compression=codec)}, said)
    yield _variant("format 1.0", {"0.parquet": parquet(AB, version="1.0")}, said)
    yield _variant("data pages of version 2", {"0.parquet": parquet(AB, data_page_version="2.0")}, said)
    empty = parquet(pa.table(AB).slice(0, 0))
    yield _variant("a file without rows", {"0.parquet": ab, "1.parquet": empty}, said)
    yield _variant(
        "a file without bytes", {"0.parquet": ab, "1.parquet": b""}, Refused("damaged or not a Parquet file")
    )
    other = parquet({"id": ["c"], "text": ["a fox"], "lang": ["en"]})
    three = records({"a": {}, "b": {}, "c": {"meta": {"lang": "en"}}})
    yield _variant("files of different columns", {"0.parquet": ab, "1.parquet": other}, three)
    numbers = parquet({"id": ["c"], "text": [5]})
    yield _variant(
        "a text that is a number in one file", {"0.parquet": ab, "1.parquet": numbers}, Refused("text must be a string")
    )
    yield _variant("Spark's marks beside it", {"0.parquet": ab, "_SUCCESS": b"", "._SUCCESS.crc": b"x"}, said)
    yield _variant("endings in upper case", {"0.PARQUET": ab}, said)
    out = io.BytesIO()
    feather.write_feather(pa.table(AB), out)
    for ending in ("arrow", "feather", "csv", "orc"):
        yield _variant(f".{ending} beside it", {"0.parquet": ab, f"1.{ending}": out.getvalue()}, Counted())
    yield _variant("Feather alone", {"0.feather": out.getvalue()}, Refused("there is no .parquet file"))
    yield _variant(
        "Feather by its path", {"0.feather": out.getvalue()}, Refused("does not read .feather files"), path="0.feather"
    )
