"""Observers of runs: nothing that they meet fails or stalls a run; what is not configured is not imported."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from tests.pipelines.lakes import trichord, workspace_of
from tests.pipelines.observe.receivers import hanging, refusing
from trichord.infra.errors import ConfigError, SourceError
from trichord.pipelines.core.runs import RunNote, last_runs, recorded
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.observe import alerts, outbox
from trichord.pipelines.observe.observers import observing, require_library, wants_lineage, wants_traces
from trichord.pipelines.observe.outbox import Outbox

KEY = "whsec_" + base64.b64encode(b"k" * 32).decode()
LINEAGE = {"TYPE": "http", "TIMEOUT": "2", "RETRY": '{"total": 0}'}


def run_that_ends(workspace: Workspace, error: BaseException) -> float:
    """Run what ends with an error; return the seconds until the run itself began."""
    started_s = within_s = time.monotonic()
    with (
        suppress(type(error)),
        observing(workspace) as observers,
        recorded(workspace.lake, "reindex", "command", observers),
    ):
        within_s = time.monotonic() - started_s
        raise error
    return within_s


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    return path


@pytest.mark.parametrize("place", [hanging, refusing])
def test_receivers_that_hang_or_refuse_neither_fail_nor_stall_a_run(
    place: Callable[[], AbstractContextManager[str]],
    indexed: tuple[Path, dict],
    tmp_path: Path,
    key_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(outbox, "WAIT_S", 1.5)
    monkeypatch.setattr(alerts, "_BACKOFF_S", 0.0)
    monkeypatch.setattr(alerts, "_TIMEOUT_S", 2.0)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    with place() as url:
        for name, value in {**LINEAGE, "URL": url}.items():
            monkeypatch.setenv(f"OPENLINEAGE__TRANSPORT__{name}", value)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        workspace = workspace_of(
            indexed[0],
            f"lake={tmp_path / 'lake'}",
            f"metrics.push_gateway={url}",
            f"metrics.textfile={tmp_path / 'no such folder' / 'x.prom'}",
            f"alerts.url={url}/hook",
            f"alerts.key_file={key_file}",
        )
        started_s = time.monotonic()
        within_s = run_that_ends(workspace, SourceError("the bucket is gone"))
        took_s = time.monotonic() - started_s
    for thread in threading.enumerate():
        if thread.name in ("metrics", "alerts", "lineage", "traces"):
            thread.join()  # or it would write into the next test
    assert within_s < 1
    assert took_s < 5
    [note] = last_runs(workspace.lake)
    assert (note.exit_code, note.error) == (7, "SourceError: the bucket is gone")
    said = capsys.readouterr().err
    assert {name for name in ("metrics", "alerts", "lineage", "traces") if f"receiver={name}" in said} == {
        "metrics", "alerts", "lineage", "traces",
    }  # fmt: skip
    assert "no such folder" in said, "the file could not be written"
    assert all(f"run={note.id}" in line for line in said.splitlines() if "receiver=" in line and "within" not in line)


def test_a_signal_leaves_them_little_time(monkeypatch: pytest.MonkeyPatch, lake_copy: Path) -> None:
    monkeypatch.setattr(outbox, "SIGNALLED_WAIT_S", 0.2)
    with hanging() as url:
        workspace = workspace_of(lake_copy, f"metrics.push_gateway={url}")
        started_s = time.monotonic()
        run_that_ends(workspace, SystemExit(143))
        took_s = time.monotonic() - started_s
    for thread in threading.enumerate():
        if thread.name == "metrics":
            thread.join()
    assert took_s < 3


def test_letters_are_sent_in_order_and_one_that_fails_is_no_more_than_an_event(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sent, box = list[str](), Outbox("somebody")

    def fail() -> None:
        raise ValueError("https://user:secret@host/ did not answer\nat all")

    for letter in (lambda: sent.append("first"), fail, lambda: sent.append("last")):
        box.send(letter)
    outbox.close([box])
    assert sent == ["first", "last"]
    said = capsys.readouterr().err
    assert "not_sent  receiver=somebody  why=https://REDACTED@host/ did not answer" in said
    assert "secret" not in said


def test_nothing_is_imported_for_what_is_not_configured(indexed: tuple[Path, dict]) -> None:
    code = f"""
import sys
from trichord.pipelines.api import open_workspace
from trichord.pipelines.core.runs import RunNote
from trichord.pipelines.observe.observers import observing
with observing(open_workspace({str(indexed[0])!r})) as observers:
    assert observers == []
print([name for name in ("openlineage", "opentelemetry", "prometheus_client", "standardwebhooks", "torch")
       if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_the_environment_says_whether_lineage_and_traces_are_wanted() -> None:
    assert not wants_lineage({})
    assert wants_lineage({"OPENLINEAGE_URL": "http://x"})
    assert wants_lineage({"OPENLINEAGE__TRANSPORT__TYPE": "file"})
    assert not wants_lineage({"OPENLINEAGE_URL": "http://x", "OPENLINEAGE_DISABLED": "True"})
    assert not wants_traces({"OTEL_SERVICE_NAME": "x"})
    assert wants_traces({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x/v1/traces"})
    assert not wants_traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"})
    assert not wants_traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"})


def test_a_library_that_is_missing_is_named_before_the_run_begins(lake_copy: Path) -> None:
    with pytest.raises(ConfigError, match=r"pip install 'trichord\[observability\]'"):
        require_library("no_such_library", "`metrics` of the project file")


def test_a_failed_run_leaves_its_stage_and_a_run_that_changes_nothing_confirms(lake_copy: Path) -> None:
    lake = workspace_of(lake_copy).lake
    with suppress(ZeroDivisionError), recorded(lake, "reindex") as note, note.at_stage("index"):
        raise ZeroDivisionError
    assert last_runs(lake)[0].stage == "index"
    trichord("reindex", "--project", str(lake_copy))
    again, _, first = last_runs(lake)
    assert (again.stage, again.confirmed, first.confirmed) == ("", True, True)
    assert again.sources == first.sources
    assert again.sources["demo"].rows == again.counts["rows_in"]
    shown = json.loads(trichord("runs", "show", again.id, "--project", str(lake_copy), "--json").stdout)
    assert shown["sources"]["demo"]["version"] == again.sources["demo"].version


def test_a_scoped_run_does_not_confirm(lake_copy: Path) -> None:
    trichord("reindex", "--source", "demo", "--prefix", "zzz", "--project", str(lake_copy))
    [scoped, _] = last_runs(workspace_of(lake_copy).lake)
    assert scoped.unchanged
    assert not scoped.confirmed


def test_notes_of_older_versions_are_read(lake_copy: Path) -> None:
    lake = workspace_of(lake_copy).lake
    [note] = last_runs(lake)
    stored = note.to_dict()
    for name in ("stage", "confirmed", "sources"):
        del stored[name]
    for times in stored["stages"].values():
        del times["after_s"]
    lake.write(f"_runs/{note.id}.json", json.dumps(stored).encode())
    [read] = last_runs(lake)
    assert isinstance(read, RunNote)
    assert (read.confirmed, read.sources, read.stages.keys()) == (False, {}, note.stages.keys())
