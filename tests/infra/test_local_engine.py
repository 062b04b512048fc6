"""What only the local engine promises: lean workers, no orphans, an untouched stdout."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.infra import engine_tasks as tasks
from trichord.infra.config import EngineConfig
from trichord.infra.engines import Done, Failed
from trichord.infra.engines.local import LocalEngine
from trichord.infra.errors import PartialRun

ROOT = Path(__file__).parents[2]
DRIVER = """
import sys
from trichord.infra.config import EngineConfig
from trichord.infra.engines import open_engine
from tests.infra import engine_tasks as tasks
with open_engine(EngineConfig(workers=2)) as engine:
    for outcome in engine.map({task}, range({items})):
        print(outcome, file=sys.stderr)
"""


def start_driver(task: str, items: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER.format(task=task, items=items)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_end(pid: int, limit_s: float = 30) -> None:
    """Wait until a process that may not be our child has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], limit_s)[0], f"process {pid} still runs"
    finally:
        os.close(descriptor)


def test_a_users_thread_settings_do_not_reach_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("OMP", "OPENBLAS", "MKL"):
        monkeypatch.setenv(f"{library}_NUM_THREADS", "4")
    with LocalEngine(EngineConfig(workers=1)) as engine:
        assert list(engine.map(tasks.blas_threads, [0])) == [Done(0, {1})]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_driver_leaves_no_worker_behind(how: signal.Signals) -> None:
    driver = start_driver("tasks.never_ends", 2)
    assert driver.stdout is not None
    workers = [int(driver.stdout.readline()) for _ in range(2)]
    driver.send_signal(how)
    driver.wait()
    for pid in workers:
        wait_for_end(pid)
    driver.communicate()


def test_workers_import_only_what_their_task_needs() -> None:
    with LocalEngine(EngineConfig(workers=1)) as engine:
        assert list(engine.map(tasks.loaded_modules, [0])) == [Done(0, set())]


def test_stdout_of_tasks_goes_where_the_drivers_goes() -> None:
    driver = start_driver("tasks.talk", 2)
    said, log = driver.communicate()
    assert sorted(said.splitlines()) == ["said 0", "said 1"], log


def test_workers_are_kept_between_maps_and_ended_by_close() -> None:
    with LocalEngine(EngineConfig(workers=1)) as engine:
        (first,) = engine.map(tasks.process_id, [0])
        (second,) = engine.map(tasks.process_id, [0])
        assert isinstance(first, Done)
        assert first == second
        os.kill(first.result, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(first.result, 0)


def test_a_map_that_is_dropped_ends_what_was_under_way() -> None:
    with LocalEngine(EngineConfig(workers=2)) as engine:
        outcomes = engine.map(tasks.process_id, iter(range(100)))
        first = next(outcomes)
        outcomes.close()  # type: ignore[attr-defined]
        assert isinstance(first, Done)
        assert [outcome.result for outcome in engine.map(tasks.square, range(3)) if isinstance(outcome, Done)]


def test_workers_killed_from_outside_cost_no_item() -> None:
    with LocalEngine(EngineConfig(workers=2, retries=2)) as engine:
        answered = []
        for outcome in engine.map(tasks.process_id, range(40)):
            assert isinstance(outcome, Done)
            answered.append(outcome.item)
            if outcome.item % 8 == 0:
                os.kill(outcome.result, signal.SIGKILL)
        assert sorted(answered) == list(range(40))


def test_workers_are_forks_of_one_process_which_is_replaced_if_it_is_killed() -> None:
    with LocalEngine(EngineConfig(workers=1)) as engine:
        for _ in range(2):
            (outcome,) = engine.map(tasks.process_id, [0])
            assert isinstance(outcome, Done)
            template = engine._template._process
            assert template is not None
            assert psutil.Process(outcome.result).ppid() == template._process.pid
            os.kill(template._process.pid, signal.SIGKILL)
            os.kill(outcome.result, signal.SIGKILL)


def test_a_worker_inherits_no_descriptor_but_its_own() -> None:
    with LocalEngine(EngineConfig(workers=3)) as engine:
        list(engine.map(tasks.process_id, range(30)))
        for worker in engine._all:
            assert len(os.listdir(f"/proc/{worker._process.pid}/fd")) == 4  # three streams and its socket


def test_what_a_killed_worker_left_is_gone_when_the_engine_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with LocalEngine(EngineConfig(workers=1, retries=0)) as engine:
        [outcome] = engine.map(tasks.dies_with_scratch, [1])
        assert isinstance(outcome, Failed)
        assert [path.name for path in tmp_path.glob("trichord-test-*")]
    assert not list(tmp_path.glob("trichord-*"))


def test_a_failed_grouping_ends_what_is_under_way_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    documents = [("slow", ""), ("a", "one two"), ("x", "")]
    with LocalEngine(EngineConfig(workers=2)) as engine:
        for _ in range(3):
            with pytest.raises(PartialRun, match="x cannot be emitted"):
                list(engine.group(documents, tasks.emit_or_hang, tasks.rows_of, buckets=2))
            assert list(tmp_path.iterdir()) == []
        dropped = engine.group(documents[1:2] * 8, tasks.emit_words, tasks.rows_of, buckets=4)
        next(dropped)
        dropped.close()  # type: ignore[attr-defined]
        assert list(tmp_path.iterdir()) == []
