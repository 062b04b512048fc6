"""The examples as a fresh clone has them, and the same with the lake that the README makes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import REPOSITORY
from tests.pipelines.lakes import trichord
from tests.shared import made_once
from tests.warm_workers import warm_workers

EXAMPLES = REPOSITORY / "examples"


@pytest.fixture(scope="module", autouse=True)
def _warm_workers() -> Iterator[None]:
    with warm_workers():
        yield


@pytest.fixture(scope="session")
def indexed_examples(shared_folder: Path) -> Path:
    """The folder `examples/` after two runs of `trichord reindex`: there is one to roll back to. Read only."""
    return made_once(shared_folder / "examples", _index)


def _index(folder: Path) -> None:
    copy_examples(EXAMPLES, folder)
    with warm_workers():
        for settings in (("index.rows_per_shard=150",), ()):
            flags = [f"--set={setting}" for setting in ("engine.workers=1", *settings)]
            trichord("reindex", *flags, cwd=folder)


@pytest.fixture
def examples(indexed_examples: Path, tmp_path: Path) -> Path:
    """A copy of the indexed examples that may be changed."""
    return copy_examples(indexed_examples, tmp_path / "examples")


@pytest.fixture
def fresh_examples(tmp_path: Path) -> Path:
    """The examples as a fresh clone has them."""
    return copy_examples(EXAMPLES, tmp_path / "examples")


def copy_examples(source: Path, target: Path) -> Path:
    """Copy the folder; a lake that a developer left in the checkout stays behind."""
    left = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", *(["lake"] if source == EXAMPLES else []))
    return Path(shutil.copytree(source, target, dirs_exist_ok=True, ignore=left))
