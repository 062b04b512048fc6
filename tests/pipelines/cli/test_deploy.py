"""`trichord deploy`: files for a project, all or none, and nothing overwritten by accident."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from tests.pipelines.lakes import result_of, trichord

PROJECT = "lake: lake\nsources:\n  - {name: photos, kind: folder, path: photos}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "home" / "trichord.yaml"
    path.parent.mkdir()
    path.write_text(PROJECT, encoding="utf-8")
    return path


def render(project: Path, *arguments: str, code: int = 0):
    return trichord("deploy", "render", *arguments, "--json", cwd=project.parent, check=code)


def test_the_files_of_all_targets_are_written_and_what_to_do_is_said(project):
    found = result_of(render(project, "all", "--lake", "s3://bucket/lake", "--secret", "AWS_SECRET_ACCESS_KEY"))
    assert set(found) == {"folder", "files", "notes"}
    listed = result_of(trichord("deploy", "ls", "--json"))["targets"]
    assert {name.partition("/")[0] for name in found["files"]} == set(listed)
    for name in found["files"]:
        assert (project.parent / "deploy" / name).is_file()
    assert any("copy what is in" in note for note in found["notes"])
    held = yaml.safe_load((project.parent / "deploy/kubernetes/base/trichord.yaml").read_text())
    assert held == yaml.safe_load(PROJECT)


def test_nothing_is_overwritten_without_force(project):
    render(project, "systemd")
    unit = project.parent / "deploy/systemd/trichord-nightly.timer"
    unit.write_text("mine", encoding="utf-8")
    for path in unit.parent.glob("*.service"):
        path.unlink()
    done = render(project, "systemd", code=2)
    assert "would be overwritten; nothing was written" in done.stderr
    assert [path.name for path in unit.parent.iterdir()] == [unit.name]
    assert unit.read_text() == "mine"
    render(project, "systemd", "--force")
    assert "OnCalendar" in unit.read_text()


def test_a_secret_in_the_project_file_is_refused_and_nothing_is_written(project):
    project.write_text(PROJECT + "# https://user:hunter2@host/\n", encoding="utf-8")
    done = render(project, "kubernetes", code=2)
    assert "trichord.yaml, line 4, would hold a secret" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert not (project.parent / "deploy").exists()


def test_the_files_that_a_project_extends_come_along_from_its_folder_only(project):
    base = project.with_name("base.yaml")
    base.write_text(PROJECT, encoding="utf-8")
    project.write_text("extends: base.yaml\n", encoding="utf-8")
    assert "kubernetes/base/base.yaml" in result_of(render(project, "kubernetes"))["files"]
    base.rename(project.parent.parent / "base.yaml")
    project.write_text("extends: ../base.yaml\n", encoding="utf-8")
    assert "the files of a deployment are in one folder" in render(project, "kubernetes", "--force", code=2).stderr


def test_what_containers_will_not_see_is_said(project, tmp_path):
    project.write_text(PROJECT.replace("path: photos", f"path: {tmp_path}/elsewhere"), encoding="utf-8")
    notes = result_of(render(project, "compose"))["notes"]
    assert any("elsewhere is outside" in note for note in notes)


def test_the_program_and_the_project_are_named_by_absolute_paths(project):
    render(project, "systemd", "airflow", "--project", "trichord.yaml")
    unit = (project.parent / "deploy/systemd/trichord-nightly.service").read_text()
    [started] = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    program, *_, last = started.removeprefix("ExecStart=").split()
    assert os.path.isabs(program)
    assert last == str(project)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["helm"], "unknown target: helm. There are airflow, "),
        (["docker", "--image", "trichord:latest"], "name a version"),
        (["systemd", "--schedule", "daily"], "expected five fields of cron"),
        (["systemd", "--timezone", "Mars/Olympus"], "unknown time zone"),
        (["compose", "--secret", "KEY=hunter2"], "never its value"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_in_one_message(project, arguments, why):
    done = render(project, *arguments, code=2)
    assert why in done.stderr
    assert "hunter2" not in done.stderr
    assert not (project.parent / "deploy").exists()
