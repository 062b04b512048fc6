"""`gc --delete` beside a run: no file that the run uses goes, wherever in the run it starts."""

from __future__ import annotations

import threading

import pytest

from tests.pipelines.lakes import rows_of, trichord, workspace_of, write_rows
from trichord.infra import log
from trichord.infra.lake import layout, presence
from trichord.infra.lake.storage import Storage
from trichord.pipelines.publish.gc import gc
from trichord.pipelines.publish.verify import verify
from trichord.pipelines.reindex import RunSummary, reindex

UNNEEDED = ("gc_grace_s=0", "keep_publications=1")


@pytest.fixture
def returning(lake_copy):
    """A project whose rows went and came back: a run finds shards of old that nothing names any more."""
    corpus = lake_copy.parent / "corpus"
    rows = rows_of(corpus)
    write_rows(corpus, rows[30:])
    other = reindex(workspace_of(lake_copy, *UNNEEDED))
    write_rows(corpus, rows)
    return lake_copy, other


def test_gc_at_any_event_of_a_run_removes_nothing(returning, indexed, monkeypatch):
    project, _ = returning
    workspace, found, report = workspace_of(project, *UNNEEDED), [], log.event
    assert gc(workspace, delete=False).files > 20

    def event(name: str, **fields: object) -> None:
        report(name, **fields)
        found.append((name, gc(workspace, delete=True)))

    monkeypatch.setattr(log, "event", event)
    summary = reindex(workspace)
    monkeypatch.undo()
    assert summary.manifest_digest == indexed[1]["manifest_digest"]
    assert {name for name, _ in found} >= {"committed", "encode_done", "index_built", "gate", "publish"}
    assert {(one.removed, one.at_work) for _, one in found} == {(False, ("reindex",))}
    verify(workspace)
    assert gc(workspace, delete=True).files > 0
    verify(workspace)
    assert reindex(workspace).unchanged


@pytest.mark.full
def test_a_run_that_starts_while_gc_removes_files_waits_and_then_makes_them_again(returning, indexed, monkeypatch):
    project, _ = returning
    workspace, waiting, remove = workspace_of(project, *UNNEEDED), threading.Event(), Storage.delete
    threads: list[threading.Thread] = []
    summaries: list[RunSummary] = []

    def delete(storage: Storage, uri: str) -> None:
        if not threads and layout.PRESENCE not in uri:
            threads.append(threading.Thread(target=lambda: summaries.append(reindex(workspace))))
            threads[0].start()
            assert waiting.wait(60)
            assert not summaries
        remove(storage, uri)

    monkeypatch.setattr(Storage, "delete", delete)
    monkeypatch.setattr(log, "event", lambda name, **fields: waiting.set())
    removed = gc(workspace, delete=True)
    threads[0].join(120)
    assert removed.removed
    assert removed.files > 20
    assert summaries[0].manifest_digest == indexed[1]["manifest_digest"]
    verify(workspace)


def test_the_command_says_that_a_run_is_at_work(lake_copy):
    with presence.at_work(workspace_of(lake_copy).lake, "reindex"):
        done = trichord("gc", "--delete", "--project", str(lake_copy), "--set", "gc_grace_s=0")
    assert "Nothing was removed: reindex at work" in done.stdout
