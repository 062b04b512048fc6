"""One indexed lake for all tests of the jobs; those that change something work on a copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.lakes import copy_of, result_of, trichord, write_project


@pytest.fixture(scope="session")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A project that was reindexed once, and the run's summary. Read only."""
    folder = tmp_path_factory.mktemp("indexed")
    project = write_project(folder)
    return project, result_of(trichord("reindex", "--project", str(project), "--json"))


@pytest.fixture
def lake_copy(indexed: tuple[Path, dict], tmp_path: Path) -> Path:
    """Project file of a copy that may be changed."""
    return copy_of(indexed[0].parent, tmp_path / "copy")
