"""Inventory sources: what an S3 Inventory lists is planned and read as what a listing of the bucket finds."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.transforms.inventories import ALL, CURRENT, listed, write_inventory
from tests.transforms.samples import picture, saved
from trichord.infra.config import FolderSource, InventorySource, StorageConfig
from trichord.infra.errors import SourceError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Changed, Stat, Storage
from trichord.transforms.batch import join
from trichord.transforms.collect import Plan, Scope, inventory_rows, plan_source, read_partition, replan_source

NAMES = ("train/a b.txt", "train/a b.jpg", "train/a+b.txt", "train/50%.txt", "test/ü/x.txt", "test/x.wav", "loose.txt")
OTHERS = ("train/.hidden.txt", "train/notes.doc", "train.txt", "train/")


@pytest.fixture
def bucket(s3_config: StorageConfig) -> Storage:
    return Storage(s3_config)


@pytest.fixture
def place(tmp_path: Path) -> str:
    return f"s3://lake{tmp_path}"


def fill(bucket: Storage, place: str, names: tuple[str, ...] = (*NAMES, *OTHERS)) -> list[Stat]:
    for name in names:
        data = saved(picture(), "JPEG") if name.endswith(".jpg") else f"text of {name}".encode()
        bucket.write(f"{place}/objects/{name}", data)
    bucket.write(f"{place}/elsewhere/other.txt", b"not below the root")
    return [*bucket.list(f"{place}/objects"), *bucket.list(f"{place}/elsewhere")]


def source_of(place: str, **more: Any) -> InventorySource:
    given = {"path": f"{place}/runs", "media_root": f"{place}/objects", **more}
    return InventorySource(kind="inventory", name="s", **given)


def plan(source: InventorySource | FolderSource, bucket: Storage, tmp_path: Path) -> Plan:
    return plan_source(source, Lake(bucket, str(tmp_path / "lake")), rows_per_partition=2, cache=None, checked=True)


@pytest.mark.parametrize("by", ["auto", "mtime_size", "sha256"])
@pytest.mark.parametrize("kind", ["CSV", "Parquet", "ORC"])
def test_an_inventory_gives_the_plan_of_the_folder(
    bucket: Storage, place: str, tmp_path: Path, kind: str, by: Any
) -> None:
    stats = fill(bucket, place)
    rows = [listed(stat) for stat in stats]
    rows += [listed(replace(stats[0], uri=f"{place}/objects/gone.txt"), IsDeleteMarker=True, Size=None, ETag=None)]
    rows += [listed(replace(stats[1], etag='"old"'), IsLatest=False)]
    write_inventory(bucket, f"{place}/runs", [rows[:4], [], rows[4:][::-1]], kind=kind, columns=ALL)
    source = source_of(place, version_by=by)
    folder = FolderSource(kind="folder", name="s", path=f"{place}/objects", version_by=by)

    found = plan(source, bucket, tmp_path)
    looked = plan(folder, bucket, tmp_path)

    assert found.listed_s is not None
    assert replace(found, listed_s=None) == looked
    assert found.marks == {"test": 2, "train": 3}
    assert found.ignored == 2  # notes.doc and the marker of the folder
    lake = Lake(bucket, str(tmp_path / "lake"))
    read = [
        join(part for one in found.partitions for part in read_partition(one_of, lake, one))
        for one_of in (source, folder)
    ]
    assert read[0].rows == read[1].rows
    assert [row.text for row in read[0].rows if row.key == "train/a+b"] == ["text of train/a+b.txt"]


def test_the_newest_whole_run_is_read(bucket: Storage, place: str, tmp_path: Path) -> None:
    rows = [listed(stat) for stat in fill(bucket, place)]
    moved = {"destinationBucket": "arn:aws:s3:::elsewhere"}  # the files are where the manifest is
    old = write_inventory(bucket, f"{place}/runs", [rows[:1]], run="2026-11-28T01-00Z", change=moved)
    write_inventory(bucket, f"{place}/runs", [rows], run="2026-11-29T01-00Z")
    bucket.write(f"{place}/runs/2026-11-30T01-00Z/manifest.json", b"{}")  # its checksum is still to come

    assert plan(source_of(place), bucket, tmp_path).rows == 7
    assert plan(source_of(place, path=old), bucket, tmp_path).rows == 1


def test_an_object_listed_twice_counts_once_as_the_newer(bucket: Storage, place: str, tmp_path: Path) -> None:
    stat = fill(bucket, place, ("a.txt",))[0]
    rows = [listed(stat), listed(replace(stat, mtime_ns=stat.mtime_ns - 10**10, etag='"old"', size=1))]
    for number, order in enumerate((rows, rows[::-1])):
        write_inventory(bucket, f"{place}/runs{number}", [[one] for one in order])
    plans = [plan(source_of(place, path=f"{place}/runs{number}"), bucket, tmp_path) for number in range(2)]

    assert plans[0].rows == 1
    assert plans[0].partitions == plans[1].partitions
    assert list(read_partition(source_of(place), Lake(bucket, str(tmp_path / "lake")), plans[0].partitions[0]))


def test_what_cannot_be_read_is_a_reject(bucket: Storage, place: str, tmp_path: Path) -> None:
    stat = fill(bucket, place, ("a.txt",))[0]
    keys = ["x//y.txt", "x/../y.txt", "tab\t.txt", "\udcff.txt", ".hidden//a.txt", "x//y.doc"]
    rows = [listed(replace(stat, uri=f"{place}/objects/{key}")) for key in keys]
    rows += [listed(replace(stat, uri=f"{place}/objects/b.txt"), Size=None)]
    rows += [listed(replace(stat, uri=f"{place}/objects/c.txt"), ETag=None), listed(stat)]
    write_inventory(bucket, f"{place}/runs", [rows])
    source, lake = source_of(place), Lake(bucket, str(tmp_path / "lake"))

    found = plan(source, bucket, tmp_path)
    batch = join(part for one in found.partitions for part in read_partition(source, lake, one))

    assert [row.key for row in batch.rows] == ["a"]
    assert sorted(reject.reason for reject in batch.rejects) == ["key_invalid"] * 4 + ["row_invalid"] * 2


def test_an_object_changed_since_the_inventory_is_named(bucket: Storage, place: str, tmp_path: Path) -> None:
    rows = [listed(stat) for stat in fill(bucket, place, ("a.txt", "b.txt"))]
    write_inventory(bucket, f"{place}/runs", [rows])
    source, lake = source_of(place), Lake(bucket, str(tmp_path / "lake"))
    [partition] = plan(source, bucket, tmp_path).partitions
    bucket.write(f"{place}/objects/a.txt", b"another text!")

    with pytest.raises(Changed, match=r"objects/a.txt has changed, or is gone, since the inventory of source 's'"):
        list(read_partition(source, lake, partition))
    bucket.delete(f"{place}/objects/a.txt")
    with pytest.raises(Changed, match="since the inventory"):
        list(read_partition(source, lake, partition))


def test_a_scope_needs_the_whole_inventory(bucket: Storage, place: str, tmp_path: Path) -> None:
    write_inventory(bucket, f"{place}/runs", [[listed(stat) for stat in fill(bucket, place)]])
    found, lake = plan(source_of(place), bucket, tmp_path), Lake(bucket, str(tmp_path / "lake"))

    scope = Scope(source="s", prefix="train/")
    assert replan_source(source_of(place), lake, scope, found, rows_per_partition=2) is None


@pytest.mark.parametrize("kind", ["CSV", "Parquet", "ORC"])
@pytest.mark.parametrize(
    ("columns", "by", "says"),
    [
        (("Bucket", "Key", "Size", "E_Tags"), "auto", "has no column ETag; did you mean E_Tags?"),
        (("Bucket", "Key", "Size", "ETag"), "mtime_size", "has no column LastModifiedDate"),
        (("Key", "ETag"), "sha256", "has no column Size"),
        (("Key", "Size", "ETag", "VersionId"), "etag", "has no column IsLatest"),
    ],
)
def test_a_missing_column_is_named(
    bucket: Storage, place: str, tmp_path: Path, kind: str, columns: tuple[str, ...], by: Any, says: str
) -> None:
    rows = [listed(stat) for stat in fill(bucket, place, ("a.txt",))]
    write_inventory(bucket, f"{place}/runs", [rows], kind=kind, columns=columns)

    with pytest.raises(SourceError) as caught:
        plan(source_of(place, version_by=by), bucket, tmp_path)
    assert says in str(caught.value)
    assert "The columns there are: " in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sourceBucket": "other"}, "lists the bucket 'other', but `media_root` of source 's' is in 'lake'"),
        ({"fileFormat": "JSON"}, "known are CSV, Parquet and ORC"),
        ({"creationTimestamp": "soon"}, "creationTimestamp"),
        ({"files": [{"key": "a.csv.gz", "size": 1 << 40, "MD5checksum": "0" * 32}]}, "size of a file"),
        ({"files": [{"key": "a.csv.gz", "size": 1, "MD5checksum": "0"}]}, "MD5checksum"),
        ({"files": [{"key": "gone.csv.gz", "size": 1, "MD5checksum": "0" * 32}]}, "there is no such file"),
        ({"files": []}, "lists no object below"),
        ({"files": "a"}, "files is not a list"),
        ({"fileSchema": None}, "it has no fileSchema"),
        ({"fileSchema": "Bucket, Key, Size, ETag"}, "a row of 5 cells under 4 columns"),
    ],
)
def test_a_wrong_manifest_is_refused(
    bucket: Storage, place: str, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    rows = [listed(stat) for stat in fill(bucket, place, ("a.txt",))]
    write_inventory(bucket, f"{place}/runs", [rows], change=change)

    with pytest.raises(SourceError) as caught:
        plan(source_of(place), bucket, tmp_path)
    assert says in str(caught.value)


def test_damage_is_refused(bucket: Storage, place: str, tmp_path: Path) -> None:
    rows = [listed(stat) for stat in fill(bucket, place, ("a.txt",))]
    manifest = write_inventory(bucket, f"{place}/runs", [rows])
    data, [stat] = bucket.read(manifest), list(bucket.list(f"{place}/runs/data"))
    content = bucket.read(stat.uri)

    for wrong in (content + b"x", content[:-1], bytes([content[0] ^ 1]) + content[1:]):
        bucket.write(stat.uri, wrong)
        with pytest.raises(SourceError, match="its size or MD5 differs"):
            plan(source_of(place), bucket, tmp_path)
    bucket.write(manifest, data + b" ")
    with pytest.raises(SourceError, match=r"does not match its manifest.checksum"):
        plan(source_of(place), bucket, tmp_path)
    with pytest.raises(SourceError, match="there is no such manifest"):
        plan(source_of(place, path=f"{place}/no/manifest.json"), bucket, tmp_path)
    with pytest.raises(SourceError, match="there is no run of an inventory"):
        plan(source_of(place, path=f"{place}/no"), bucket, tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("bomb.csv.gz", gzip.compress(b'"lake","k","1","","e"\n' * 20_000), "that unpack to"),
        ("line.csv.gz", gzip.compress(b"x" * (1 << 20)), "a line of 65536 bytes or more"),
        ("short.csv.gz", gzip.compress(b'"lake","k"\n')[:-6], "cannot be read"),
        ("not.csv.gz", b'"lake","k","1","","e"\n', "cannot be read"),
        ("not.parquet", b"PAR1 but not really PAR1", "is damaged or not a Parquet file"),
        ("not.orc", b"ORC but not really", "cannot be read"),
        ("other.csv.gz", gzip.compress(b'"other","k.txt","1","","e"\n'), "lists the bucket 'other', not 'lake'"),
        ("size.csv.gz", gzip.compress(b'"lake","k.txt","one","","e"\n'), "cannot be read"),
        ("many.csv.gz", gzip.compress(b'"lake","k.txt","%s","","e"\n' % (b"9" * 30)), "an object of 99999"),
        (
            "year.csv.gz",
            gzip.compress(b'"lake","k.txt","1","9999-12-31T00:00:00Z","e"\n'),
            "of the year 9999",
        ),
        ("when.csv.gz", gzip.compress(b'"lake","k.txt","1","yesterday","e"\n'), "cannot be read"),
        ("quote.csv.gz", gzip.compress(b'"lake","k.txt"x,"one","","e"\n'), "cannot be read"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_a_hostile_file_is_refused_in_bounded_memory(
    bucket: Storage,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    data: bytes,
    says: str,
) -> None:
    monkeypatch.setattr(inventory_rows, "_MAX_SMALL_BYTES", 1_000)
    bucket.write(f"{place}/runs/data/{name}", data)
    key = f"{place}/runs/data/{name}".removeprefix("s3://lake/")
    one = {"key": key, "size": len(data), "MD5checksum": hashlib.md5(data).hexdigest()}
    kind = {"gz": "CSV", "parquet": "Parquet", "orc": "ORC"}[name.rpartition(".")[2]]
    write_inventory(bucket, f"{place}/runs", [], kind=kind, columns=CURRENT, change={"files": [one]})

    with pytest.raises(SourceError) as caught:
        plan(source_of(place), bucket, tmp_path)
    assert says in str(caught.value)
    assert json.dumps(name)[1:-1] in str(caught.value)
