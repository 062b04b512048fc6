"""Sources without `fields`: files and members that are not what a source of their kind holds are an error."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import TypeAdapter

from trichord.infra.config import Source, StorageConfig
from trichord.infra.errors import SourceError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms.collect import Plan, plan_source

STORAGE = Storage(StorageConfig())
COCO = {
    "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
    "annotations": [{"id": 1, "image_id": 1, "caption": "a red dog"}, {"id": 2, "image_id": 2, "caption": "a cat"}],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for n, name in enumerate("ab"):
        Image.new("RGB", (8, 8), (n * 99, 90, 30)).save(tmp_path / "data" / f"{name}.png")
    return tmp_path / "data"


def plan(data: Path, **settings: Any) -> Plan:
    source: Source = TypeAdapter(Source).validate_python({"name": "s", "path": str(data), **settings})
    lake = Lake(STORAGE, str(data.parent / "lake"))
    return plan_source(source, lake, rows_per_partition=8, cache=None, checked=True)


def refused(data: Path, **settings: Any) -> str:
    with pytest.raises(SourceError) as caught:
        plan(data, **settings)
    return str(caught.value)


def coco(data: Path, **changes: Any) -> dict[str, Any]:
    (data / "coco.json").write_text(json.dumps({**COCO, **changes}))
    return {"kind": "captions", "path": str(data / "coco.json")}


def test_coco_images_need_some_caption(data: Path) -> None:
    assert plan(data, **coco(data)).rows == 2
    told = refused(data, **coco(data, annotations=[]))
    assert "no picture has a caption (2 pictures without one, 0 rejected rows)" in told
    assert plan(data, **coco(data, annotations=[]), optional_fields=["captions"]).rows == 2


def test_coco_annotations_without_captions_or_of_other_images_are_no_captions(data: Path) -> None:
    boxes = [{"id": n, "image_id": n, "bbox": [0, 0, 4, 4], "category_id": 3} for n in (1, 2)]
    assert "2 pictures without one, 2 rejected rows; the first: an annotation without a caption" in refused(
        data, **coco(data, annotations=boxes)
    )
    others = [{"id": 1, "image_id": 77, "caption": "a red dog"}]
    assert "the first: no image has the id '77'" in refused(data, **coco(data, annotations=others))


@pytest.mark.parametrize("layout", ["coco", "flickr"])
def test_photos_that_are_nowhere_are_an_error(data: Path, layout: str) -> None:
    (data / "elsewhere").mkdir()
    (data / "tokens.txt").write_text("a.png#0\ta red dog\nb.png#0\ta cat\n")
    settings = coco(data) if layout == "coco" else {"kind": "captions", "path": str(data / "tokens.txt")}
    told = refused(data, **settings, media_root=str(data / "elsewhere"))
    assert "none of the 2 pictures was found; the first: a.png" in told
    assert "correct `media_root`" in told
    assert plan(data, **settings, media_root=str(data)).rows == 2


def test_flickr_names_that_match_no_photo_of_the_folder_are_an_error(data: Path) -> None:
    (data / "tokens.txt").write_text("x.png#0\ta red dog\ny.png#0\ta cat\n")
    told = refused(data, kind="captions", path=str(data / "tokens.txt"))
    assert (
        "no picture has a caption (2 pictures without one, 2 rejected rows; the first: image: no file 'x.png')" in told
    )


def test_a_folder_needs_some_file_of_a_modality(data: Path) -> None:
    assert plan(data, kind="folder").rows == 2
    for path in data.glob("*.png"):
        path.rename(path.with_suffix(".heic"))
    told = refused(data, kind="folder")
    assert 'none of its 2 files has an ending of a text, an image or a sound (there are ".heic")' in told


def test_a_folder_needs_the_modality_that_it_requires(data: Path) -> None:
    assert "`require` names audio, which none of its 2 rows has" in refused(data, kind="folder", require=["audio"])
    (data / "a.wav").write_bytes(b"RIFF")
    assert plan(data, kind="folder", require=["audio"]).rows == 2


def tar(data: Path, members: Mapping[str, bytes]) -> dict[str, Any]:
    with tarfile.open(data / "part.tar", "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return {"kind": "webdataset", "path": str(data / "part.tar")}


def test_a_webdataset_needs_some_member_of_a_kind_that_is_expected(data: Path) -> None:
    png = (data / "a.png").read_bytes()
    told = refused(data, **tar(data, {"a.heic": png, "b.heic": png}))
    assert "none of its 2 rows has a text, an image or a sound; the first: only members with unknown endings" in told
    assert "`require` names audio" in refused(data, **tar(data, {"a.png": png, "a.txt": b"dog"}), require=["audio"])
    assert "`require_any` (2)" in refused(data, **tar(data, {"a.png": png, "b.txt": b"dog"}), require_any=2)
    found = plan(data, **tar(data, {'a".png': png, 'a".json': b'{"text": "a dog"}'}), require=["text", "image"])
    assert (found.rows, set(found.lacks)) == (1, {"audio"})


def metadata(data: Path, text: str) -> dict[str, Any]:
    (data / "metadata.csv").write_text(text)
    return {"kind": "imagefolder", "fields": {"key": "file_name", "text": "caption"}}


def test_metadata_must_name_files_of_the_folder(data: Path) -> None:
    assert plan(data, **metadata(data, "file_name,caption\na.png,red\n")).rows == 2
    told = refused(data, **metadata(data, "file_name,caption\nx.png,red\ny.png,blue\n"))
    assert "none of the 2 files that file_name names in its metadata was found; the first: x.png" in told
    told = refused(data, **metadata(data, "File_Name,caption\na.png,red\n"))
    assert "no row of its metadata has a file_name; the columns there are: File_Name, caption" in told
    assert "in the column file_name; rename File_Name" in told


def test_columns_of_metadata_need_metadata(data: Path) -> None:
    told = refused(data, kind="imagefolder", fields={"key": "file_name", "text": "caption"})
    assert "`fields.text: caption`: there is no column caption" in told
    assert "no row of a metadata.jsonl or metadata.csv was found" in told
    assert plan(data, kind="imagefolder").rows == 2
