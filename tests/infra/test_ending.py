"""A signal lets running tasks finish, begins no more, and ends the process with its code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import functools, sys, time
from pathlib import Path
from tests.infra.sleepers import sleep_and_write
from trichord.infra import ending, log
from trichord.infra.config import EngineConfig
from trichord.infra.engines import open_engine
from trichord.infra.engines.base import LONG_S
from trichord.pipelines.cli.signals import exit_on_signals

folder, seconds, grace_s, kind, limit = sys.argv[1:]
ending.GRACE_S = float(grace_s)
log.configure(as_json=True)
with exit_on_signals(), open_engine(EngineConfig(kind=kind, workers=2)) as engine:
    task = functools.partial(sleep_and_write, folder=folder, seconds=float(seconds))
    for outcome in engine.map(task, range(20), timeout_s=LONG_S if limit == 'long' else None):
        print(outcome.item, flush=True)
"""


def run(
    folder: Path, seconds: float, *, grace_s: float = 25, signals: int = 1, kind: str = "local", long: bool = False
):
    """Send a signal while two tasks run; return the exit code, the seconds to the end, and the last event."""
    arguments = [str(folder), str(seconds), str(grace_s), kind, "long" if long else "short"]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while len(list(folder.glob("*.begun"))) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    sent = time.monotonic()
    for _ in range(signals):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.6 if signals > 1 else 0)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err, err
    events = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    return process.returncode, time.monotonic() - sent, events[-1], out.split()


@pytest.mark.parametrize("kind", ["local", pytest.param("ray", marks=pytest.mark.full)])
def test_running_tasks_finish_and_no_more_are_begun(tmp_path, kind):
    code, _, last, out = run(tmp_path, 1.5, kind=kind)
    assert code == 143
    # a worker of Ray may start so late that the other one has begun its second task before both run
    most, least_finished = (2, 2) if kind == "local" else (4, 1)
    assert 2 <= len(list(tmp_path.glob("*.begun"))) == len(list(tmp_path.glob("*.ended"))) == len(out) <= most
    assert (last["event"], last["tasks_ended"]) == ("interrupted", 0)
    assert least_finished <= last["tasks_finished"] <= 2


def test_what_outlasts_the_grace_is_ended(tmp_path):
    code, seconds, last, _ = run(tmp_path, 50, grace_s=1)
    assert code == 143
    assert 1 <= seconds < 15
    assert not list(tmp_path.glob("*.ended"))
    assert (last["tasks_finished"], last["tasks_ended"]) == (0, 2)


@pytest.mark.full
def test_a_second_signal_ends_it_at_once(tmp_path):
    code, seconds, _, _ = run(tmp_path, 50, signals=2)
    assert code == 143
    assert seconds < 10


@pytest.mark.full
def test_a_task_that_may_take_hours_gets_no_grace(tmp_path):
    code, seconds, last, _ = run(tmp_path, 50, long=True)
    assert code == 143
    assert seconds < 10
    assert last["tasks_ended"] == 2
