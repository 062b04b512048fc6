"""Files that are not read are told of wherever a person looks: plan, doctor, prepare, the page and the card."""

from __future__ import annotations

from pathlib import Path

from tests.pipelines.lakes import result_of, trichord
from tests.transforms.samples import sound, tone

LINE = "3 files with endings that are not read (.m4a 2, .doc 1)"
PROJECT = "lake: lake\nengine: {workers: 1}\nsources:\n- {name: a, kind: folder, path: in}\n"


def test_files_that_are_not_read_are_counted_in_every_output(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.wav").write_bytes(sound(tone(1.0)))
    for name in ("a.m4a", "b.M4A", "notes.doc"):
        (tmp_path / "in" / name).write_bytes(b"not read")
    project = tmp_path / "trichord.yaml"
    project.write_text(PROJECT)
    given = ("--project", str(project))
    planned = result_of(trichord("plan", *given, "--json"))
    assert planned["ignored_files"] == 3
    assert planned["ignored_endings"] == {".m4a": 2, ".doc": 1}
    assert planned["warnings"] == [f"Source a: {LINE}."]
    shown = trichord("prepare", *given, "--report", str(tmp_path / "page.html")).stdout
    assert LINE in " ".join(shown.split())
    assert LINE in (tmp_path / "page.html").read_text()
    assert "3 files with endings that are not read" in (tmp_path / "dataset_card.md").read_text()
    again = result_of(trichord("prepare", *given, "--json"))
    assert again["ignored_endings"] == {".m4a": 2, ".doc": 1}
    assert LINE in " ".join(trichord("doctor", *given, check=None).stdout.split())
