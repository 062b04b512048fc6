"""Parquet and Delta sources: partitions of row groups or data files, media as bytes or paths, hostile files refused."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import pickle  # noqa: TID251
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Place
from tests.transforms.samples import flipped, patched, picture, saved, sound, tone
from trichord.infra.config import (
    DeltaSource,
    FieldMap,
    ImageConfig,
    ParquetSource,
    PrepareConfig,
    Source,
    StorageConfig,
)
from trichord.infra.errors import SourceError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms.batch import Batch, join
from trichord.transforms.collect import Plan, plan_source, read_partition
from trichord.transforms.collect.read import ROWS_PER_BATCH

STORAGE = Storage(StorageConfig())
IMAGE, AUDIO = saved(picture(), "JPEG"), sound(tone(0.2))


def parquet(path: Path | str, **options: Any) -> ParquetSource:
    return ParquetSource(kind="parquet", name="p", path=str(path), **options)


def plan(source: Source, lake: Path | str, storage: Storage = STORAGE, rows_per_partition: int = 8) -> Plan:
    return plan_source(source, Lake(storage, str(lake)), rows_per_partition=rows_per_partition, cache=None)


def read(source: Source, lake: Path | str, storage: Storage = STORAGE, **options: Any) -> Batch:
    parts = []
    for partition in plan(source, lake, storage).partitions:
        found = list(read_partition(source, Lake(storage, str(lake)), partition, **options))
        assert sum(len(batch.rows) + len(batch.rejects) for batch in found) == partition.rows
        assert max(len(batch) for batch in found) <= ROWS_PER_BATCH
        parts += found
    return join(parts)


def table(count: int, start: int = 0) -> pa.Table:
    rows = [
        {
            "id": f"k{i}",
            "text": f"text {i}",
            "image": {"bytes": IMAGE + b"%d" % i, "path": f"{i}.jpg"} if i % 3 else None,
            "audio": AUDIO if i % 4 == 0 else None,
            "captions": ["one", "two"],
            "split": "test",
            "n": i,
        }
        for i in range(start, start + count)
    ]
    return pa.Table.from_pylist(rows)


def written(rows: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(rows, out, **options)
    return out.getvalue()


def reasons(batch: Batch) -> dict[str, str]:
    return {reject.key: reject.reason for reject in batch.rejects}


def test_row_groups_are_partitions_and_every_row_is_read_once(place: Place) -> None:
    place.storage.write(f"{place.uri}/in/a.parquet", written(table(20), row_group_size=4))
    place.storage.write(f"{place.uri}/in/sub/b.parquet", written(table(20, 20), row_group_size=20))
    place.storage.write(f"{place.uri}/in/_tmp/c.parquet", b"left by a writer")
    source, lake = parquet(f"{place.uri}/in"), f"{place.uri}/lake"
    planned = plan(source, lake, place.storage)
    assert [(partition.id, partition.rows) for partition in planned.partitions] == [
        ("p/a.parquet#0-1", 8),
        ("p/a.parquet#2-3", 8),
        ("p/a.parquet#4-4", 4),
        ("p/sub/b.parquet#0-0", 20),
    ]
    assert max(len(pickle.dumps(partition)) for partition in planned.partitions) < 800
    batch = read(source, lake, place.storage)
    assert [row.key for row in batch.rows] == [f"k{i}" for i in range(40)]
    for i, (row, image, audio) in enumerate(zip(batch.rows, batch.raw_images, batch.raw_audios, strict=True)):
        assert (row.text, row.captions, row.subset, row.group) == (f"text {i}", ("one", "two"), "test", f"k{i}")
        assert row.meta == f'{{"n":{i}}}'
        assert image == (IMAGE + b"%d" % i if i % 3 else None)
        assert audio == (AUDIO if i % 4 == 0 else None)
    assert json.loads(batch.rows[21].payload) == {"file": "sub/b.parquet", "row": 1, "text": "text 21"}
    place.storage.write(f"{place.uri}/in/a.parquet", written(table(20), row_group_size=5))
    after = plan(source, lake, place.storage)
    assert after.partitions[-1] == planned.partitions[-1]
    assert not {partition.version for partition in after.partitions[:-1]} & {
        partition.version for partition in planned.partitions[:-1]
    }
    with pytest.raises(SourceError, match="changed"):
        list(read_partition(source, Lake(place.storage, lake), planned.partitions[0]))


def test_a_plan_depends_on_content_and_fields_but_not_on_the_place(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.parquet").write_bytes(written(table(4)))
    first, other = (plan(parquet(tmp_path / name), tmp_path / "lake") for name in ("one", "two"))
    assert first == other == plan(parquet(tmp_path / "one" / "a.parquet"), tmp_path / "lake")
    renamed = plan(parquet(tmp_path / "one", fields=FieldMap(text=None)), tmp_path / "lake")
    assert renamed.partitions[0].version != first.partitions[0].version


def test_columns_of_any_type_become_meta_or_a_reject(tmp_path: Path) -> None:
    columns = {
        "id": pa.array(["a", "b", "b", None, "e", "f"]),
        "text": pa.array([b"words", b"\xff", b"b", b"d", b"e", b""]).view(pa.string()),
        "when": pa.array([datetime.datetime(2020, 1, 2), None, None, None, None, None], pa.timestamp("ns")),
        "far": pa.array([2**62] * 6).cast(pa.timestamp("us")),
        "blob": pa.array([b"abc"] * 6),
        "score": pa.array([float("nan"), 1.5, None, float("inf"), 0.0, 0.0]),
        "nested": pa.array([{"x": [1, 2]}] * 6),
        "kind": pa.array(["u", "v", "u", "v", "u", "v"]).dictionary_encode(),
        "price": pa.array([decimal.Decimal("1.00")] * 6),
    }
    (tmp_path / "a.parquet").write_bytes(written(pa.table(columns)))
    batch = read(parquet(tmp_path), tmp_path / "lake")
    assert [row.key for row in batch.rows] == ["a", "b", "e"]
    assert sorted(reject.reason for reject in batch.rejects) == ["key_missing", "row_empty", "row_invalid"]
    meta = json.loads(batch.rows[0].meta)
    assert meta.pop("blob") == {"bytes": 3, "sha256": "ba7816bf8f01cfea414140de5dae2223"}
    assert "unreadable" in meta.pop("far")
    assert meta == {"when": "2020-01-02T00:00:00", "score": None, "nested": {"x": [1, 2]}, "kind": "u", "price": "1.00"}


def test_bad_rows_are_rejects_with_reason(tmp_path: Path) -> None:
    rows = [
        {"id": "same", "image": {"bytes": IMAGE, "path": None}},
        {"id": "same", "image": {"bytes": IMAGE, "path": None}},
        {"id": "path", "image": {"bytes": None, "path": "x.jpg"}},
        {"id": "big", "image": {"bytes": bytes(3_000_000), "path": None}},
        {"id": "none", "image": None},
        {"id": "x" * 2_000, "image": {"bytes": IMAGE, "path": None}},
    ]
    (tmp_path / "a.parquet").write_bytes(written(pa.Table.from_pylist(rows)))
    batch = read(parquet(tmp_path), tmp_path / "lake", config=PrepareConfig(image=ImageConfig(max_bytes=2_000_000)))
    assert [row.key for row in batch.rows] == ["same"]
    found = reasons(batch)
    assert {key: found[key] for key in ("same", "path", "big", "none")} == {
        "same": "key_repeated",
        "path": "media_missing",
        "big": "media_too_large",
        "none": "row_empty",
    }
    assert found["x" * 1_024] == "key_invalid"


def test_a_key_may_be_the_path_beside_the_bytes_or_the_place_of_the_row(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(written(table(5).drop(["id"])))
    by_path = read(parquet(tmp_path, fields=FieldMap(key="image.path")), tmp_path / "lake")
    assert [row.key for row in by_path.rows] == ["1.jpg", "2.jpg", "4.jpg"]
    assert list(reasons(by_path).values()) == ["key_missing"] * 2
    by_row = read(parquet(tmp_path, fields=FieldMap(key="#row")), tmp_path / "lake")
    assert [row.key for row in by_row.rows] == [f"a.parquet#{i}" for i in range(5)]
    with pytest.raises(SourceError, match="no column id"):
        plan(parquet(tmp_path), tmp_path / "lake")


def test_paths_are_looked_up_and_a_changed_file_is_noticed(place: Place) -> None:
    for i in range(10):
        place.storage.write(f"{place.uri}/in/media/{i}.jpg", IMAGE + b"%d" % i)
    rows = [{"id": f"k{i}", "text": "t", "image": f"media/{i}.jpg"} for i in range(11)]
    place.storage.write(f"{place.uri}/in/a.parquet", written(pa.Table.from_pylist(rows)))
    source, lake = parquet(f"{place.uri}/in/a.parquet"), f"{place.uri}/lake"
    before = plan(source, lake, place.storage)
    batch = read(source, lake, place.storage)
    found = {row.key: image for row, image in zip(batch.rows, batch.raw_images, strict=True)}
    assert found == {f"k{i}": IMAGE + b"%d" % i for i in range(10)}
    assert reasons(batch) == {"k10": "media_missing"}
    place.storage.write(f"{place.uri}/in/media/3.jpg", IMAGE)
    after = plan(source, lake, place.storage)
    assert sum(a.version != b.version for a, b in zip(before.partitions, after.partitions, strict=True)) == 1


def test_alignment_may_be_inline_beside_bytes(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "audio": AUDIO, "seg": [{"start_s": 0, "end_s": 1, "text": "hi"}], "reg": None},
        {"id": "b", "audio": AUDIO, "seg": [{"start_s": 2, "end_s": 1, "text": "hi"}], "reg": None},
        {"id": "c", "audio": AUDIO, "seg": None, "reg": [{"box": [0, 0, 4, 5], "text": "cat"}]},
    ]
    (tmp_path / "a.parquet").write_bytes(written(pa.Table.from_pylist(rows)))
    fields = FieldMap(segments="seg", regions="reg")
    batch = read(parquet(tmp_path, fields=fields), tmp_path / "lake")
    assert [(row.key, row.alignment) for row in batch.rows] == [
        ("a", '{"segments":[{"end_s":1.0,"start_s":0.0,"text":"hi"}]}'),
        ("c", '{"regions":[{"box":[0.0,0.0,4.0,5.0],"text":"cat"}]}'),
    ]
    assert list(reasons(batch).values()) == ["row_invalid"]


def test_bytes_beside_paths_and_columns_of_other_types_are_refused(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"image": [IMAGE], "audio": ["a.wav"]}, "all bytes or all paths"),
        ({"image": [[1, 2]]}, "neither bytes nor a path"),
        ({"image": [{"path": "x"}]}, "neither bytes nor a path"),
    ]
    for columns, told in cases:
        (tmp_path / "a.parquet").write_bytes(written(pa.table({"id": ["a"], **columns})))
        with pytest.raises(SourceError, match=told):
            plan(parquet(tmp_path), tmp_path / "lake")
    (tmp_path / "a.parquet").write_bytes(written(pa.table({"id": ["a"], "image": [IMAGE]})))
    (tmp_path / "b.parquet").write_bytes(written(pa.table({"id": ["b"], "image": ["b.jpg"]})))
    with pytest.raises(SourceError, match="Make two sources"):
        plan(parquet(tmp_path), tmp_path / "lake")


WHOLE = written(table(8), row_group_size=4, write_page_checksum=True)
SMALL = written(pa.table({"id": ["a", "b"], "text": ["x", "y"]}))


def _footer(data: bytes) -> int:
    return int.from_bytes(data[-8:-4], "little") + 8


def bomb(rows: int) -> bytes:
    return written(pa.table({"id": pa.nulls(rows, pa.string()), "text": pa.nulls(rows, pa.string())}))


def zeros() -> bytes:
    value = pa.array([bytes(300_000_000)], pa.binary())
    return written(pa.table({"id": ["a"], "image": value}), compression="zstd", use_dictionary=False)


HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "magic alone": b"PAR1",
    "magic twice": b"PAR1PAR1",
    "text": b"id,text\na,b\n" * 50,
    "footer length zero": WHOLE[:-8] + bytes(4) + b"PAR1",
    "footer length huge": WHOLE[:-8] + b"\xff\xff\xff\x7f" + b"PAR1",
    "footer length negative": WHOLE[:-8] + b"\xff\xff\xff\xff" + b"PAR1",
    "footer length past the start": WHOLE[:-8] + (len(WHOLE) + 1).to_bytes(4, "little") + b"PAR1",
    "footer zeroed": WHOLE[:-500] + bytes(492) + WHOLE[-8:],
    "footer of another file": WHOLE[: -_footer(WHOLE)] + SMALL[-_footer(SMALL) :],
    "encrypted footer": WHOLE[:-4] + b"PARE",
    "cut by one byte": WHOLE[:-1],
    "cut to half": WHOLE[: len(WHOLE) // 2],
    "data gone": WHOLE[:4] + WHOLE[-_footer(WHOLE) :],
    "data zeroed": WHOLE[:4] + bytes(len(WHOLE) // 2) + WHOLE[4 + len(WHOLE) // 2 :],
    "a page flipped": flipped(WHOLE, 3_000),
    "first page header": patched(WHOLE, 4, b"\xff" * 12),
    "first page header zeroed": patched(WHOLE, 4, bytes(24)),
    "rows without bytes": bomb(2_000_000),
    "a chunk of zeros": zeros(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_parquet_file_is_one_error_that_names_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(HOSTILE[name])
    with pytest.raises(SourceError, match=r"bad\.parquet"):
        read(parquet(tmp_path), tmp_path / "lake")


@settings(max_examples=200)
@given(data=st.data())
def test_no_damage_to_a_parquet_file_ends_in_anything_but_rows_or_an_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    small = bytearray(
        written(table(3), write_page_checksum=True, compression=data.draw(st.sampled_from(["none", "zstd"])))
    )
    footer = _footer(bytes(small))
    for _ in range(data.draw(st.integers(1, 3))):
        reach = data.draw(st.sampled_from([footer, len(small)]))
        small[-data.draw(st.integers(1, reach))] = data.draw(st.integers(0, 255))
    (folder / "a.parquet").write_bytes(bytes(small))
    try:
        batch = read(parquet(folder), folder / "lake")
    except SourceError:
        return
    assert len(batch.rows) + len(batch.rejects) <= 3


def delta(path: Path | str, **options: Any) -> DeltaSource:
    return DeltaSource(kind="delta", name="d", path=str(path), **options)


def test_a_new_table_version_costs_only_its_new_files(place: Place) -> None:
    uri, lake = f"{place.uri}/table", f"{place.uri}/lake"
    options = place.storage.delta_options(uri)
    write_deltalake(uri, table(10), storage_options=options)
    write_deltalake(uri, table(10, 10), mode="append", storage_options=options)
    before = plan(delta(uri), lake, place.storage)
    assert [partition.rows for partition in before.partitions] == [10, 10]
    batch = read(delta(uri), lake, place.storage)
    assert {row.key: image for row, image in zip(batch.rows, batch.raw_images, strict=True)} == {
        f"k{i}": IMAGE + b"%d" % i if i % 3 else None for i in range(20)
    }
    write_deltalake(uri, table(5, 20), mode="append", storage_options=options)
    after = plan(delta(uri), lake, place.storage)
    assert set(before.partitions) < set(after.partitions)
    assert after.rows == 25
    assert plan(delta(uri, version=1), lake, place.storage) == before
    DeltaTable(uri, storage_options=options).delete("id = 'k3'")
    deleted = plan(delta(uri), lake, place.storage)
    assert deleted.rows == 24
    assert len(set(deleted.partitions) & set(after.partitions)) == 2
    with pytest.raises(SourceError, match="cannot be read"):
        plan(delta(uri, version=99), lake, place.storage)
    with pytest.raises(SourceError, match="cannot be read"):
        plan(delta(f"{place.uri}/none"), lake, place.storage)


def test_partition_columns_are_columns_of_the_rows(tmp_path: Path) -> None:
    rows = pa.table(
        {"id": ["a", "b", "c"], "text": ["x", "y", "z"], "lang uage": ["d e", "f%/é", None], "day": [1, 2, 3]}
    )
    write_deltalake(str(tmp_path / "t"), rows, partition_by=["lang uage", "day"])
    batch = read(delta(tmp_path / "t", fields=FieldMap(group="lang uage")), tmp_path / "lake")
    assert sorted((row.key, row.group, row.meta) for row in batch.rows) == [
        ("a", "d e", '{"day":1}'),
        ("b", "f%/é", '{"day":2}'),
        ("c", "c", '{"day":3}'),
    ]


def test_a_delta_table_of_paths_is_looked_up(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(IMAGE)
    rows = pa.table({"id": ["a", "b"], "image": ["a.jpg", "b.jpg"]})
    write_deltalake(str(tmp_path / "t"), rows)
    batch = read(delta(tmp_path / "t", media_root=str(tmp_path)), tmp_path / "lake")
    assert batch.raw_images == (IMAGE,)
    assert reasons(batch) == {"b": "media_missing"}


def rewritten(folder: Path, change: dict[str, Any]) -> None:
    """Change actions of the first log entry."""
    log = folder / "_delta_log" / f"{0:020d}.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        for name, fields in change.items():
            if name in action:
                action[name].update(fields)
    log.write_text("\n".join(map(json.dumps, actions)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"],
                          "writerFeatures": ["deletionVectors"]}},
            "deletionVectors",
        ),
        (
            {"protocol": {"minReaderVersion": 2, "minWriterVersion": 5},
             "metaData": {"configuration": {"delta.columnMapping.mode": "name"}}},
            "columnMapping|cannot be read",
        ),
        ({"add": {"path": "../other/a.parquet"}}, "not below"),
        ({"add": {"path": "/etc/a.parquet"}}, "not below|cannot be read"),
        ({"add": {"path": "s3://elsewhere/a.parquet"}}, "not below|cannot be read"),
        ({"add": {"path": "gone.parquet"}}, "changed|no such file"),
        ({"add": {"size": 5}}, "changed"),
        ({"add": {"stats": '{"numRecords": 7}'}}, "rows"),
    ],
)  # fmt: skip
def test_what_is_unsupported_or_missing_is_a_clear_error(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "t"), table(3))
    rewritten(tmp_path / "t", change)
    with pytest.raises(SourceError, match=told):
        read(delta(tmp_path / "t"), tmp_path / "lake")


def test_a_data_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "t"), table(3))
    (file,) = (tmp_path / "t").glob("*.parquet")
    file.write_bytes(patched(file.read_bytes(), 4, b"\xff" * 40))
    with pytest.raises(SourceError, match=file.name):
        read(delta(tmp_path / "t"), tmp_path / "lake")
