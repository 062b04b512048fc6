"""Events: one JSON line each on stderr, nothing on stdout."""

from __future__ import annotations

import contextvars
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from trichord.infra import log
from trichord.infra.errors import ConfigError


@pytest.mark.usefixtures("json_events")
def test_an_event_is_one_json_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log.event("shard", rows=3, path=Path("/x"), text="two\nlines")
    log.event("done")
    said = capsys.readouterr()
    assert said.out == ""
    first, second = (json.loads(line) for line in said.err.splitlines())
    assert {**first, "at": ""} == {"at": "", "event": "shard", "rows": 3, "path": "/x", "text": "two\nlines"}
    assert second.keys() == {"at", "event"}


def test_without_json_an_event_is_one_plain_line_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    log.event("shard", rows=3, loss=0.123456, text="two\nlines\x1b", url="https://u:s3cr3t@host/")
    line = capsys.readouterr().err
    assert line.endswith(" shard  rows=3  loss=0.1235  text=two\\nlines\\u001b  url=https://REDACTED@host/\n")


def test_an_error_is_one_line_that_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    log.error(ConfigError("No lake here\nNext: trichord plan \x1b" + "x" * 5_000), 2)
    line = capsys.readouterr().err
    assert line.startswith("ConfigError: No lake here; Next: trichord plan \\u001bxxx")
    assert len(line) < 1_100


@pytest.mark.usefixtures("json_events")
def test_lines_carry_what_is_bound_around_them_in_threads_that_copy_the_context_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with log.bound(run="r", job="reindex"), log.bound(stage="vectors", partition="a"):
        log.event("inside", partition="b")
        run = contextvars.copy_context().run
        thread = threading.Thread(target=run, args=(log.event, "thread"))
        thread.start()
        thread.join()
    log.event("outside")
    inside, within_thread, outside = ({**json.loads(line), "at": ""} for line in capsys.readouterr().err.splitlines())
    around = {"run": "r", "job": "reindex", "stage": "vectors"}
    assert inside == {"at": "", "event": "inside", **around, "partition": "b"}, "what an event says itself counts"
    assert within_thread == {"at": "", "event": "thread", **around, "partition": "a"}
    assert outside.keys() == {"at", "event"}


def test_a_worker_says_of_which_run_and_which_shard_its_lines_are() -> None:
    done = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True, timeout=120, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    known = [{name: line.get(name) for name in ("event", "run", "partition", "address")} for line in lines]
    assert sorted(known, key=str) == [
        {"event": "made", "run": "r1", "partition": "demo/0", "address": "a0"},
        {"event": "made", "run": "r1", "partition": "demo/1", "address": "a1"},
        {"event": "made", "run": "r2", "partition": "demo/0", "address": "a0"},
    ], "a worker that is kept does not keep the run"


WORKER = """
from trichord.infra import log, stderr
from trichord.infra.config import EngineConfig
from trichord.infra.engines import open_engine
from tests.infra.engine_tasks import Made, make_shard, shard_factory

log.configure(as_json=True)
with stderr.own(), open_engine(EngineConfig(kind="local", workers=1)) as engine:
    with log.bound(run="r1"):
        list(engine.map(make_shard, [Made("demo/0", "a0"), Made("demo/1", "a1")]))
    with log.bound(run="r2"):
        list(engine.map_actors(shard_factory, [Made("demo/0", "a0")]))
"""


def test_a_terminal_sees_share_rate_and_time_left_of_a_step_with_a_pace() -> None:
    pace = {"done": 1_200, "of": 4_800, "rows_per_s": 85.04, "left_s": 3_725}
    with log.bound(stage="features"):
        line = log.live_line("reindex", "encoded", {"partition": "demo/0", **pace})
    assert line == "reindex · features  25%  1,200 of 4,800 rows  85.0 rows/s  1:02:05 left"
    assert log.live_line("reindex", "committed", {"table": "records"}).startswith("reindex  committed ×")
    assert "\x1b" not in log.live_line("reindex", "committed", {"table": "\x1b[31m"})
