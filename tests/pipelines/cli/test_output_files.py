"""No option for output replaces a file that is not such as its verb writes: least of all a project file or data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trichord.infra import digest
from trichord.infra.errors import ConfigError
from trichord.pipelines.cli.app import app
from trichord.pipelines.cli.output_files import CARD, comparison_file, page_file, plan_file, preparation_file
from trichord.pipelines.core.planned import FORMAT, write_plan
from trichord.pipelines.demo.run import run_demo

CHECKS = (page_file, preparation_file, plan_file, comparison_file)
OTHERS = (b"lake: lake\n", b'{"id": "a"}\n', b"\x89PNG\r\n", b"<", b"\xff\xfe\x00")


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("content", OTHERS)
def test_another_file_is_refused_and_left(tmp_path: Path, check: Callable[[Path | None], Path | None], content: bytes):
    file = tmp_path / "trichord.yaml"
    file.write_bytes(content)
    (link := tmp_path / "link").symlink_to(file)
    for path in (file, link):
        with pytest.raises(ConfigError, match="left as it is"):
            check(path)
    assert file.read_bytes() == content
    with pytest.raises(ConfigError, match="is a folder"):
        check(tmp_path)


@pytest.mark.parametrize("check", CHECKS)
def test_a_new_or_empty_file_and_what_is_none_are_taken(tmp_path: Path, check: Callable[[Path | None], Path | None]):
    (empty := tmp_path / "empty").touch()
    for path in (None, tmp_path / "new", tmp_path / "no" / "such", empty, Path("/dev/null"), Path("x" * 5_000)):
        assert check(path) == path


def test_what_the_verbs_write_is_replaced(tmp_path: Path):
    write_plan(plan := tmp_path / "plan.json", {"basis": {}})
    assert plan.read_bytes() == digest.canonical_json({"format": FORMAT, "plan": {"basis": {}}}) + b"\n"
    assert plan_file(plan) == plan
    (page := tmp_path / "page.html").write_text("<!doctype html>\n<html>")
    assert page_file(page) == page
    (tmp_path / CARD).write_text("---\nlicense: cc0-1.0\n")
    assert preparation_file(page) == page
    (tmp_path / CARD).write_text("# My own card\n")
    with pytest.raises(ConfigError, match=CARD):
        preparation_file(page)


def test_every_option_that_names_a_file_for_output_is_checked():
    found = {
        (command.callback.__name__, name)
        for command in app.registered_commands
        for name in ("report", "out")
        if command.callback and name in command.callback.__annotations__
    }
    assert found == {(verb, "report") for verb in ("prepare", "reindex", "compare", "diff")} | {
        ("plan", "out"), ("init", "out"), ("adapt", "out"),  # init has --force, adapt wants a new folder
    }  # fmt: skip


@pytest.mark.parametrize("content", ["lake: lake\nsources: []\n", "a: [", "[" * 5_000, "x"])
def test_a_demo_replaces_no_other_project(tmp_path: Path, content: str):
    (file := tmp_path / "trichord.yaml").write_text(content)
    with pytest.raises(ConfigError, match="nothing was touched"):
        run_demo(tmp_path, records=200, seed=0, open_page=False)
    assert (file.read_text(), list(tmp_path.iterdir())) == (content, [file])
