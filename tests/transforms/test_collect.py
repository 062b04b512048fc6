"""Collecting: a plan depends only on rows and media, reading gives every row once, nothing leaves the root."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.transforms.samples import picture, saved, sound, tone
from trichord.infra import digest
from trichord.infra.config import FieldMap, FolderSource, ManifestSource, PrepareConfig, Source, StorageConfig
from trichord.infra.errors import SourceError, StorageError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms.batch import Batch, join
from trichord.transforms.collect import Plan, plan_source, read_partition
from trichord.transforms.collect.read import ROWS_PER_BATCH

STORAGE = Storage(StorageConfig())
IMAGE, AUDIO = saved(picture(), "JPEG"), sound(tone(0.2))


def corpus(folder: Path, size: int = 40) -> list[dict[str, Any]]:
    """A manifest of rows with pictures, some with sound, and their files."""
    rows: list[dict[str, Any]] = []
    for i in range(size):
        row: dict[str, Any] = {"id": f"k{i}", "text": f"text {i}", "image": f"images/{i}.jpg", "extra": {"n": i}}
        (folder / "images").mkdir(parents=True, exist_ok=True)
        (folder / "images" / f"{i}.jpg").write_bytes(IMAGE + b"%d" % i)
        if i % 4 == 0:
            row |= {"audio": f"{i}.wav", "captions": ["one", "two"], "group": i // 8, "split": "test"}
            (folder / f"{i}.wav").write_bytes(AUDIO)
        rows.append(row)
    write(folder, rows)
    return rows


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def manifest(folder: Path, **options: Any) -> ManifestSource:
    return ManifestSource(kind="manifest", name="m", path=str(folder / "m.jsonl"), **options)


def plan(source: Source, lake: Path, rows_per_partition: int = 8) -> Plan:
    return plan_source(source, Lake(STORAGE, str(lake)), rows_per_partition=rows_per_partition, cache=None)


def read(source: Source, lake: Path, **options: Any) -> Batch:
    """All rows of a source, as read."""
    partitions = plan(source, lake).partitions
    return join(
        batch
        for partition in partitions
        for batch in read_partition(source, Lake(STORAGE, str(lake)), partition, **options)
    )


def reasons(batch: Batch) -> dict[str, str]:
    return {reject.key: reject.reason for reject in batch.rejects}


def test_every_row_is_read_once_with_its_media_and_meaning(tmp_path: Path) -> None:
    corpus(tmp_path / "in")
    batch = read(manifest(tmp_path / "in"), tmp_path / "lake")
    assert sorted(row.key for row in batch.rows) == sorted(f"k{i}" for i in range(40))
    assert not batch.rejects
    by_key = {
        row.key: (row, image, audio)
        for row, image, audio in zip(batch.rows, batch.raw_images, batch.raw_audios, strict=True)
    }
    row, image, audio = by_key["k8"]
    assert (row.text, row.captions, row.group, row.subset) == ("text 8", ("one", "two"), "1", "test")
    assert row.meta == '{"extra":{"n":8}}'
    assert json.loads(row.payload) == {"audio": "8.wav", "image": "images/8.jpg", "text": "text 8"}
    assert (image, audio) == (IMAGE + b"8", AUDIO)
    row, image, audio = by_key["k9"]
    assert (row.group, row.subset, row.captions, audio) == ("k9", "", (), None)
    assert row.source == "m"
    assert row.partition.startswith("m/")


def test_a_plan_depends_on_neither_order_nor_place(tmp_path: Path) -> None:
    rows = corpus(tmp_path / "in")
    first = plan(manifest(tmp_path / "in"), tmp_path / "lake")
    assert first.rows == sum(partition.rows for partition in first.partitions) == 40
    assert max(partition.rows for partition in first.partitions) <= 8
    file = tmp_path / "lake" / first.partitions[0].locator
    written = (file.read_bytes(), file.stat().st_mtime_ns)
    shutil.move(tmp_path / "in", tmp_path / "moved")
    for seed in range(5):
        order = digest.generator("shuffle", seed).permutation(len(rows))
        write(tmp_path / "moved", [dict(reversed(rows[i].items())) for i in order])
        assert plan(manifest(tmp_path / "moved"), tmp_path / "lake") == first
    assert (file.read_bytes(), file.stat().st_mtime_ns) == written, "an unchanged plan is not written again"
    assert plan(manifest(tmp_path / "moved"), tmp_path / "other") == first
    assert (tmp_path / "other" / first.partitions[0].locator).read_bytes() == written[0]
    assert os.listdir(tmp_path / "lake" / "_plans") == [file.name]


@pytest.mark.parametrize("change", ["picture", "text", "add", "delete", "missing"])
def test_a_change_touches_the_partitions_of_its_rows_only(change: str, tmp_path: Path) -> None:
    rows = corpus(tmp_path)
    before = {partition.id: partition.version for partition in plan(manifest(tmp_path), tmp_path / "lake").partitions}
    if change == "picture":
        (tmp_path / "images" / "7.jpg").write_bytes(IMAGE + b"x")
    elif change == "missing":
        (tmp_path / "images" / "7.jpg").unlink()
    elif change == "text":
        rows[7]["text"] = "other words"
    elif change == "add":
        rows.insert(3, {"id": "new", "text": "new"})
    else:
        del rows[7]
    write(tmp_path, rows)
    after = {partition.id: partition.version for partition in plan(manifest(tmp_path), tmp_path / "lake").partitions}
    changed = {partition for partition in before | after if before.get(partition) != after.get(partition)}
    bits = f"{digest.hash64('new' if change == 'add' else 'k7'):064b}"
    if change in ("add", "delete"):  # which may divide a leaf or unite two
        assert 1 <= len(changed) <= 3
        parent = min((partition.removeprefix("m/") for partition in changed), key=len)[:-1]
        assert all(partition.removeprefix("m/").startswith(parent) for partition in changed)
        assert bits.startswith(parent)
    else:
        (partition,) = changed
        assert bits.startswith(partition.removeprefix("m/"))


def test_only_the_first_good_row_of_a_key_is_kept(tmp_path: Path) -> None:
    corpus(tmp_path, 2)
    rows = [
        {"id": "k", "text": "b"},
        {"id": "k", "text": "a"},
        {"id": "k", "text": "a"},
        {"id": "k", "image": "none.jpg"},
        {"id": "j", "text": "c"},
    ]
    kept = set()
    for seed in range(6):
        write(tmp_path, [rows[i] for i in digest.generator("repeat", seed).permutation(5)])
        batch = read(manifest(tmp_path), tmp_path / "lake")
        kept.add(tuple(sorted((row.key, row.text) for row in batch.rows)))
        assert sorted(reject.reason for reject in batch.rejects) == ["key_repeated"] * 2 + ["media_missing"]
    assert len(kept) == 1


def test_csv_tsv_and_jsonl_rows_of_one_content_are_one_plan(tmp_path: Path) -> None:
    corpus(tmp_path, 2)
    write(
        tmp_path,
        [{"id": "1", "text": 'say "hi",\nnow', "captions": ["x", "y"], "n": "5"}, {"id": "2", "image": "images/1.jpg"}],
    )
    (tmp_path / "m.csv").write_bytes(
        b'\xef\xbb\xbfid,text,captions,image,n\r\n1,"say ""hi"",\nnow","[""x"", ""y""]",,5\r\n\r\n2,,,images/1.jpg,\r\n'
    )
    (tmp_path / "m.tsv").write_bytes(
        b'id\ttext\tcaptions\timage\tn\n1\t"say ""hi"",\nnow"\t["x", "y"]\t\t5\n2\t\t\timages/1.jpg\t\n'
    )
    for name in ("m.csv", "m.tsv"):
        table = ManifestSource(kind="manifest", name="m", path=str(tmp_path / name))
        assert plan(table, tmp_path / "lake") == plan(manifest(tmp_path), tmp_path / "lake")


def test_bad_csv_rows_are_rejects_and_the_rows_behind_them_go_on(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(b'id,text\na,one\nb\nc,two,three\nd,"x"y\ne,caf\xff\n,none\nf,last\ng,"open\n')
    batch = read(ManifestSource(kind="manifest", name="m", path=str(path)), tmp_path / "lake")
    assert [row.key for row in sorted(batch.rows, key=lambda row: row.key)] == ["a", "f"]
    assert sorted(reasons(batch).values()) == ["key_missing"] + ["row_invalid"] * 5
    path.write_bytes(b"id,text,id\n")
    with pytest.raises(SourceError, match="repeats a name"):
        plan(ManifestSource(kind="manifest", name="m", path=str(path)), tmp_path / "lake")


def test_fields_are_mapped_also_through_nested_objects(tmp_path: Path) -> None:
    corpus(tmp_path, 1)
    write(
        tmp_path,
        [{"meta": {"key": 7, "say": {"en": "hello"}}, "pic": "file://" + str(tmp_path / "images/0.jpg"), "x.y": "g"}],
    )
    fields = FieldMap(key="meta.key", text="meta.say.en", image="pic", group="x.y")
    batch = read(manifest(tmp_path, fields=fields), tmp_path / "lake")
    (row,) = batch.rows
    assert (row.key, row.text, row.group) == ("7", "hello", "g")
    assert json.loads(row.meta) == {"meta": {"key": 7, "say": {"en": "hello"}}}
    assert json.loads(row.payload)["image"] == "images/0.jpg"
    assert batch.raw_images == (IMAGE + b"0",)


def test_links_may_point_inside_the_root_but_not_out(tmp_path: Path) -> None:
    root, outside = tmp_path / "in", tmp_path / "out"
    corpus(root, 2)
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(IMAGE)
    (root / "inside.jpg").symlink_to(root / "images" / "1.jpg")
    (root / "leak.jpg").symlink_to(outside / "secret.jpg")
    (root / "door").symlink_to(outside)
    names = ["inside.jpg", "leak.jpg", "door/secret.jpg", "images/../images/0.jpg"]
    write(root, [{"id": name, "image": name} for name in names])
    batch = read(manifest(root), tmp_path / "lake")
    assert {row.key for row in batch.rows} == {names[0], names[3]}
    assert reasons(batch) == dict.fromkeys(names[1:3], "media_outside_root")
    folder = FolderSource(kind="folder", name="f", path=str(root))
    assert reasons(read(folder, tmp_path / "lake")) == {"leak": "media_outside_root"}
    (tmp_path / "alias").symlink_to(root)
    assert len(read(manifest(tmp_path / "alias"), tmp_path / "lake").rows) == 2


def test_a_folder_is_joined_by_stem_in_any_order(tmp_path: Path) -> None:
    files = {
        "a.txt": b"alpha",
        "a.jpg": IMAGE,
        "a.wav": AUDIO,
        "a.b.jpg": IMAGE,
        "a.b.txt": b"\xef\xbb\xbfbeta",
        "a-b.txt": b"dash",
        "sub/a.TXT": b"deep",
        "sub/a.PNG": IMAGE,
        "a.jpg.txt": b"odd",
        "c.mp3": AUDIO,
        "a.d/x.txt": b"dot",
        "ü.txt": "ü".encode(),
        "bad.txt": b"caf\xe9",
        "two.jpg": IMAGE,
        "two.jpeg": IMAGE + b"2",
        "two.txt": b"two",
        "notes.md": b"",
        "Makefile": b"",
        ".hidden.txt": b"no",
        ".git/x.txt": b"no",
    }
    expected = {
        "a": ("alpha", True, True),
        "a.b": ("beta", True, False),
        "a-b": ("dash", False, False),
        "sub/a": ("deep", True, False),
        "a.jpg": ("odd", False, False),
        "c": (None, False, True),
        "a.d/x": ("dot", False, False),
        "ü": ("ü", False, False),
        "two": ("two", True, False),
    }
    found = set()
    for seed in range(3):
        folder = tmp_path / f"in-{seed}"
        for i in digest.generator("folder", seed).permutation(len(files)):
            name = list(files)[i]
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(files[name])
        source = FolderSource(kind="folder", name="f", path=str(folder))
        planned = plan(source, tmp_path / "lake", rows_per_partition=3)
        assert planned.endings == {".md": 1, "none": 1}
        found.add(planned.partitions)
        batch = read(source, tmp_path / "lake")
        media = zip(batch.rows, batch.raw_images, batch.raw_audios, strict=True)
        assert {row.key: (row.text, image is not None, audio is not None) for row, image, audio in media} == expected
        assert batch.raw_images[[row.key for row in batch.rows].index("two")] == IMAGE + b"2"
        assert reasons(batch) == {"bad": "row_invalid", "two": "key_repeated"}
    assert len(found) == 1


def test_a_file_name_that_is_not_utf8_is_a_reject(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with open(os.fsencode(tmp_path / "in") + b"/caf\xe9.txt", "wb") as file:
        file.write(b"words")
    (tmp_path / "in" / "good.txt").write_text("words")
    batch = read(FolderSource(kind="folder", name="f", path=str(tmp_path / "in")), tmp_path / "lake")
    assert [row.key for row in batch.rows] == ["good"]
    assert reasons(batch) == {"caf\\udce9": "key_invalid"}


@pytest.mark.parametrize("version_by", ["sha256", "mtime_size"])
@pytest.mark.parametrize("change", ["grown", "shrunk", "gone"])
def test_media_that_change_between_plan_and_reading_stop_the_run(change: str, version_by: str, tmp_path: Path) -> None:
    corpus(tmp_path, 1)
    source = manifest(tmp_path, version_by=version_by)
    (partition,) = plan(source, tmp_path / "lake").partitions
    path = tmp_path / "images" / "0.jpg"
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(IMAGE + b"grown by some bytes" if change == "grown" else IMAGE[:-1])
    with pytest.raises(SourceError, match="changed while it was being read"):
        list(read_partition(source, Lake(STORAGE, str(tmp_path / "lake")), partition))


def test_media_over_the_limit_are_rejects_and_not_read(tmp_path: Path) -> None:
    corpus(tmp_path, 3)
    config = PrepareConfig.model_validate({"image": {"max_bytes": 100}})
    batch = read(manifest(tmp_path), tmp_path / "lake", config=config)
    assert reasons(batch) == dict.fromkeys(("k0", "k1", "k2"), "media_too_large")
    with open(tmp_path / "huge.wav", "wb") as file:
        file.truncate(1 << 40)  # a sparse file: reading it would take for ever
    write(tmp_path, [{"id": "h", "audio": "huge.wav"}])
    assert reasons(read(manifest(tmp_path, version_by="mtime_size"), tmp_path / "lake")) == {"h": "media_too_large"}


def test_batches_are_small_in_rows_and_bytes(tmp_path: Path) -> None:
    for i in range(5):
        (tmp_path / f"{i}.jpg").write_bytes(bytes(30_000_000))
    write(
        tmp_path,
        [{"id": f"k{i}", "image": f"{i % 5}.jpg"} if i < 10 else {"id": f"k{i}", "text": "x"} for i in range(60)],
    )
    source = manifest(tmp_path, version_by="mtime_size")
    sizes = []
    for partition in plan(source, tmp_path / "lake", rows_per_partition=100).partitions:
        for batch in read_partition(source, Lake(STORAGE, str(tmp_path / "lake")), partition):
            assert len(batch) <= ROWS_PER_BATCH
            sizes.append(sum(len(raw) for raw in batch.raw_images if raw))
    assert max(sizes) == 60_000_000
    assert sum(sizes) == 300_000_000


def test_a_batch_holds_many_rows_but_few_sounds(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(AUDIO)
    write(tmp_path, [{"id": f"k{i:03}", "text": "x"} | ({"audio": "a.wav"} if i >= 70 else {}) for i in range(100)])
    batches = list(read_partition(manifest(tmp_path), Lake(STORAGE, str(tmp_path / "lake")), *plan(
        manifest(tmp_path), tmp_path / "lake", rows_per_partition=100).partitions))  # fmt: skip
    sounds = [sum(raw is not None for raw in batch.raw_audios) for batch in batches]
    assert [len(batch) for batch in batches[:2]] == [ROWS_PER_BATCH] * 2
    assert max(sounds) == 8
    assert sum(sounds) == 30


def test_a_source_that_cannot_be_read_at_all_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such manifest"):
        plan(manifest(tmp_path), tmp_path / "lake")
    (tmp_path / "m.xlsx").write_bytes(b"")
    with pytest.raises(SourceError, match="xlsx files are not read"):
        plan(ManifestSource(kind="manifest", name="m", path=str(tmp_path / "m.xlsx")), tmp_path / "lake")
    with pytest.raises(SourceError, match="no file"):
        plan(FolderSource(kind="folder", name="f", path=str(tmp_path / "none")), tmp_path / "lake")
    (tmp_path / "m.jsonl").write_bytes(b"\n\n")
    assert plan(manifest(tmp_path), tmp_path / "lake").partitions == ()


def test_a_damaged_plan_is_noticed(tmp_path: Path) -> None:
    corpus(tmp_path, 3)
    (partition,) = plan(manifest(tmp_path), tmp_path / "lake").partitions
    path = tmp_path / "lake" / partition.locator
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    with pytest.raises(StorageError, match="trichord recover"):
        list(read_partition(manifest(tmp_path), Lake(STORAGE, str(tmp_path / "lake")), partition))


def test_a_bucket_is_collected_as_a_folder_is(s3_config: StorageConfig, tmp_path: Path) -> None:
    bucket, place, lake = Storage(s3_config), f"s3://lake{tmp_path}", f"s3://lake{tmp_path}/lake"
    local = tmp_path / "in"
    corpus(local, 12)
    for path in sorted(local.rglob("*")):
        if path.is_file():
            bucket.write(f"{place}/data/{path.relative_to(local)}", path.read_bytes())
    bucket.write(f"{place}/outside.jpg", IMAGE)
    rows = [json.loads(line) for line in (local / "m.jsonl").read_text().splitlines()]
    rows += [
        {"id": "uri", "image": f"{place}/data/images/3.jpg"},
        {"id": "out", "image": f"{place}/outside.jpg"},
        {"id": "up", "image": "../outside.jpg"},
        {"id": "root", "image": "/outside.jpg"},
        {"id": "none", "image": "images/none.jpg"},
    ]
    bucket.write(f"{place}/data/m.jsonl", "\n".join(map(json.dumps, rows)).encode())
    source = ManifestSource(kind="manifest", name="m", path=f"{place}/data/m.jsonl")
    planned = plan_source(source, Lake(bucket, lake), rows_per_partition=8, cache=None)
    assert planned == plan_source(source, Lake(bucket, lake), rows_per_partition=8, cache=None)
    batch = join(
        part for partition in planned.partitions for part in read_partition(source, Lake(bucket, lake), partition)
    )
    whole = read(manifest(local), tmp_path / "lake")
    assert {row.key for row in batch.rows} == {row.key for row in whole.rows} | {"uri"}
    assert {row.key: image for row, image in zip(batch.rows, batch.raw_images, strict=True)}["k5"] == IMAGE + b"5"
    assert reasons(batch) == dict.fromkeys(("out", "up", "root"), "media_outside_root") | {"none": "media_missing"}
    folder = FolderSource(kind="folder", name="f", path=f"{place}/data")
    planned = plan_source(folder, Lake(bucket, lake), rows_per_partition=8, cache=None)
    batch = join(
        part for partition in planned.partitions for part in read_partition(folder, Lake(bucket, lake), partition)
    )
    assert {row.key for row in batch.rows} == {f"images/{i}" for i in range(12)} | {"0", "4", "8"}
    assert planned.ignored == 1
    bucket.write(f"{place}/data/images/3.jpg", IMAGE)
    with pytest.raises(SourceError, match="changed"):
        join(part for partition in planned.partitions for part in read_partition(folder, Lake(bucket, lake), partition))
