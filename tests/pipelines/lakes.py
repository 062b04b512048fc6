"""Small lakes for tests: a demo corpus, a project on it, and copies of a lake that was indexed once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.command import Finished, trichord, trichord_process
from trichord.infra.lake import layout
from trichord.infra.lake.schema import TABLES
from trichord.infra.project import load_project
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.demo.corpus import write_corpus

__all__ = ["trichord", "trichord_process"]  # beside what is defined here

RECORDS = 160
SETTINGS: dict[str, Any] = {
    "prepare": {"rows_per_partition": 24},
    "model": {"dimension": 32, "hidden": 64},
    "train": {"epochs": 2, "batch_size": 64},
    "index": {"rows_per_shard": 20},
    "gate": {"min_over_chance": 0.0, "max_recall_drop": 1.0},
}


def write_project(
    folder: Path,
    *,
    records: int = RECORDS,
    settings: Mapping[str, Any] = SETTINGS,
    defects: float | Mapping[str, float] = 0.013,
) -> Path:
    """A corpus in `folder/corpus` and a project file on it; one worker, because starting them takes longest."""
    write_corpus(folder / "corpus", records=records, seed=7, defects=defects)
    source = {"name": "demo", "kind": "manifest", "path": "corpus/manifest.jsonl"}
    path = folder / "trichord.yaml"
    path.write_text(yaml.safe_dump({"lake": "lake", "sources": [source], "engine": {"workers": 1}, **settings}))
    return path


def workspace_of(project: Path, *overrides: str) -> Workspace:
    """Open a project."""
    return Workspace(load_project(project, list(overrides)))


def copy_of(folder: Path, target: Path) -> Path:
    """Copy corpus, project and lake elsewhere; returns the project file. A lake knows no absolute path."""
    shutil.copytree(folder, target, dirs_exist_ok=True)
    return target / "trichord.yaml"


def result_of(done: Finished) -> dict[str, Any]:
    """The result: the last line on stdout."""
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def rows_of(corpus: Path) -> list[dict[str, Any]]:
    """The manifest's rows."""
    return [json.loads(line) for line in (corpus / "manifest.jsonl").read_text().splitlines()]


def write_rows(corpus: Path, rows: list[dict[str, Any]]) -> None:
    """Replace the manifest, atomically."""
    new = corpus / "manifest.tmp"
    new.write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.replace(new, corpus / "manifest.jsonl")


def addresses(workspace: Workspace) -> dict[str, dict[str, str]]:
    """Address and SHA-256 of every shard of every table's head."""
    tables = {name: workspace.table(name) for name in TABLES if name != "publications"}
    made = {name: table for name, table in tables.items() if table.version() is not None}
    return {name: {address: ref.sha256 for address, ref in table.shards().items()} for name, table in made.items()}


def unknown_files(lake: Path) -> list[str]:
    """Lake-relative paths of the files that `layout` does not know, temporary ones included."""
    paths = (path.relative_to(lake).as_posix() for path in lake.rglob("*") if path.is_file())
    return sorted(path for path in paths if layout.place_of(path) is None)
