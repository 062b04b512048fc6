"""Every command of the README runs as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import yaml

from tests.pipelines.lakes import rows_of, trichord
from trichord.infra.project import load_project

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


def test_every_command_of_the_readme_runs(lake_copy, tmp_path):
    commands = [line.split("#")[0].strip() for line in README.splitlines() if re.match(r"trichord \w", line)]
    assert len(commands) >= 10
    folder = lake_copy.parent
    row = next(row for row in rows_of(folder / "corpus") if row["image"].endswith(".jpg"))
    shutil.copy(folder / "corpus" / row["image"], folder / "photo.jpg")
    shutil.copytree(folder / "corpus", tmp_path / "data")
    (tmp_path / "data" / "manifest.jsonl").rename(tmp_path / "data" / "products.jsonl")
    # a second publication, so that there is one to roll back to
    trichord("reindex", "--set", "index.rows_per_shard=50", cwd=folder)
    for command in commands:
        words = [row["id"] if word == "KEY" else word for word in shlex.split(command)[1:]]
        where = tmp_path / "data" if words[0] == "init" else folder
        trichord(*words, cwd=where)


def test_the_project_file_of_the_readme_is_valid(tmp_path):
    (block,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.S)
    (tmp_path / "trichord.yaml").write_text(block)
    project = load_project(tmp_path / "trichord.yaml")
    assert project.sources[0].name == yaml.safe_load(block)["sources"][0]["name"]


def test_every_document_that_the_readme_links_to_is_there():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (Path(__file__).parents[3] / target).exists(), target
