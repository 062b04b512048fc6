"""The watcher's `/metrics`: the numbers of its events, and an answer while the lake cannot be read."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import pytest

from tests.pipelines.lakes import workspace_of
from trichord.infra.errors import StorageError
from trichord.infra.events.counts import Counts
from trichord.infra.events.inbox import Inbox
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.watch.metrics_page import metrics_pages


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    path = tmp_path / "trichord.yaml"
    path.write_text("lake: lake\nsources: [{name: s, kind: folder, path: data}]\n")
    return workspace_of(path)


def test_what_became_of_events_is_on_the_page(workspace: Workspace) -> None:
    counts = Counts()
    page = metrics_pages(workspace, counts, Inbox(lambda _: True, counts, 10))["/metrics"]
    counts.see("sqs", "done", 3)
    counts.see_missed(2)
    counts.see_lags([4.5, 6.0], [4.5])
    counts.see_lags([1.0, 6.0])
    status, kind, body = page()
    lines = {line.rsplit(" ", 1)[0].split("{")[0]: line for line in body.decode().splitlines() if line[0] != "#"}
    assert (status, kind.split(";")[0]) == (HTTPStatus.OK, "text/plain")
    assert 'channel="sqs",fate="done"' in lines["trichord_events_total"]
    values = {name: float(line.rsplit(" ", 1)[1]) for name, line in lines.items()}
    assert (values["trichord_events_total"], values["trichord_events_missed_total"]) == (3, 2)
    assert values["trichord_event_commit_lag_seconds"] == 6
    assert values["trichord_event_removal_lag_seconds"] == 4.5  # of the last run that was told of a deletion
    assert values["trichord_events_pending"] == values["trichord_event_lag_seconds"] == 0


def test_a_lake_that_cannot_be_read_is_an_answer(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise StorageError("s3://bucket is gone")

    monkeypatch.setattr("trichord.pipelines.observe.exposition.read_state", fail)
    status, _, body = metrics_pages(workspace, Counts(), Inbox(lambda _: True, Counts(), 10))["/metrics"]()
    assert status == HTTPStatus.SERVICE_UNAVAILABLE
    assert b"bucket" not in body
