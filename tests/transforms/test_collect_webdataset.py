"""WebDataset sources: any order of members gives the same rows, every pair is found, every orphan listed."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Place
from tests.transforms.samples import picture, saved, sound, tone
from trichord.infra import digest
from trichord.infra.config import ImageConfig, PrepareConfig, StorageConfig, WebDatasetSource
from trichord.infra.errors import SourceError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms.batch import Batch, join
from trichord.transforms.chain import prepare_chain
from trichord.transforms.collect import Plan, plan_source, read_partition
from trichord.transforms.op import run_chain

STORAGE = Storage(StorageConfig())
CONFIG = PrepareConfig()
IMAGES = {kind: saved(picture(seed=7), kind.upper()) for kind in ("jpeg", "png", "webp", "bmp")} | {
    "jpg": saved(picture(seed=8), "JPEG")
}
SOUNDS = {kind: sound(tone(1.0), kind) for kind in ("wav", "flac", "ogg", "mp3")}
Files = list[tuple[str, bytes]]


def tar(files: Files, *, mode: str = "w", format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of files, in this order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=format) as archive:  # type: ignore[call-overload]
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def source_of(path: Path | str, **options: Any) -> WebDatasetSource:
    return WebDatasetSource(kind="webdataset", name="w", path=str(path), **options)


def plan(source: WebDatasetSource, lake: Path | str, storage: Storage = STORAGE) -> Plan:
    return plan_source(source, Lake(storage, str(lake)), rows_per_partition=8, cache=None)


def read(source: WebDatasetSource, lake: Path | str, storage: Storage = STORAGE) -> Batch:
    """All rows as read; each partition has as many rows as planned."""
    parts = []
    for partition in plan(source, lake, storage).partitions:
        found = list(read_partition(source, Lake(storage, str(lake)), partition, config=CONFIG))
        assert sum(len(batch.rows) + len(batch.rejects) for batch in found) == partition.rows
        parts += found
    return join(parts)


def content(batch: Batch) -> list[tuple[Any, ...]]:
    """Everything in a batch, in order."""
    media = zip(batch.rows, batch.raw_images, batch.raw_audios, batch.attachments, strict=True)
    return [tuple(map(repr, row)) for row in media] + [(repr(reject),) for reject in batch.rejects]


def mixed(count: int) -> tuple[Files, dict[str, str]]:
    """Records with mixed endings and missing partners; what each key has."""
    files: Files = []
    has: dict[str, str] = {}
    for i in range(count):
        key = f"part-{i % 3}/{i:05d}" if i % 2 else f"{i:05d}"
        lacks = ("", "", "", "image", "text", "both")[i % 6]
        if lacks not in ("image", "both"):
            kind = list(IMAGES)[i % len(IMAGES)]
            files.append((f"{key}.{kind if i % 4 else kind.upper()}", IMAGES[kind]))
        if lacks not in ("text", "both"):
            words = f"a line of words, number {i}"
            files.append(
                (f"{key}.txt", words.encode()) if i % 5 else (f"{key}.json", json.dumps({"text": words}).encode())
            )
        if i % 7 == 0 or lacks == "both":
            kind = list(SOUNDS)[i % len(SOUNDS)]
            files.append((f"./{key}.{kind}", SOUNDS[kind]))
        has[key] = lacks
    return files, has


def test_shuffled_members_mixed_endings_and_missing_partners_give_every_pair_and_every_orphan(tmp_path: Path) -> None:
    files, has = mixed(300)
    files += [("alone.npy", b"x"), ("00000.seg.png", b"x"), (".DS_Store", b"x")]
    source = source_of(tmp_path / "in", require=("text", "image"))
    (tmp_path / "in").mkdir()
    found = []
    for seed in range(3):
        order = digest.generator("members", seed).permutation(len(files))
        (tmp_path / "in" / "train.tar").write_bytes(tar([files[i] for i in order]))
        planned = plan(source, tmp_path / f"lake-{seed}")
        assert (planned.rows, planned.ignored) == (301, 2)
        batch = read(source, tmp_path / f"lake-{seed}")
        found.append(content(batch))
    assert found[0] == found[1] == found[2]
    chain = prepare_chain(CONFIG, source)
    done = join(
        run_chain(part, chain)[0]
        for part in read_partition(source, Lake(STORAGE, str(tmp_path / "lake-2")), planned.partitions[0])
    )
    assert {row.key for row in done.rows} == {key for key, lacks in has.items() if not lacks}
    listed = {reject.key: reject for reject in done.rejects}
    assert listed.keys() == {key for key, lacks in has.items() if lacks} | {"alone"}
    for key, lacks in has.items():
        if lacks:
            assert listed[key].reason == "modality_missing"
            assert ("text" in listed[key].detail) == (lacks in ("text", "both"))
            assert ("image" in listed[key].detail) == (lacks in ("image", "both"))
            assert json.loads(listed[key].payload)["file"] == "train.tar"
    assert listed["alone"].reason == "row_empty"
    assert "alone.npy" in listed["alone"].detail


MEMBERS: Files = [
    ("a.jpg", IMAGES["jpg"]),
    ("a.txt", b"alpha"),
    ("a.png", IMAGES["png"]),
    ("b.wav", SOUNDS["wav"]),
    ("b.json", b'{"text": "beta", "n": 1}'),
    ("sub/a.txt", b"one"),
    ("sub/a.txt", b"two"),
    ("./sub/a.txt", b"two"),
    ("sub/a.srt", b"1\n00:00:00,000 --> 00:00:01,000\nhi\n"),
    ("c.json", b"{"),
    ("c.txt", b"gamma"),
    ("d.caption", b"delta"),
    ("d.cls", b"3"),
    ("d.pyd", b""),
    ("../e.txt", b"out"),
    ("/f.txt", b"out"),
    ("g.txt", b"\xff"),
    ("h.xyz", b""),
]


@settings(max_examples=40)
@given(order=st.permutations(range(len(MEMBERS))), form=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_rows_do_not_depend_on_the_order_of_members(
    order: list[int], form: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("order")
    (folder / "t.tar").write_bytes(tar([MEMBERS[i] for i in order], format=form))
    batch = read(source_of(folder / "t.tar"), folder / "lake")
    assert [(row.key, row.text) for row in batch.rows] == [
        ("a", "alpha"),
        ("b", "beta"),
        ("d", "delta"),
        ("sub/a", batch.rows[-1].text),
    ]
    assert batch.raw_images[0] == IMAGES["jpg"]
    assert batch.rows[-1].text == "two", "the smaller digest"
    assert batch.rows[1].meta == '{"n":1}'
    assert json.loads(batch.rows[2].meta) == {"cls": "3", "other_members": ["d.pyd"]}
    assert batch.rows[-1].alignment == '{"segments_format":"srt"}'
    assert batch.attachments[-1] == {"segments": b"1\n00:00:00,000 --> 00:00:01,000\nhi\n"}
    assert [(reject.key, reject.reason) for reject in batch.rejects] == [
        ("../e.txt", "member_invalid"),
        ("a", "key_repeated"),
        ("c", "row_invalid"),
        ("f.txt", "member_invalid"),
        ("g", "row_invalid"),
        ("h", "row_empty"),
        ("sub/a", "key_repeated"),
        ("sub/a", "key_repeated"),
    ]


def test_wordings_meta_and_alignment_come_from_the_members(tmp_path: Path) -> None:
    told = {
        "text": "one",
        "caption": "two",
        "captions": ["three", "one"],
        "group": 5,
        "split": "train",
        "meta": {"url": "u"},
        "width": 3,
        "segments": [{"start_s": 0, "end_s": 1.5, "text": "hi"}],
        "regions": [{"box": [0, 1, 2, 3], "text": "cat"}],
    }
    files = [("k.txt", b"zero\n"), ("k.json", json.dumps(told).encode()), ("k.mp3", SOUNDS["mp3"])]
    (tmp_path / "t.tar").write_bytes(tar(files))
    (row,) = read(source_of(tmp_path / "t.tar"), tmp_path / "lake").rows
    assert (row.text, row.captions, row.group, row.subset) == ("zero", ("one", "two", "three", "one"), "5", "train")
    assert json.loads(row.meta) == {"url": "u", "width": 3}
    assert json.loads(row.alignment) == {
        "segments": [{"start_s": 0.0, "end_s": 1.5, "text": "hi"}],
        "regions": [{"box": [0.0, 1.0, 2.0, 3.0], "text": "cat"}],
    }
    files[1] = ("k.json", json.dumps(told | {"segments": [{"start_s": 2, "end_s": 1, "text": ""}]}).encode())
    (tmp_path / "t.tar").write_bytes(tar(files))
    (reject,) = read(source_of(tmp_path / "t.tar"), tmp_path / "lake").rejects
    assert reject.reason == "row_invalid"
    assert "segments[0]" in reject.detail


def test_a_tar_a_folder_a_pattern_and_compressed_tars_are_read_alike(place: Place, tmp_path: Path) -> None:
    parts = [[(f"{i}.txt", b"text %d" % i), (f"{i}.jpg", IMAGES["jpg"])] for i in range(3)]
    for i, files in enumerate(parts):
        place.storage.write(f"{place.uri}/in/t-{i:02d}.tar", tar(files))
        place.storage.write(f"{place.uri}/gz/t-{i:02d}.tar.gz", tar(files, mode="w:gz"))
    lake = f"{place.uri}/lake"
    batches = {}
    for name, path in {"folder": "in", "pattern": "in/t-{00..02}.tar", "gz": "gz"}.items():
        batches[name] = read(source_of(f"{place.uri}/{path}"), lake, place.storage)
        assert [(row.key, row.text) for row in batches[name].rows] == [(str(i), f"text {i}") for i in range(3)]
        assert batches[name].raw_images == (IMAGES["jpg"],) * 3
    assert content(batches["folder"]) == content(batches["pattern"])
    one = read(source_of(f"{place.uri}/in/t-01.tar"), lake, place.storage)
    assert [(row.key, row.partition) for row in one.rows] == [("1", "w/t-01.tar")]
    source = source_of(f"{place.uri}/in")
    before = plan(source, lake, place.storage)
    place.storage.write(f"{place.uri}/in/t-01.tar", tar([*parts[1], ("9.txt", b"nine")]))
    after = plan(source, lake, place.storage)
    assert [a == b for a, b in zip(before.partitions, after.partitions, strict=True)] == [True, False, True]
    with pytest.raises(SourceError, match="changed"):
        list(read_partition(source, Lake(place.storage, lake), before.partitions[1]))
    with pytest.raises(SourceError, match="t-03"):
        plan(source_of(f"{place.uri}/in/t-{{00..03}}.tar"), lake, place.storage)


def test_an_archive_seen_before_is_not_indexed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.tar").write_bytes(tar(MEMBERS))
    source = source_of(tmp_path / "t.tar")
    first = plan(source, tmp_path / "lake")
    monkeypatch.setattr("trichord.transforms.collect.tar_index._read_index", None)
    assert plan(source, tmp_path / "lake") == first


def test_a_member_over_its_limit_is_a_reject_and_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(tar([("a.jpg", b"x" * 2_000), ("b.jpg", b"y" * 500), ("c.txt", b"z" * (5 << 20))]))
    source = source_of(tmp_path / "t.tar")
    (partition,) = plan(source, tmp_path / "lake").partitions
    config = PrepareConfig(image=ImageConfig(max_bytes=1_000))
    batch = join(read_partition(source, Lake(STORAGE, str(tmp_path / "lake")), partition, config=config))
    assert [row.key for row in batch.rows] == ["b"]
    assert {reject.key: reject.reason for reject in batch.rejects} == dict.fromkeys("ac", "media_too_large")


def header(name: str = "a.txt", size: int = 4, kind: bytes = b"0", raw_size: bytes = b"") -> bytes:
    """One ustar header by hand, its checksum right."""
    info = tarfile.TarInfo(name)
    info.size, info.type = max(0, size), kind
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    if size < 0:
        block[124:136] = b"\xff" * 4 + size.to_bytes(8, "big", signed=True)
    block[124 : 124 + len(raw_size)] = raw_size
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def pax(records: dict[str, str], kind: bytes = b"x") -> bytes:
    body = b""
    for name, value in records.items():
        piece = f" {name}={value}\n"
        length = len(piece) + len(str(len(piece) + 2))
        body += f"{length}{piece}".encode()
    return header("pax", len(body), kind) + body.ljust(-(-len(body) // 512) * 512, b"\0")


DATA, END = b"text".ljust(512, b"\0"), bytes(1024)
GOOD = header() + DATA
PLAIN = tar(MEMBERS)
# archives that cannot be taken as a whole
DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "one byte": b"\0",
    "text": b"not a tar at all\n" * 100,
    "no end mark": GOOD,
    "cut in a header": GOOD + header("b.txt")[:300],
    "cut in the data": GOOD + header("b.txt", 4_000) + b"x" * 1_000,
    "cut at a border": PLAIN[: len(GOOD)],
    "half": PLAIN[: len(PLAIN) // 2],
    "checksum of the second": GOOD + bytes([header("b.txt")[0] ^ 1]) + header("b.txt")[1:] + DATA + END,
    "another archive behind": GOOD + END + GOOD + END,
    "rubbish behind": GOOD + END + b"rubbish",
    "negative size": GOOD + header("b.txt", -512) + DATA + END,
    "size of an exabyte": header("a.txt", 0, raw_size=b"\x80" + bytes(2) + b"\x7f" * 9) + DATA + END,
    "size past the end": header("a.txt", 10_000_000) + DATA + END,
    "pax size negative": pax({"size": "-1024"}) + header() + DATA + END,
    "pax size huge": pax({"size": "9" * 30}) + header() + DATA + END,
    "pax body of gigabytes": header("pax", 5 << 30, b"x") + DATA + END,
    "pax body negative": header("pax", -512, b"x") + DATA + END,
    "pax cut": pax({"path": "x" * 5_000})[:1_024],
    "pax without a member": pax({"path": "x"}) + END,
    "long name cut": header("././@LongLink", 4_000, b"L") + DATA,
    "long name of gigabytes": header("././@LongLink", 5 << 30, b"L") + DATA + GOOD + END,
    "a thousand long names": (header("././@LongLink", 4, b"L") + DATA) * 1_000 + GOOD + END,
    "a thousand pax headers": pax({"path": "x"}) * 1_000 + GOOD + END,
    "sparse map without end": pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"})
    + header("a.txt", 512)
    + b"99999999999\n".ljust(512, b"1"),
    "gzip within": gzip.compress(GOOD + END),
    "zip": b"PK\x03\x04" + bytes(1_000),
}
# members that are refused one by one, and the archive goes on
REFUSED: dict[str, bytes] = {
    "symbolic link": header("x.jpg", 0, tarfile.SYMTYPE),
    "hard link": header("x.jpg", 0, tarfile.LNKTYPE),
    "character device": header("x.jpg", 0, tarfile.CHRTYPE),
    "block device": header("x.jpg", 0, tarfile.BLKTYPE),
    "pipe": header("x.jpg", 0, tarfile.FIFOTYPE),
    "absolute": header("/etc/x.jpg") + DATA,
    "parent": header("a/../../x.jpg") + DATA,
    "not UTF-8": header("x.jpg").replace(b"x.jpg", b"\xff.jpg") + DATA,
    "long": header("././@LongLink", 3_000, b"L") + b"x" * 3_000 + bytes(72) + GOOD,
    "no name": pax({"path": ""}) + header("./") + DATA,
    "sparse bomb": pax({"GNU.sparse.map": "0,4", "GNU.sparse.size": str(1 << 50)}) + header("x.jpg") + DATA,
}
REFUSED["not UTF-8"] = (
    lambda raw: raw[:148] + f"{sum(raw[:148]) + 256 + sum(raw[156:512]):06o}\0 ".encode() + raw[156:]
)(REFUSED["not UTF-8"])


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_archive_is_one_error_that_names_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(DAMAGED[name])
    with pytest.raises(SourceError, match=r"bad\.tar"):
        plan(source_of(tmp_path / "bad.tar"), tmp_path / "lake")


@pytest.mark.parametrize("name", REFUSED)
def test_a_member_that_is_not_a_file_is_one_reject(name: str, tmp_path: Path) -> None:
    data = header("first.txt") + DATA + REFUSED[name] + header("last.txt") + DATA + END
    (tmp_path / "t.tar").write_bytes(data)
    batch = read(source_of(tmp_path / "t.tar"), tmp_path / "lake")
    assert [row.key for row in batch.rows] == ["first", "last"]
    (reject,) = batch.rejects
    assert reject.reason == ("key_invalid" if name in ("not UTF-8", "long") else "member_invalid"), reject.detail


def test_compressed_archives_are_bounded(tmp_path: Path) -> None:
    bomb = gzip.compress(tar([("a.txt", bytes(50_000_000))]))
    whole = gzip.compress(PLAIN)
    for name, data, told in [
        ("bomb", bomb, "unpacks to more"),
        ("cut", whole[: len(whole) // 2], "end-of-stream"),
        ("rubbish", b"rubbish", "gzip"),
        ("crc", whole[:-8] + b"\0" * 8, "CRC"),
        ("plain", PLAIN, "gzip"),
    ]:
        (tmp_path / f"{name}.tar.gz").write_bytes(data)
        with pytest.raises(SourceError, match=told):
            plan(source_of(tmp_path / f"{name}.tar.gz", max_unpacked_bytes=10_000_000), tmp_path / "lake")


def test_an_archive_of_too_many_members_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trichord.transforms.collect.tar_index.MAX_MEMBERS", 10)
    (tmp_path / "t.tar").write_bytes(tar(MEMBERS))
    with pytest.raises(SourceError, match="more than 10 members"):
        plan(source_of(tmp_path / "t.tar"), tmp_path / "lake")


@settings(max_examples=150)
@given(data=st.data())
def test_no_damage_to_an_archive_ends_in_anything_but_rows_or_an_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    small = bytearray(tar([(name, value[:100]) for name, value in MEMBERS]))
    for _ in range(data.draw(st.integers(1, 4))):
        small[data.draw(st.integers(0, len(small) - 1))] = data.draw(st.integers(0, 255))
    (folder / "t.tar").write_bytes(bytes(small[: data.draw(st.integers(0, len(small)))]))
    try:
        batch = read(source_of(folder / "t.tar"), folder / "lake")
    except SourceError:
        return
    assert len(batch.rows) + len(batch.rejects) > 0
