"""`trichord init` of folders, tars and captions: each is known, and the file that is written plans straight away."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.pipelines.ops.start_data import (
    IMAGE,
    SENTENCES,
    fields_of,
    kind_of,
    lines,
    media,
    put,
    started,
    table,
)
from trichord.infra.errors import ConfigError
from trichord.infra.project import load_project
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.ops.listing import Listing
from trichord.pipelines.ops.start import start
from trichord.pipelines.run_plan import plan_run


def test_absolute_paths_elsewhere_have_their_folder_as_root(tmp_path: Path) -> None:
    names = media(tmp_path / "far" / "away")
    rows = [{"id": name, "image": str(tmp_path / "far" / "away" / name)} for name in names]

    result = started(lines(tmp_path / "here" / "m.jsonl", rows), tmp_path, 6)

    assert result.source is not None
    assert result.source["media_root"] == "far/away"


def test_a_folder_of_loose_files(tmp_path: Path) -> None:
    media(tmp_path / "clips")
    media(tmp_path / "clips", ending="wav")
    for number, text in enumerate(SENTENCES):
        put(tmp_path / "clips" / f"{number}.txt", text)

    result = started(tmp_path / "clips", tmp_path, 6)

    assert result.source == {"name": "clips", "kind": "folder", "path": "clips"}
    assert set(result.records[0]) == {"key", "text", "image", "audio"}
    assert result.notes == ("6 of 6 records have more than one file (a.txt, a.jpg and a.wav are one record)",)


def test_a_table_that_cannot_be_read_beside_loose_media_is_noted(tmp_path: Path) -> None:
    names = media(tmp_path / "clips")
    rows = [{"id": name, "text": text} for name, text in zip(names, SENTENCES, strict=True)]
    path = tmp_path / "clips" / "table.csv"
    table(path, rows)
    path.write_bytes(path.read_bytes().decode().encode("utf-16"))

    result = started(tmp_path / "clips", tmp_path, 6)

    assert result.source is not None
    assert result.source["kind"] == "folder"
    assert any("not read as a table of records: table.csv" in note for note in result.notes), result.notes


def test_the_project_file_may_lie_in_the_folder_that_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media(tmp_path / "clips")
    monkeypatch.chdir(tmp_path / "clips")

    start(".", Path("trichord.yaml"))

    project = load_project("trichord.yaml")
    assert project.lake == str(tmp_path / "clips-lake")
    assert plan_run(Workspace(project)).sources[0].rows == 6


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


def test_names_in_two_forms_of_unicode_are_one_record() -> None:
    listing = Listing(folder="f", paths=("cafe\u0301.png", "caf\u00e9.txt"), whole=True)
    assert listing.stems() == {"caf\u00e9": {"image", "text"}}
