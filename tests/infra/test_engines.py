"""The engine contract, the same cases over local processes, Ray and Beam."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.conftest import EngineMaker
from tests.infra import engine_tasks as tasks
from trichord.infra.digest import hash64
from trichord.infra.engines import Done, Failed
from trichord.infra.engines.failure import WorkerTraceback
from trichord.infra.errors import PartialRun

DOCUMENTS = [
    ("a", "der Hund und die Katze und der Ball"),
    ("b", ""),
    ("c", "ein Ball ist kein Hund"),
    ("d", "Katze Katze Katze"),
    ("e", "\u00e4\u00f6\u00fc \u732b dog"),
]


def by_item(outcomes: Iterator) -> dict[int, Done | Failed]:
    found = list(outcomes)
    answered = {outcome.item: outcome for outcome in found}
    assert len(answered) == len(found), "an item was answered twice"
    return answered


def test_every_item_is_answered_once(make_engine: EngineMaker) -> None:
    answered = by_item(make_engine(workers=2).map(tasks.square, range(40)))
    assert answered == {item: Done(item, item * item) for item in range(40)}


def test_a_raising_item_fails_alone_and_is_not_tried_again(make_engine: EngineMaker, tmp_path: Path) -> None:
    task = tasks.Trouble(str(tmp_path), {3: "raise"})
    answered = by_item(make_engine(workers=2).map(task, range(8)))
    failed = answered.pop(3)
    assert isinstance(failed, Failed)
    assert failed.failure.kind == "error"
    assert str(failed.failure).startswith("KeyError: 'item 3' (engine_tasks.py, line ")
    assert task.attempts(3) == 1
    assert all(isinstance(outcome, Done) for outcome in answered.values())


def test_an_error_of_ours_keeps_its_class_its_message_and_its_exit_code(
    make_engine: EngineMaker, tmp_path: Path
) -> None:
    task = tasks.Trouble(str(tmp_path), {0: "ours", 1: "local"})
    answered = by_item(make_engine(workers=2).map(task, range(2)))
    failures = {item: outcome.failure for item, outcome in answered.items() if isinstance(outcome, Failed)}
    ours = failures[0].error("not this")
    assert type(ours) is tasks.TwoArguments
    assert (str(ours), ours.exit_code) == ("model.dimension: a: b\nNext: c: d", 42)
    nearest = failures[1].error("not this")  # the nearest class that another process can import
    assert type(nearest) is tasks.SettingError
    assert (str(nearest), nearest.exit_code) == ("said: here\nand there", 42)
    for error in (ours, nearest):
        assert isinstance(error.__cause__, WorkerTraceback)
        assert "engine_tasks.py" in str(error.__cause__)
        assert "Traceback" not in str(error)


def test_an_error_of_others_is_shown_by_its_name_and_text_without_a_traceback(
    make_engine: EngineMaker, tmp_path: Path
) -> None:
    task = tasks.Trouble(str(tmp_path), {0: "foreign"})
    [outcome] = make_engine(workers=1).map(task, [0])
    assert isinstance(outcome, Failed)
    failure = outcome.failure
    assert (failure.error_type, failure.message) == ("tests.infra.engine_tasks.Unpicklable", "first: 1\nsecond: 2")
    error = failure.error(f"It failed: {failure}")
    assert type(error) is PartialRun
    assert "Traceback" not in str(error)
    assert "Traceback" in str(error.__cause__)


def test_an_error_of_ours_in_a_factory_or_a_group_is_raised_as_itself(make_engine: EngineMaker) -> None:
    engine = make_engine(workers=2)
    with pytest.raises(tasks.TwoArguments, match=r"^model\.path: there is: none$"):
        list(engine.map_actors(tasks.refusing_factory, range(3)))
    with pytest.raises(tasks.TwoArguments, match=r"^emit: [a-e]$"):
        list(engine.group(DOCUMENTS, tasks.emit_refused, tasks.rows_of, buckets=2))
    with pytest.raises(tasks.TwoArguments, match=r"^reduce: no: never$"):
        list(engine.group(DOCUMENTS, tasks.emit_words, tasks.refusing_reduce, buckets=2))


def test_an_item_that_ends_its_worker_is_retried_then_fails_alone(make_engine: EngineMaker, tmp_path: Path) -> None:
    task = tasks.Trouble(str(tmp_path), {2: "kill", 5: "segfault", 6: "exit"})
    answered = by_item(make_engine(workers=2, retries=1).map(task, range(10)))
    for item in (2, 5, 6):
        failed = answered.pop(item)
        assert isinstance(failed, Failed), failed
        assert failed.failure.kind == "died"
        assert failed.failure.message
        assert task.attempts(item) == 2
    assert answered == {item: Done(item, item * item) for item in answered}


def test_an_item_whose_worker_dies_once_is_done(make_engine: EngineMaker, tmp_path: Path) -> None:
    task = tasks.Trouble(str(tmp_path), {1: "kill"}, cured_after=1)
    answered = by_item(make_engine(workers=2, retries=1).map(task, range(4)))
    assert answered == {item: Done(item, item * item) for item in range(4)}
    assert task.attempts(1) == 2


def test_an_item_that_overruns_its_time_fails_alone(make_engine: EngineMaker, tmp_path: Path) -> None:
    task = tasks.Trouble(str(tmp_path), {1: "hang"})
    answered = by_item(make_engine(workers=2, retries=1, task_timeout_s=3).map(task, range(6)))
    failed = answered.pop(1)
    assert isinstance(failed, Failed)
    assert failed.failure.kind == "timeout"
    assert task.attempts(1) == 2
    assert answered == {item: Done(item, item * item) for item in answered}


def test_an_item_that_needs_more_memory_than_a_worker_may_take_fails_alone(make_engine: EngineMaker) -> None:
    engine = make_engine(workers=2, retries=0, worker_memory_bytes=3 << 30)
    answered = by_item(engine.map(tasks.greedy, [1, 2, 6 << 30, 3]))
    failed = answered.pop(6 << 30)
    assert isinstance(failed, Failed)
    assert failed.failure.kind == "died"
    assert answered == {item: Done(item, item) for item in (1, 2, 3)}


def test_items_are_pulled_lazily_and_few_are_under_way(make_engine: EngineMaker) -> None:
    if make_engine(workers=1).name == "beam":
        pytest.skip("a Beam pipeline is built from all of its input")
    pulled = 0

    def endless() -> Iterator[int]:
        nonlocal pulled
        for number in count(1):
            pulled = number
            yield number

    outcomes = make_engine(workers=2).map(tasks.square, endless())
    assert pulled == 0
    for answered in range(1, 30):
        assert isinstance(next(outcomes), Done)
        assert pulled - answered <= 4  # two under way, two finished but not yet handed out


def test_a_failing_source_of_items_is_the_callers_error(make_engine: EngineMaker) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the listing broke off")

    with pytest.raises(OSError, match="broke off"):
        list(make_engine(workers=2).map(tasks.square, broken()))


def test_without_items_nothing_is_started(make_engine: EngineMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine(workers=2)
    started = {
        "local": "trichord.infra.engines.local._Worker",
        "ray": "trichord.infra.engines.ray.RayEngine.start",
        "beam": "trichord.infra.engines.beam.beam.Pipeline",
    }[engine.name]
    monkeypatch.setattr(started, lambda *_: pytest.fail("a worker was started"))
    assert list(engine.map(tasks.square, [])) == []
    assert list(engine.map_actors(tasks.make_square, [])) == []  # type: ignore[arg-type]
    assert list(engine.group([], tasks.emit_words, tasks.rows_of, buckets=3)) == []


def test_a_factory_runs_once_a_worker_and_its_task_keeps_state(make_engine: EngineMaker, tmp_path: Path) -> None:
    outcomes = list(make_engine(workers=2).map_actors(tasks.MakeCounting(str(tmp_path)), range(20)))
    makers = {path.name for path in tmp_path.iterdir()}
    assert 1 <= len(makers) <= 2
    results = [outcome.result for outcome in outcomes if isinstance(outcome, Done)]
    assert len(results) == 20
    for maker in makers:
        seen = [number for name, number in results if name == maker]
        assert sorted(seen) == list(range(1, len(seen) + 1))


def test_a_raising_factory_ends_the_run_without_a_traceback_in_its_message(make_engine: EngineMaker) -> None:
    with pytest.raises(PartialRun, match="OSError: the model is not there") as caught:
        list(make_engine(workers=2).map_actors(tasks.raising_factory, range(5)))
    assert "Traceback" not in str(caught.value)
    assert "raising_factory" in str(caught.value.__cause__)


def test_workers_that_keep_dying_in_the_factory_end_the_run(make_engine: EngineMaker) -> None:
    with pytest.raises(PartialRun, match="no worker could be set up"):
        list(make_engine(workers=2, retries=1).map_actors(tasks.dying_factory, range(5)))


def test_an_actor_that_dies_is_replaced(make_engine: EngineMaker, tmp_path: Path) -> None:
    engine = make_engine(workers=1, retries=0)
    outcomes = by_item(engine.map_actors(tasks.MakeTrouble(str(tmp_path), {2: "kill"}), range(5)))
    assert [item for item, outcome in outcomes.items() if isinstance(outcome, Failed)] == [2]


def test_what_does_not_pickle_is_the_callers_mistake(make_engine: EngineMaker) -> None:
    with pytest.raises(ValueError, match="cannot travel"):
        list(make_engine(workers=1).map(lambda item: item, [1]))
    with pytest.raises(ValueError, match="cannot travel"):
        list(make_engine(workers=1).map(tasks.square, [lambda: 1]))  # type: ignore[arg-type]
    (outcome,) = make_engine(workers=1).map(tasks.unpicklable_result, [1])
    assert isinstance(outcome, Failed)
    assert outcome.failure.kind == "error"


def test_two_maps_may_run_interleaved(make_engine: EngineMaker) -> None:
    engine = make_engine(workers=2)
    outer = engine.map(tasks.square, range(3))
    answered = []
    for outcome in outer:
        (inner,) = engine.map(tasks.square, [outcome.item + 100])
        answered.append((outcome.item, inner.item))
    assert sorted(answered) == [(item, item + 100) for item in range(3)]


def test_workers_compute_with_one_thread_each(make_engine: EngineMaker) -> None:
    engine = make_engine(workers=1)
    assert list(engine.map(tasks.thread_setting, [0])) == [Done(0, "1")]


@pytest.mark.parametrize(
    "buckets", [3, pytest.param(1, marks=pytest.mark.full), pytest.param(64, marks=pytest.mark.full)]
)
def test_group_brings_equal_keys_together_sorted_and_loses_no_row(make_engine: EngineMaker, buckets: int) -> None:
    rows = sorted((word, name, at) for name, text in DOCUMENTS for at, word in enumerate(text.split()))
    wanted = [
        found for bucket in range(buckets) if (found := [row for row in rows if hash64(row[0]) % buckets == bucket])
    ]
    engine = make_engine(workers=2)
    for documents in (DOCUMENTS, DOCUMENTS[::-1]):
        assert list(engine.group(documents, tasks.emit_words, tasks.rows_of, buckets=buckets)) == wanted


def test_a_failed_emit_or_reduce_is_a_partial_run(make_engine: EngineMaker) -> None:
    engine = make_engine(workers=2)
    with pytest.raises(PartialRun, match="x cannot be emitted"):
        list(engine.group([*DOCUMENTS, ("x", "")], tasks.emit_nothing_of_x, tasks.rows_of, buckets=2))
    with pytest.raises(PartialRun, match="no reduce"):
        list(engine.group(DOCUMENTS, tasks.emit_words, tasks.failing_reduce, buckets=2))
    with pytest.raises(PartialRun, match="group_key"):
        list(engine.group(DOCUMENTS, tasks.emit_without_key, tasks.rows_of, buckets=2))
    with pytest.raises(ValueError, match="at least one bucket"):
        list(engine.group(DOCUMENTS, tasks.emit_words, tasks.rows_of, buckets=0))
