"""What only the Beam engine has: runners, their options, and outcomes that nobody may forge."""

from __future__ import annotations

import tempfile

import pytest

from tests.infra import engine_tasks as tasks
from trichord.infra.config import EngineConfig
from trichord.infra.engines import Done, open_engine
from trichord.infra.engines.base import Returned
from trichord.infra.engines.beam import _Sink
from trichord.infra.engines.failure import Failure
from trichord.infra.errors import ConfigError, PartialRun


def test_the_runner_s_own_processes_may_do_the_work() -> None:
    options = ("--direct_running_mode=multi_processing",)
    with open_engine(EngineConfig(kind="beam", workers=2, options=options)) as engine:
        outcomes = list(engine.map(tasks.process_id, range(8)))
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert len({outcome.result for outcome in outcomes if isinstance(outcome, Done)}) == 2


@pytest.mark.parametrize("mode", ["multi_threading", "multi_processing"])
def test_a_pipeline_leaves_nothing_in_the_temporary_folder(tmp_path, monkeypatch, mode) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    options = (f"--direct_running_mode={mode}",)
    with open_engine(EngineConfig(kind="beam", workers=1, options=options)) as engine:
        assert list(engine.map(tasks.square, [3])) == [Done(3, 9)]
    assert list(tmp_path.iterdir()) == []


def test_a_runner_on_other_machines_needs_a_place_that_all_reach() -> None:
    with (
        open_engine(EngineConfig(kind="beam", runner="FlinkRunner")) as engine,
        pytest.raises(ConfigError, match="temp"),
    ):
        list(engine.map(tasks.square, [1]))


def test_a_runner_that_does_not_exist_is_a_partial_run_with_its_name(tmp_path) -> None:
    options = (f"--temp_location={tmp_path}",)
    with (
        open_engine(EngineConfig(kind="beam", runner="NoSuchRunner", options=options)) as engine,
        pytest.raises(PartialRun, match="NoSuchRunner"),
    ):
        list(engine.map(tasks.square, [1]))


def test_outcomes_travel_through_the_temporary_location(tmp_path) -> None:
    options = (f"--temp_location={tmp_path}",)
    with open_engine(EngineConfig(kind="beam", workers=1, options=options)) as engine:
        assert list(engine.map(tasks.square, [3])) == [Done(3, 9)]
    assert list(tmp_path.iterdir()) == []  # and nothing of them stays


def test_lost_outcomes_are_a_partial_run_and_no_vanished_item(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(_Sink, "process", lambda self, outcome: None)  # as where a worker writes to its own disk
    with open_engine(EngineConfig(kind="beam", workers=1)) as engine:
        with pytest.raises(PartialRun, match="lost"):
            list(engine.map(tasks.square, [1, 2]))
        with pytest.raises(PartialRun, match="lost"):
            list(engine.group([("a", "b c")], tasks.emit_words, tasks.rows_of, buckets=2))


def test_of_two_tries_of_one_item_the_good_one_counts(tmp_path) -> None:
    sink = _Sink(str(tmp_path), b"the key of this run")
    first, only = (Failure(kind="died", message=message) for message in ("first try", "only try"))
    for number, outcome in ((0, Returned(1)), (0, first), (1, only)):
        sink.process((number, outcome))
    assert sink.read() == [(0, Returned(1)), (1, only)]


def test_an_outcome_that_somebody_changed_is_refused_before_it_is_read(tmp_path) -> None:
    sink = _Sink(str(tmp_path), b"the key of this run")
    sink.process((0, Returned(1)))
    assert sink.read() == [(0, Returned(1))]
    data = bytearray((tmp_path / "0-Returned").read_bytes())
    data[-2] ^= 1
    (tmp_path / "0-Returned").write_bytes(data)
    with pytest.raises(PartialRun, match="not what the pipeline wrote"):
        sink.read()
