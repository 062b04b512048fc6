"""One indexed lake for all tests of the jobs; those that change something work on a copy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.lakes import copy_of, result_of, trichord, write_project
from tests.shared import made_once
from tests.warm_workers import warm_workers


@pytest.fixture(scope="module", autouse=True)
def _warm_workers() -> Iterator[None]:
    """Tests of the jobs share worker processes: what a fresh one imports takes longer than their work."""
    with warm_workers():
        yield


@pytest.fixture(scope="session")
def indexed(shared_folder: Path) -> Iterator[tuple[Path, dict]]:
    """A project that was reindexed once, and the run's summary. Read only."""
    folder = made_once(shared_folder / "indexed", _index)
    yield folder / "trichord.yaml", json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert len(list((folder / "lake" / "_runs").iterdir())) == 1, "a test ran on the lake that all tests share"


def _index(folder: Path) -> None:
    with warm_workers():
        summary = result_of(trichord("reindex", "--project", str(write_project(folder)), "--json"))
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")


@pytest.fixture
def lake_copy(indexed: tuple[Path, dict], tmp_path: Path) -> Path:
    """Project file of a copy that may be changed."""
    return copy_of(indexed[0].parent, tmp_path / "copy")
