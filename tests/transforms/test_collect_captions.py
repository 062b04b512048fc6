"""Captions files, media folders and alignment fields: every picture, caption and row is a row or a listed reject."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Place
from tests.transforms.samples import picture, saved, sound, tone
from trichord.infra import digest
from trichord.infra.config import CaptionsSource, FieldMap, ManifestSource, MediaFolderSource, Source, StorageConfig
from trichord.infra.errors import SourceError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms.batch import Batch, join
from trichord.transforms.collect import Plan, plan_source, read_partition

STORAGE = Storage(StorageConfig())
IMAGE, AUDIO, BLANK = saved(picture(), "JPEG"), sound(tone(0.2)), ("", "  ", "\u3000", None)


def plan(source: Source, lake: Path | str, storage: Storage = STORAGE) -> Plan:
    return plan_source(source, Lake(storage, str(lake)), rows_per_partition=8, cache=None)


def read(source: Source, lake: Path | str, storage: Storage = STORAGE) -> Batch:
    partitions = plan(source, lake, storage).partitions
    return join(
        batch for partition in partitions for batch in read_partition(source, Lake(storage, str(lake)), partition)
    )


def rows(batch: Batch) -> dict[str, tuple[str | None, tuple[str, ...]]]:
    return {row.key: (row.text, row.captions) for row in batch.rows}


def reasons(batch: Batch) -> list[tuple[str, str]]:
    return sorted(
        (reject.key if not reject.key.startswith("line:") else "line", reject.reason) for reject in batch.rejects
    )


def captions(path: Path | str, **options: Any) -> CaptionsSource:
    return CaptionsSource(kind="captions", name="c", path=str(path), **options)


def coco() -> dict[str, list[Any]]:
    images = [{"id": i, "file_name": f"{i:012d}.jpg", "width": 10 * i} for i in range(1, 6)]
    told = [{"id": 100 - n, "image_id": i, "caption": f"caption {n} of {i}"} for i in (1, 2, 3) for n in range(3)]
    return {"images": images, "annotations": told}


def test_coco_is_one_record_a_picture_whatever_the_order(place: Place) -> None:
    for i in range(1, 5):
        place.storage.write(f"{place.uri}/val/{i:012d}.jpg", IMAGE + b"%d" % i)
    document = coco()
    document["annotations"] += [
        {"id": 1, "image_id": 99, "caption": "of no picture"},
        {"id": 2, "image_id": 1, "caption": 5},
        {"id": 3, "image_id": 1},
        "odd",
    ]
    document["images"] += [{"id": 7}, 3]
    source = captions(f"{place.uri}/captions.json", media_root=f"{place.uri}/val")
    versions = set()
    for seed in range(3):
        for name, part in document.items():
            document[name] = [part[i] for i in digest.generator("coco", seed, name).permutation(len(part))]
        place.storage.write(source.path, json.dumps(document).encode())
        batch = read(source, f"{place.uri}/lake", place.storage)
        versions.add(
            tuple(partition.version for partition in plan(source, f"{place.uri}/lake", place.storage).partitions)
        )
    assert len(versions) == 1
    first = {str(i): (f"caption 2 of {i}", (f"caption 1 of {i}", f"caption 0 of {i}")) for i in (1, 2, 3)}
    assert rows(batch) == first | {"4": (None, ())}
    assert {row.group for row in batch.rows} == {"1", "2", "3", "4"}
    assert json.loads(next(row.meta for row in batch.rows if row.key == "3")) == {"width": 30}
    assert reasons(batch) == [("5", "media_missing"), ("99", "media_missing"), *[("line", "row_invalid")] * 5]


def test_blank_captions_are_rejects_and_their_pictures_stay(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(IMAGE)
    told = [{"id": i, "sentid": i, "image_id": 1, "caption": one, "raw": one} for i, one in enumerate(BLANK)]
    for document in ({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": told},
                     {"images": [{"cocoid": 1, "filename": "a.jpg", "sentences": told}]}):  # fmt: skip
        (tmp_path / "c.json").write_text(json.dumps(document))
        batch = read(captions(tmp_path / "c.json"), tmp_path / "lake")
        assert rows(batch) == {"1": (None, ())}
        assert reasons(batch) == [("line", "row_invalid")] * len(BLANK)


def test_token_files_and_tables_of_one_content_are_one_plan(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a", "b", "lonely"):
        (tmp_path / "images" / f"{name}.jpg").write_bytes(IMAGE + name.encode())
    forms = {
        "f.token.txt": "b.jpg#0\tb zero\na.jpg#1\ta one\n\na.jpg#0\ta zero, really\ngone.jpg#0\tgone\nb.jpg#1\tb one\n",
        "results.token": "a.jpg#0\ta zero, really\na.jpg#1\ta one\nb.jpg#0\tb zero\nb.jpg#1\tb one\ngone.jpg#0\tgone\n",
        "captions.txt": 'image,caption\na.jpg,"a zero, really"\nb.jpg,b zero\n'
        "a.jpg,a one\nb.jpg,b one\ngone.jpg,gone\n",
        "results.csv": "image_name| comment_number| comment\n"
        "a.jpg| 0| a zero, really\na.jpg| 1| a one\nb.jpg| 1| b one\n"
        "b.jpg| 0| b zero\ngone.jpg| 0| gone\n",
    }
    plans = []
    for name, text in forms.items():
        (tmp_path / name).write_text(text)
        source = captions(tmp_path / name, media_root=str(tmp_path / "images"))
        plans.append(plan(source, tmp_path / "lake"))
        batch = read(source, tmp_path / "lake")
        assert rows(batch) == {"a": ("a zero, really", ("a one",)), "b": ("b zero", ("b one",)), "lonely": (None, ())}
        assert reasons(batch) == [("gone", "media_missing")]
    assert plans.count(plans[0]) == 4


def test_bad_caption_lines_are_rejects_and_bad_files_are_errors(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(IMAGE)
    path = tmp_path / "r.csv"
    path.write_bytes(
        b"image| comment_number| comment\n"
        b"a.jpg| 0| one\na.jpg| 4   A dog .\na.jpg| x| two\na.jpg| 2|\n\xff.jpg| 0| odd\n"
    )
    batch = read(captions(path), tmp_path / "lake")
    assert rows(batch) == {"a": ("one", ())}
    assert reasons(batch) == [("line", "row_invalid")] * 4
    path = tmp_path / "t.token"
    path.write_text("a.jpg#0\tone\na.jpg two\na.jpg#1\t\n#0\tx\n")
    batch = read(captions(path), tmp_path / "lake")
    assert rows(batch) == {"a": ("one", ())}
    assert reasons(batch) == [("line", "row_invalid")] * 3
    for name, data, told in [
        ("x.json", b"{", "not JSON"),
        ("x.json", b"[]", "no lists"),
        ("x.json", b'{"images": {}, "annotations": []}', "no lists"),
        ("x.json", b"[" * 100_000, "not JSON"),
        ("x.json", b"\xff", "not JSON"),
        ("x.txt", b"", "neither"),
        ("x.txt", b"some words\n", "neither"),
        ("x.json", json.dumps(coco()).encode() * 10, "max_bytes"),
    ]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SourceError, match=told):
            plan(captions(tmp_path / name, max_bytes=200_000 if told != "max_bytes" else 50), tmp_path / "lake")
    with pytest.raises(SourceError, match="no such file"):
        plan(captions(tmp_path / "none.json"), tmp_path / "lake")


def test_an_image_of_coco_carries_its_split(tmp_path: Path) -> None:
    document = coco()
    for image, split in zip(document["images"], ("train", "Test", None, "", "restval"), strict=True):
        (tmp_path / image["file_name"]).write_bytes(IMAGE + image["file_name"].encode())
        image |= {"split": split}
    document["images"].append({"id": 9, "file_name": "x.jpg", "split": ["odd"]})
    (tmp_path / "c.json").write_text(json.dumps(document))
    found = plan(captions(tmp_path / "c.json"), tmp_path / "lake")
    assert found.marks == {"Test": 1, "restval": 1, "train": 1}
    batch = read(captions(tmp_path / "c.json"), tmp_path / "lake")
    assert {row.key: row.subset for row in batch.rows} == {"1": "train", "2": "Test", "3": "", "4": "", "5": "restval"}
    assert json.loads(next(row.meta for row in batch.rows if row.key == "3")) == {"width": 30}
    assert reasons(batch) == [("line", "row_invalid")]


def karpathy() -> dict[str, Any]:
    """Two pictures of Flickr8k's file and one of COCO's, whose pictures are in folders."""
    flickr = [
        {"sentids": [1, 0], "imgid": i, "split": split, "filename": f"{i}_ab.jpg",
         "sentences": [{"tokens": ["a"], "raw": f"caption {n} of {i}", "imgid": i, "sentid": n} for n in (1, 0)]}
        for i, split in ((1, "train"), (2, "val"))
    ]  # fmt: skip
    one = {"filepath": "val2014", "filename": "COCO_val2014_000000391895.jpg", "imgid": 3, "cocoid": 391895}
    return {"images": [*flickr, {**one, "split": "restval", "sentids": [], "sentences": []}], "dataset": "x"}


@pytest.mark.parametrize("form", ["auto", "karpathy"])
def test_karpathys_json_gives_captions_and_splits(form: str, tmp_path: Path) -> None:
    document = karpathy()
    (tmp_path / "val2014").mkdir()
    for name in ("1_ab.jpg", "2_ab.jpg", "val2014/COCO_val2014_000000391895.jpg"):
        (tmp_path / name).write_bytes(IMAGE + name.encode())
    bad = [
        3,
        {"split": "test"},
        {"filename": "a.jpg", "sentences": "odd"},
        {"filename": "a.jpg", "sentences": [{"raw": 3}]},
    ]
    (tmp_path / "dataset_x.json").write_text(json.dumps(document | {"images": document["images"] + bad}))
    batch = read(captions(tmp_path / "dataset_x.json", format=form), tmp_path / "lake")
    assert {row.key: (row.text, row.captions, row.subset, row.meta) for row in batch.rows} == {
        "1_ab": ("caption 0 of 1", ("caption 1 of 1",), "train", '{"imgid":1}'),
        "2_ab": ("caption 0 of 2", ("caption 1 of 2",), "val", '{"imgid":2}'),
        "391895": (None, (), "restval", '{"imgid":3}'),
    }
    assert reasons(batch) == [("line", "row_invalid")] * 4
    (tmp_path / "dataset_x.json").write_text('{"images": 5}')
    with pytest.raises(SourceError, match="images"):
        plan(captions(tmp_path / "dataset_x.json", format=form), tmp_path / "lake")


def test_lists_of_flickr8k_mark_their_pictures(tmp_path: Path) -> None:
    names = [f"{i}_ab.jpg" for i in range(6)]
    for name in names:
        (tmp_path / name).write_bytes(IMAGE + name.encode())
    (tmp_path / "f.token").write_text("".join(f"{name}#0\tcaption of {name}\n" for name in names[:5]))
    (tmp_path / "Flickr_8k.trainImages.txt").write_text("0_ab.jpg\r\n1_ab.jpg\r\n")
    (tmp_path / "Flickr_8k.devImages.txt").write_text("2_ab\nnot_there.jpg\n\n")
    (tmp_path / "Flickr_8k.testImages.txt").write_text("\ufeff3_ab.jpg\n5_ab.jpg")
    splits = {mark: str(tmp_path / f"Flickr_8k.{mark}Images.txt") for mark in ("train", "dev", "test")}
    source = captions(tmp_path / "f.token", splits=splits)
    batch = read(source, tmp_path / "lake")
    marks = {"0": "train", "1": "train", "2": "dev", "3": "test", "4": "", "5": "test"}
    assert {row.key: row.subset for row in batch.rows} == {f"{i}_ab": mark for i, mark in marks.items()}
    before = [partition.version for partition in plan(source, tmp_path / "lake").partitions]
    (tmp_path / "Flickr_8k.testImages.txt").write_text("3_ab.jpg\n4_ab.jpg")
    assert [partition.version for partition in plan(source, tmp_path / "lake").partitions] != before
    for data, told in ((b"2_ab\n", "also in the list of dev"), (b"\xff", "not UTF-8"), (None, "no such file")):
        (tmp_path / "Flickr_8k.testImages.txt").unlink(missing_ok=True)
        if data is not None:
            (tmp_path / "Flickr_8k.testImages.txt").write_bytes(data)
        with pytest.raises(SourceError, match=told):
            plan(source, tmp_path / "lake")


def folder(path: Path | str, kind: Any = "imagefolder", **options: Any) -> MediaFolderSource:
    return MediaFolderSource(kind=kind, name="h", path=str(path), **options)


def test_class_folders_name_the_label_and_the_subset(place: Place) -> None:
    for path in (
        "train/cat/1.jpg",
        "train/dog/1.PNG",
        "test/cat/2.jpg",
        "Dev/cat/4.jpg",
        "loose.jpg",
        "birds/owl/3.jpg",
        "cat.wav",
        ".x/y.jpg",
    ):
        place.storage.write(f"{place.uri}/in/{path}", IMAGE)
    source = folder(f"{place.uri}/in")
    assert plan(source, f"{place.uri}/lake", place.storage).ignored == 1
    batch = read(source, f"{place.uri}/lake", place.storage)
    assert {row.key: (row.text, row.subset, row.meta) for row in batch.rows} == {
        "train/cat/1.jpg": ("cat", "train", '{"label":"cat"}'),
        "train/dog/1.PNG": ("dog", "train", '{"label":"dog"}'),
        "test/cat/2.jpg": ("cat", "test", '{"label":"cat"}'),
        "Dev/cat/4.jpg": ("cat", "Dev", '{"label":"cat"}'),
        "loose.jpg": (None, "", "{}"),
        "birds/owl/3.jpg": ("owl", "birds", '{"label":"owl"}'),
    }
    assert set(batch.raw_images) == {IMAGE}
    assert plan(source, f"{place.uri}/lake", place.storage).marks == {"Dev": 1, "birds": 1, "test": 1, "train": 2}


@pytest.mark.parametrize(
    ("folders", "marks"),
    [
        (("train-clean-100", "dev-clean", "test-other"), ("train-clean-100", "dev-clean", "test-other")),
        (("train", "fold4"), ("train", "fold4")),
        (("cats", "dogs"), ("", "")),
        (("test tubes", "beakers"), ("", "")),
    ],
)
def test_first_folders_are_marks_or_classes_together(
    folders: tuple[str, ...], marks: tuple[str, ...], tmp_path: Path
) -> None:
    for number, name in enumerate(folders):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / f"{number}.jpg").write_bytes(IMAGE + bytes([number]))
    rows = read(folder(tmp_path / "in"), tmp_path / "lake").rows
    assert {row.key.split("/")[0]: row.subset for row in rows} == dict(zip(folders, marks, strict=True))
    source = folder(tmp_path / "in", fields=FieldMap(key="file_name", subset=None))
    assert {(row.text, row.subset) for row in read(source, tmp_path / "lake").rows} == {(name, "") for name in folders}


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_metadata_tells_of_the_files_below_its_folder(form: str, tmp_path: Path) -> None:
    for path in ("train/a.wav", "train/loud/b.wav", "train/untold.wav", "validation/a.wav"):
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / path).write_bytes(AUDIO)
    told: list[dict[str, Any]] = [
        {"file_name": "a.wav", "text": "spoken", "speaker": "s1"},
        {"file_name": "loud/b.wav", "speaker": "s2"},
        {"file_name": "gone.wav", "text": "gone"},
        {"file_name": "../../out.wav", "text": "out"},
        {"text": "of no file"},
    ]
    if form == "jsonl":
        text = "".join(json.dumps(row) + "\n" for row in told) + "{\n"
    else:
        names = ("file_name", "text", "speaker")
        text = "\n".join([",".join(names), *(",".join(row.get(name, "") for name in names) for row in told), "a,b"])
    (tmp_path / "in" / "train" / f"metadata.{form}").write_text(text)
    source = folder(tmp_path / "in", "audiofolder", fields=FieldMap(key="file_name", group="speaker"))
    batch = read(source, tmp_path / "lake")
    assert {row.key: (row.text, row.subset, row.group, row.meta) for row in batch.rows} == {
        "train/a.wav": ("spoken", "train", "s1", "{}"),
        "train/loud/b.wav": (None, "train", "s2", '{"label":"loud"}'),
        "train/untold.wav": (None, "train", "train/untold.wav", "{}"),
        "validation/a.wav": (None, "validation", "validation/a.wav", "{}"),
    }
    assert batch.raw_audios == (AUDIO,) * 4
    assert reasons(batch) == [
        ("../out.wav", "media_outside_root"),
        ("line", "row_invalid"),
        ("line", "row_invalid"),
        ("train/gone.wav", "media_missing"),
    ]


def test_an_empty_media_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(SourceError, match="no image file"):
        plan(folder(tmp_path), tmp_path / "lake")


FIELDS = FieldMap(segments="segments", pictures="slides", regions="boxes")


def manifest(tmp_path: Path, *told: dict[str, Any]) -> Batch:
    for name, data in {"a.srt": b"1\n", "s0.png": IMAGE, "s1.png": IMAGE + b"1"}.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "m.jsonl").write_text(
        "".join(json.dumps({"id": f"k{i}", "text": "t"} | row) + "\n" for i, row in enumerate(told))
    )
    return read(
        ManifestSource(kind="manifest", name="m", path=str(tmp_path / "m.jsonl"), fields=FIELDS), tmp_path / "lake"
    )


def test_alignment_fields_become_canonical_alignment_and_attachments(tmp_path: Path) -> None:
    slides = [{"start_s": 0, "end_s": 2, "image": "s0.png"}, {"end_s": 4.5, "start_s": 2, "image": "s1.png", "more": 1}]
    batch = manifest(
        tmp_path,
        {"segments": "a.srt", "slides": slides},
        {"segments": [{"text": "b", "end_s": 2, "start_s": 1.5}], "boxes": [{"text": "cat", "box": [1, 2, 3, 4.5]}]},
        {"segments": [], "slides": None, "boxes": []},
    )
    found = {row.key: (row.alignment, files) for row, files in zip(batch.rows, batch.attachments, strict=True)}
    assert found == {
        "k0": (
            '{"pictures":[{"attachment":"image:0","end_s":2.0,"start_s":0.0},'
            '{"attachment":"image:1","end_s":4.5,"start_s":2.0}],"segments_format":"srt"}',
            {"image:0": IMAGE, "image:1": IMAGE + b"1", "segments": b"1\n"},
        ),
        "k1": (
            '{"regions":[{"box":[1.0,2.0,3.0,4.5],"text":"cat"}],"segments":[{"end_s":2.0,"start_s":1.5,"text":"b"}]}',
            None,
        ),
        "k2": ("{}", None),
    }


@pytest.mark.parametrize(
    "row",
    [
        {"segments": "a.txt"},
        {"segments": 5},
        {"segments": {"start_s": 1}},
        {"segments": [5]},
        {"segments": [{"start_s": 1, "end_s": 1, "text": "a"}]},
        {"segments": [{"start_s": -1, "end_s": 1, "text": "a"}]},
        {"segments": [{"start_s": "0", "end_s": 1, "text": "a"}]},
        {"segments": [{"start_s": False, "end_s": 1, "text": "a"}]},
        {"segments": [{"start_s": 0, "end_s": 1e300, "text": "a"}]},
        {"segments": [{"start_s": 0, "end_s": 10**400, "text": "a"}]},
        {"segments": [{"start_s": 0, "end_s": 1}]},
        {"slides": "s0.png"},
        {"slides": [{"start_s": 0, "end_s": 1}]},
        {"slides": [{"start_s": 0, "end_s": 1, "image": ""}]},
        {"slides": [{"start_s": 0, "end_s": 1, "image": "s0.png"}] * 1_001},
        {"boxes": {"box": [1, 2, 3, 4], "text": "a"}},
        {"boxes": 7},
    ],
)
def test_malformed_alignment_is_one_reject(row: dict[str, Any], tmp_path: Path) -> None:
    batch = manifest(tmp_path, row, {})
    assert [kept.key for kept in batch.rows] == ["k1"]
    (reject,) = batch.rejects
    assert reject.reason == "row_invalid"
    assert any(name in reject.detail for name in ("segments", "pictures", "regions"))


def test_a_missing_subtitle_file_is_a_reject(tmp_path: Path) -> None:
    batch = manifest(tmp_path, {"segments": "none.vtt"}, {"slides": [{"start_s": 0, "end_s": 1, "image": "../x.png"}]})
    assert [(reject.key, reject.reason) for reject in batch.rejects] == [
        ("k0", "media_missing"),
        ("k1", "media_outside_root"),
    ]


def test_csv_cells_hold_lists_as_json(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('id,text,boxes\na,t,"[{""box"": [0, 0, 1, 1], ""text"": ""x""}]"\nb,t,7\nc,t,[\n')
    source = ManifestSource(kind="manifest", name="m", path=str(tmp_path / "m.csv"), fields=FIELDS)
    batch = read(source, tmp_path / "lake")
    assert [row.alignment for row in batch.rows] == ['{"regions":[{"box":[0.0,0.0,1.0,1.0],"text":"x"}]}']
    assert reasons(batch) == [("line", "row_invalid")] * 2
