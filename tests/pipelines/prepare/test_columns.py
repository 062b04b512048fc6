"""plan, doctor, prepare and reindex refuse a mapped column that is not there, and make nothing; the advice works."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from tests.pipelines.lakes import trichord

ROWS = "id,caption,file\nf1,a red dog,1.jpg\nf2,a blue cat,2.jpg\n"


def write(folder: Path, source: Mapping[str, Any], rows: str = ROWS, **settings: Any) -> Path:
    """The project and data of the smallest catalogue."""
    for n in (1, 2):
        data = io.BytesIO()
        Image.new("RGB", (96, 72), (90 * n, 30, 160)).save(data, "JPEG")
        (folder / f"{n}.jpg").write_bytes(data.getvalue())
    (folder / "m.csv").write_text(rows)
    project = folder / "trichord.yaml"
    given = {"name": "s", "kind": "manifest", "path": "./m.csv", **source}
    project.write_text(yaml.safe_dump({"lake": "./lake", "sources": [given], "engine": {"workers": 1}, **settings}))
    return project


def says(project: Path, code: int, *more: str, verb: str = "plan") -> str:
    done = trichord(verb, "--project", str(project), *more, check=code, env={"COLUMNS": "2000"})
    return done.stdout + done.stderr


MISSPELT = {"fields": {"text": "captoin", "image": "file"}}


@pytest.mark.parametrize(("verb", "code"), [("plan", 7), ("prepare", 7), ("reindex", 7), ("doctor", 7)])
def test_every_verb_says_that_a_column_is_misspelt_and_makes_nothing(tmp_path: Path, verb: str, code: int) -> None:
    told = says(write(tmp_path, MISSPELT), code, verb=verb)
    assert "there is no column captoin; did you mean `caption`?" in told
    assert "id, caption, file" in told
    assert not (tmp_path / "lake" / "records").exists()
    assert not (tmp_path / "lake" / "_plans").exists()


def test_what_the_message_advises_works(tmp_path: Path) -> None:
    project = write(tmp_path, MISSPELT)
    meant = re.search(r"did you mean `(\w+)`", says(project, 7))
    assert meant is not None
    assert "added" in says(project, 0, "--set", f"sources.0.fields.text={meant[1]}")
    optional = re.search(r"`optional_fields: (\[.*?\])`", says(project, 7))
    assert optional is not None
    assert "added" in says(project, 0, "--set", f"sources.0.optional_fields={optional[1]}")


def test_a_field_mapped_by_an_override_or_another_file_is_mapped(tmp_path: Path) -> None:
    project = write(tmp_path, {"fields": {"text": "caption", "image": "file"}})
    assert "did you mean `file`?" in says(project, 7, "--set", "sources.0.fields.image=fil")
    child = tmp_path / "child.yaml"
    child.write_text("extends: trichord.yaml\nlake: ./other\n")
    says(child, 0)
    write(tmp_path, MISSPELT)
    assert "did you mean `caption`?" in says(child, 7)


def test_a_field_that_cannot_be_optional_is_refused_with_the_one_that_was_meant(tmp_path: Path) -> None:
    project = write(tmp_path, {"fields": {"text": "caption"}, "optional_fields": ["imge"]})
    assert "did you mean `image`?" in says(project, 2)


def test_plan_counts_the_rows_without_a_column(tmp_path: Path) -> None:
    rows = f"{ROWS}f3,a green bird,\n"
    project = write(tmp_path, {"fields": {"text": "caption", "image": "file"}}, rows)
    assert "s: image is filled in 2 of 3 rows" in says(project, 0)
    [source] = json.loads(says(project, 0, "--json").splitlines()[-1])["sources"]
    assert {"field": "image", "column": "file", "filled": 2, "rows": 3, "exact": True} in source["fields"]


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"index": {"views": ["fused", "audio"]}}, "index.views"),
        ({"model": {"audio": {"kind": "plugin", "plugin": "sounds:Encoder"}}}, "model.audio"),
    ],
)
def test_a_modality_that_the_project_names_must_be_in_some_row(
    tmp_path: Path, settings: dict[str, Any], setting: str
) -> None:
    project = write(tmp_path, {"fields": {"text": "caption", "image": "file"}}, **settings)
    for verb in ("plan", "doctor", "reindex"):
        assert f"`{setting}` names audio, but no row of any source has audio" in says(project, 7, verb=verb)


def test_the_default_encoders_name_no_modality(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"model": {"audio": {"kind": "embedded", "max_s": 5.0}}}
    says(write(tmp_path, {"fields": {"text": "caption", "image": "file"}}, **settings), 0)
    says(write(tmp_path, {"fields": {"text": "caption", "image": "file"}}), 0)


def test_rows_that_are_all_deleted_are_no_error_of_the_plan(tmp_path: Path) -> None:
    settings = {"index": {"views": ["fused", "image"]}}
    assert "0" in says(write(tmp_path, {"fields": {"image": "file"}}, "id,caption,file\n", **settings), 0)
