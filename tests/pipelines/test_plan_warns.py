"""Before any work, `plan` and `doctor` say what a run would stop at: nothing to train on, or a source of rejects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipelines.lakes import result_of, trichord


def project(folder: Path, rows: list[dict[str, Any]], **settings: object) -> Path:
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "trichord.yaml"
    source = {"name": "s", "kind": "manifest", "path": "m.jsonl"}
    path.write_text(yaml.safe_dump({"lake": "lake", "sources": [source], **settings}))
    return path


def rows(*marks: str) -> list[dict[str, str]]:
    return [{"id": f"{place}", "text": f"words {place}", "split": mark} for place, mark in enumerate(marks)]


@pytest.mark.parametrize("verb", ["plan", "doctor", "reindex"])
def test_rows_that_are_all_held_out_by_their_marks_are_refused_before_any_work(tmp_path: Path, verb: str) -> None:
    path = project(tmp_path, rows("test", "dev", "test"))
    done = trichord(verb, "--project", str(path), check=2)
    said = done.stdout + done.stderr
    assert "No record is left to train on" in said
    for folder in ("records", "index"):
        assert not (tmp_path / "lake" / folder).exists()
    if verb == "plan":
        assert "source 's': test (2 records), dev (1 record)" in said
        assert "train: {marks: {test: train}}" in said
        advised = project(tmp_path, rows("test", "dev", "test"), train={"marks": {"test": "train"}})
        trichord("plan", "--project", str(advised))


@pytest.mark.parametrize("marks", [("test", ""), ("test", "train"), ("", "")])
def test_one_row_that_may_train_is_enough(tmp_path: Path, marks: tuple[str, ...]) -> None:
    trichord("plan", "--project", str(project(tmp_path, rows(*marks))))


def test_a_row_that_cannot_be_read_does_not_count_as_one_to_train_on(tmp_path: Path) -> None:
    broken: dict[str, Any] = {"id": "x", "text": 7, "split": "train"}
    lost = {"id": "y", "text": "words", "image": "none.jpg", "split": ""}
    held = {**lost, "id": "z", "image": "m.jsonl", "split": "test"}
    path = project(tmp_path, [held, lost, broken])
    trichord("plan", "--project", str(path), check=2)


def test_a_source_of_which_all_rows_are_rejected_is_named(tmp_path: Path) -> None:
    twice = [{"id": "a", "text": "words", "image": "none.jpg"}, {"id": "b", "text": "words", "image": "none.jpg"}]
    path = project(tmp_path, twice)
    settings = yaml.safe_load(path.read_text())
    settings["sources"][0]["optional_fields"] = ["image"]
    path.write_text(yaml.safe_dump(settings))
    [warning] = result_of(trichord("plan", "--json", "--project", str(path)))["warnings"]
    assert warning.startswith("Source s: all its 2 rows are rejected.")
    checks = result_of(trichord("doctor", "--json", "--project", str(path)))["checks"]
    assert warning in next(check["found"] for check in checks if check["name"] == "sources")
    (tmp_path / "none.jpg").write_bytes(b"there")
    assert result_of(trichord("plan", "--json", "--project", str(path)))["warnings"] == []
