"""One small indexed lake for the tests of the watcher; each works on a copy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.lakes import copy_of, trichord, workspace_of
from tests.pipelines.watch.small import write_small_project
from tests.shared import made_once
from tests.sqs_server import CREDENTIALS, SqsServer
from tests.warm_workers import warm_workers
from trichord.pipelines.prepare.plan import make_plan


@pytest.fixture(scope="session")
def small(shared_folder: Path) -> Path:
    """Folder of a small project that was reindexed once. Read only."""
    return made_once(shared_folder / "small", _index)


def _index(folder: Path) -> None:
    with warm_workers():
        trichord("reindex", "--project", str(write_small_project(folder)))


@pytest.fixture
def project(small: Path, tmp_path: Path) -> Path:
    """Project file of a copy that may be changed."""
    copied = copy_of(small, tmp_path / "copy")
    make_plan(workspace_of(copied))  # the last plan is of a source at another place
    return copied


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SqsServer]:
    """Queues in memory, for this process and those that it starts."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with SqsServer() as running:
        yield running
