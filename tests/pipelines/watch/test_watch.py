"""The watcher: what events name is published, acknowledged after its commit, and tried again where that fails."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.command import trichord
from tests.pipelines.lakes import copy_of, result_of, workspace_of
from tests.pipelines.watch.small import RECORDS, put
from tests.sqs_server import SqsServer
from trichord.infra.errors import ConfigError, GateFailed, SourceError
from trichord.infra.events.counts import Counts
from trichord.infra.events.event import Event
from trichord.infra.lake.lease import leased
from trichord.infra.lake.storage import Changed
from trichord.pipelines.core.runs import last_runs
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.reindex import reindex
from trichord.pipelines.search.search import search
from trichord.pipelines.watch.loop import Watcher, _lag, watch

ZEBRA = "a zebra crosses the quiet road"


def settings_of(server: SqsServer, *more: str) -> tuple[str, ...]:
    return f"watch.queues=[{server.url('photos')}]", "watch.quiet_s=0", *more


def tell(server: SqsServer, *paths: str | Path) -> None:
    server.queues.put("photos", *(json.dumps({"uris": [str(path)]}) for path in paths))


def digest_of(project: Path, *overrides: str) -> str:
    """Digest of the index of a whole run on a lake of its own over the same files, with the same model."""
    return reindex(workspace_of(project, *overrides)).manifest_digest


def change(project: Path) -> list[str]:
    """Change, add and remove records; the paths of all their files."""
    data = project.parent / "data"
    told = [*put(data, 3, version=1), *put(data, RECORDS), str(data / "5" / "n5.png"), str(data / "5" / "n5.txt")]
    (data / "zebra.txt").write_text(ZEBRA)
    for path in told[-2:]:
        Path(path).unlink()
    return [*told, str(data / "zebra.txt")]


def test_what_messages_name_is_searchable_and_equals_a_whole_run(
    project: Path, server: SqsServer, tmp_path: Path
) -> None:
    told = change(project)
    whole = copy_of(project.parent, tmp_path / "whole")
    told = [told[-2], *reversed(told), *told[:3], str(project.parent / "data" / "5" / "n5.wav")]  # doubled, reordered
    tell(server, *told)
    options = [word for setting in settings_of(server) for word in ("--set", setting)]
    result = result_of(trichord("watch", "--once", "--project", str(project), "--json", *options))
    assert server.queues.waiting("photos") == []
    assert set(result) == {"messages", "runs", "waiting", "events_missed", "lag_s"}
    assert result["messages"] == {"sqs:photos": {"accepted": len(told), "done": len(told)}}
    assert (result["runs"], result["waiting"], result["events_missed"]) == ({"committed": 1}, 0, 0)
    workspace = workspace_of(project)
    assert workspace.publications.require_live().manifest_digest == digest_of(whole)
    assert reindex(workspace).unchanged
    hits = search(workspace, text=ZEBRA, image=None, audio=None, k=1)["hits"]
    assert hits[0]["key"] == "zebra"
    assert [run.trigger for run in last_runs(workspace.lake)] == ["command", "event", "command"]


def test_a_message_is_deleted_after_the_commit_and_a_death_between_them_does_no_harm(
    project: Path, server: SqsServer
) -> None:
    workspace = workspace_of(project, *settings_of(server))
    told = change(project)
    tell(server, *told)
    server.queues.failing.add("DeleteMessageBatch")
    watch(workspace, once=True)
    first = workspace.publications.require_live()
    waiting = server.queues.waiting("photos")
    assert len(waiting) == len(told)
    server.queues.expire("photos")  # as if the watcher had been killed long ago
    server.queues.failing.clear()
    again = watch(workspace, once=True)
    assert server.queues.waiting("photos") == []
    assert again.runs == {"unchanged": 1}
    assert workspace.publications.require_live() == first


def test_a_refused_gate_keeps_the_messages_and_the_old_index_until_data_passes(
    project: Path, server: SqsServer
) -> None:
    workspace = workspace_of(project, *settings_of(server, "gate.max_row_drop=0.0"))
    live, data = workspace.publications.require_live(), project.parent / "data"
    gone = [*data.glob("1/*"), *data.glob("2/*")]
    kept = {path: path.read_bytes() for path in gone}
    for path in gone:
        path.unlink()
    tell(server, *gone)
    with pytest.raises(GateFailed):
        watch(workspace, once=True)
    waiting = server.queues.waiting("photos")
    assert len(waiting) == len(gone)
    assert all(message.receives == 1 for message in waiting)
    assert workspace.publications.require_live() == live
    watcher = Watcher(workspace)
    watcher._sweep_at_s = 1e12
    offer(watcher, gone)
    watcher.step()
    assert watcher.summary().runs == {"GateFailed": 1}
    assert watcher.inbox.waiting == len(gone)
    for path, content in kept.items():
        path.write_bytes(content)
    offer(watcher, gone[:1])
    watcher.step()
    assert watcher.inbox.waiting == 0, "new data came before the pause was over"
    assert workspace.publications.require_live().manifest_digest == live.manifest_digest


class Silent:
    """A channel without a sender."""

    name = "test"

    def start(self) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""

    def acknowledge(self, receipts: Any) -> None:
        """Nothing."""

    def problem(self) -> None:
        """Nothing."""


def offer(watcher: Watcher, paths: list[Path]) -> None:
    for path in paths:
        assert watcher.inbox.offer(Silent(), "", [Event(uri=str(path))]) == "accepted"


def with_rows(project: Path, *overrides: str) -> tuple[Workspace, Path]:
    """The project with a second source, a manifest."""
    rows = project.parent / "rows" / "rows.jsonl"
    rows.parent.mkdir()
    rows.write_text(
        "".join(json.dumps({"id": f"row{i}", "text": f"{ZEBRA} number {i} of many"}) + "\n" for i in range(9))
    )
    text = project.read_text()
    source = f"- {{kind: manifest, name: rows, path: {rows}}}\n"
    project.write_text(text.replace("sources:\n", f"sources:\n{source}"))
    return workspace_of(project, "watch.quiet_s=0", *overrides), rows


def test_a_source_that_fails_is_tried_again_and_two_sources_are_one_run(project: Path) -> None:
    workspace, rows = with_rows(project)
    reindex(workspace)
    away = rows.rename(rows.with_suffix(".away"))
    watcher = Watcher(workspace, pause_s=0.0)
    watcher._sweep_at_s = 1e12
    told = [Path(path) for path in put(project.parent / "data", 4, version=2)]
    offer(watcher, [rows, *told])
    for _ in range(2):
        watcher.step()
    assert watcher.summary().runs == {SourceError.__name__: 2}
    assert watcher.summary().waiting == 1 + len(told)
    away.rename(rows)
    rows.write_text(rows.read_text() + json.dumps({"id": "new", "text": "nothing like the others at all"}) + "\n")
    watcher.step()
    assert watcher.summary().runs == {SourceError.__name__: 2, "committed": 1}
    assert watcher.summary().waiting == 0
    assert reindex(workspace).unchanged


def test_a_sweep_finds_what_no_event_named_and_counts_it(project: Path) -> None:
    workspace, data = workspace_of(project, "watch.quiet_s=0"), project.parent / "data"
    watcher = Watcher(workspace)
    put(data, 2, version=1)
    watcher.step()
    assert watcher.summary().events_missed == 0, "the first one finds what changed while nobody watched"
    named = [Path(path) for path in put(data, 3, version=1)]
    put(data, 4, version=1)
    put(data, RECORDS + 1)
    (data / "broken.png").write_bytes(b"no picture")
    offer(watcher, named)
    watcher._sweep_at_s = 0.0
    watcher.step()
    assert watcher.summary().events_missed == 3
    assert watcher.summary().waiting == 0
    assert watcher.counts.runs == {"committed": 2}
    watcher._sweep_at_s = 0.0
    watcher.step()
    assert watcher.summary().events_missed == 3
    assert [run.trigger for run in last_runs(workspace.lake)][:3] == ["sweep"] * 3


def test_a_restart_neither_puts_a_sweep_off_nor_adds_one(project: Path) -> None:
    workspace = workspace_of(project, "watch.sweep_every_s=1000")
    assert Watcher(workspace)._seconds_to_sweep() == 0, "none was made yet"
    reindex(workspace, trigger="sweep")
    assert 900 < Watcher(workspace)._seconds_to_sweep() <= 1000
    assert Watcher(workspace_of(project, "watch.sweep_every_s=0.1"))._seconds_to_sweep() <= 0.1
    shutil.rmtree(project.parent / "lake")
    assert Watcher(workspace)._seconds_to_sweep() == 0, "nothing is published"


@pytest.mark.full
def test_a_run_waits_for_another_one_that_is_at_work(project: Path, server: SqsServer) -> None:
    workspace = workspace_of(project, *settings_of(server))
    tell(server, *put(project.parent / "data", 3, version=1))
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with leased(workspace.lake, "reindex"):
            held.set()
            let_go.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(60)
    threading.Timer(1.0, let_go.set).start()
    done = watch(workspace, once=True)
    holder.join()
    assert (done.runs, server.queues.waiting("photos")) == ({"committed": 1}, [])


def test_events_of_other_places_start_no_run(project: Path, server: SqsServer, tmp_path: Path) -> None:
    workspace = workspace_of(project, *settings_of(server, f"watch.dead_letters={tmp_path / 'dead'}"))
    runs = len(last_runs(workspace.lake))
    data = project.parent / "data"
    tell(server, "/etc/passwd", "s3://lake/x.txt", project.parent / "lake" / "x.txt", data / "notes.md", f"{data}/../x")
    done = watch(workspace, once=True)
    assert done.messages == {"sqs:photos": {"accepted": 1, "done": 1, "refused": 4}}
    assert (done.runs, len(last_runs(workspace.lake))) == ({}, runs)
    assert len(list((tmp_path / "dead").iterdir())) == 4


def test_a_project_with_nothing_to_watch_is_told_so(project: Path) -> None:
    done = trichord("watch", "--project", str(project), "--set", "watch.folders=false", check=ConfigError.exit_code)
    assert "nothing to watch" in done.stderr
    done = trichord("watch", "--once", "--project", str(project), check=ConfigError.exit_code)
    assert "watch.queues" in done.stderr
    listen = ("--set", "watch.listen=127.0.0.1:0")
    done = trichord("watch", *listen, "--project", str(project), check=ConfigError.exit_code)
    assert "watch.token_file or watch.hook_keys" in done.stderr


def test_a_sweep_that_fails_is_tried_again_as_a_sweep_and_pauses_are_bounded(project: Path) -> None:
    workspace, rows = with_rows(project)
    away = rows.rename(rows.with_suffix(".away"))
    watcher = Watcher(workspace, pause_s=0.0)
    for _ in range(2):
        watcher.step()
    watcher._failures = 5_000
    watcher.step()
    assert watcher.counts.runs == {SourceError.__name__: 3}
    away.rename(rows)
    watcher.step()
    assert watcher.counts.runs == {SourceError.__name__: 3, "committed": 1}
    assert [run.trigger for run in last_runs(workspace.lake)][:4] == ["sweep"] * 4


def test_files_that_change_meanwhile_put_no_run_off_for_long(project: Path) -> None:
    watcher = Watcher(workspace_of(project))
    pauses = []
    for error in (Changed.of("a"), Changed.of("b"), SourceError("c"), Changed.of("d"), SourceError("e")):
        watcher._put_off(error)
        pauses.append(round((watcher._retry_at_s or 0) - time.monotonic()))
    assert pauses == [5, 5, 5, 5, 10]


@pytest.mark.parametrize(("at_s", "lag_s"), [(None, 2.0), (95.0, 5.0), (-1e9, 2.0), (1e12, 2.0)])
def test_a_lag_is_that_of_a_time_that_can_be(at_s: float | None, lag_s: float) -> None:
    assert _lag(at_s, received_s=98.0, now_s=100.0) == lag_s


def test_counts_are_plain_numbers() -> None:
    counts = Counts()
    counts.see_lags([1.0, 3.0])
    assert (counts.lag_s, counts.lagged, counts.last_lag_s) == (4.0, 2, 3.0)
