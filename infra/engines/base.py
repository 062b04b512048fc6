"""The engine contract, and the one dispatch loop that both engines run.

A task takes a descriptor and returns a descriptor; rows travel in files. Tasks, factories and items must pickle: they
are module-level functions or instances of module-level classes, and hold no open files.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from trichord.infra import ending, log
from trichord.infra.engines.failure import Failure

if TYPE_CHECKING:
    import pyarrow as pa

I = TypeVar("I")  # noqa: E741 - the item's type
R = TypeVar("R")

LONG_S = 7 * 86_400.0  # limit of tasks that rightly take hours: training, measuring a whole index
_LOOK_S = 0.25  # so often is looked whether the run shall end
SETUP_TIMEOUT_S = 300.0  # at least this long may a worker take to start, import its task and load its model


@dataclass(frozen=True, slots=True)
class Done(Generic[I, R]):
    """The task returned `result` for `item`."""

    item: I
    result: R


@dataclass(frozen=True, slots=True)
class Failed(Generic[I]):
    """The task did not return for `item`: it raised, its worker died, or time ran out."""

    item: I
    failure: Failure


class Engine(Protocol):
    """Runs tasks on workers. A context manager; nothing is started before the first item is there.

    Attributes:
        name: `engine.kind`.
        gpus: GPUs that its actors have had so far.
    """

    name: str
    gpus: float

    def map(
        self, task: Callable[[I], R], items: Iterable[I], *, timeout_s: float | None = None
    ) -> Iterator[Done[I, R] | Failed[I]]:
        """Run `task` on every item; results come as they finish, in any order.

        Items are pulled lazily: at most one a worker is under way. A task that raises is Failed at once; one whose
        worker dies or that overruns `timeout_s` (`task_timeout_s` if None) is tried again on a fresh worker `retries`
        times before.

        Raises:
            ValueError: the task or an item does not pickle.
        """
        ...

    def map_actors(
        self, factory: Callable[[], Callable[[I], R]], items: Iterable[I], *, accelerator: bool = False
    ) -> Iterator[Done[I, R] | Failed[I]]:
        """Map as `map`, but each worker first makes its task by `factory()`: a model is loaded once a worker.

        With `accelerator`, each has a share of a GPU where `engine.device` and the machines allow it (infra/engines/
        gpus.py), and then no more run at a time than GPUs have room for.

        Raises:
            TrichordError: the error of ours that the factory met.
            PartialRun: the factory raised another error, or workers kept dying in it.
            ConfigError: `engine.device` is cuda and there is no GPU.
        """
        ...

    def group(
        self, items: Sequence[I], emit: Callable[[I], pa.Table], reduce: Callable[[pa.Table], R], *, buckets: int
    ) -> Iterator[R]:
        """Bring together rows of one `group_key` from all items.

        `emit(item)` gives a table with a string column `group_key`; all its columns are of sortable types. Rows go to
        bucket `hash64(group_key) % buckets`; `reduce` sees one bucket's rows at once, sorted by `group_key`, then by
        the other columns. Results come in the order of buckets; a bucket without rows is left out. Rows travel in files
        or the object store, never through the driver.

        Raises:
            TrichordError: the error of ours that an emit or a reduce met; PartialRun for any other failure.
        """
        ...

    def close(self) -> None:
        """End the workers; the engine may be used again."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Returned:
    """A set-up or a task returned `value`."""

    value: object


Outcome = Returned | Failure  # of starting a slot, or of an item


def timed_out(limit_s: float) -> Failure:
    """Return the failure of an item that overran its time."""
    return Failure(kind="timeout", message=f"it ran longer than {limit_s:g} s")


def packed(content: object) -> bytes:
    """Pickle what travels to a worker process.

    Raises:
        ValueError: it does not pickle.
    """
    try:
        return pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(f"{content!r} cannot travel to a worker process: {error}") from error


@dataclass(frozen=True, slots=True)
class InContext(Generic[I, R]):
    """A task whose log events carry the fields that were bound in its driver, such as the run and its stage."""

    fields: Mapping[str, object]
    task: Callable[[I], R]

    def __call__(self, item: I) -> R:
        with log.bound(**self.fields):
            return self.task(item)


@dataclass(frozen=True, slots=True)
class MadeInContext(Generic[I, R]):
    """A factory that makes such a task."""

    fields: Mapping[str, object]
    factory: Callable[[], Callable[[I], R]]

    def __call__(self) -> InContext[I, R]:
        with log.bound(**self.fields):
            return InContext(self.fields, self.factory())


def packed_task(task: Callable[[I], R]) -> bytes:
    """Pickle a task with the fields that are bound here. Raises as `packed`."""
    fields = log.context()
    return packed(InContext(fields, task) if fields else task)


def packed_factory(factory: Callable[[], Callable[[I], R]]) -> bytes:
    """Pickle a factory with the fields that are bound here. Raises as `packed`."""
    fields = log.context()
    return packed(MadeInContext(fields, factory) if fields else factory)


class Slot(Protocol):
    """A place where one item runs at a time. It is opened busy with its set-up, whose outcome comes first."""

    def start(self, item: object) -> None:
        """Begin to run an item; its outcome is pending from now on."""
        ...

    def outcome(self) -> Outcome:
        """Return what came of the set-up or item; called only when `Slots.wait` named this slot."""
        ...

    def kill(self) -> None:
        """End it and whatever runs in it."""
        ...


class Slots(Protocol):
    """Opens slots for one call of `map` or `map_actors` and waits on them."""

    def open(self) -> Slot: ...

    def wait(self, busy: Collection[Slot], timeout_s: float) -> Collection[Slot]:
        """Wait for the first outcome of `busy`, or for `timeout_s`, and return those that have one."""
        ...

    def release(self, slot: Slot) -> None:
        """Take back an idle slot."""
        ...


@dataclass(slots=True)
class _Job(Generic[I]):
    item: I
    deadline_s: float
    attempts: int = 0
    running: bool = False  # False while the slot is set up


def dispatch(
    slots: Slots, items: Iterable[I], *, workers: int, retries: int, timeout_s: float, grace: bool = True
) -> Generator[Done[I, object] | Failed[I], None, None]:
    """Run every item in one of `workers` slots, under the contract of `Engine.map`.

    With an infinite `timeout_s`, overdue items are left to the slots, whose outcome then says so. When a signal asks
    the run to end (`ending`), items that run may finish, unless `grace` is False; then SystemExit is raised.
    """
    with ending.tasks():
        yield from _dispatch(slots, items, workers, retries, timeout_s, grace)
        ending.leave()


def _dispatch(
    slots: Slots, items: Iterable[I], workers: int, retries: int, timeout_s: float, grace: bool
) -> Generator[Done[I, object] | Failed[I], None, None]:
    source = iter(items)
    again: deque[_Job[I]] = deque()
    idle: list[Slot] = []
    busy: dict[Slot, _Job[I]] = {}
    failed_setups = 0

    def feed() -> None:
        while len(busy) < workers and not ending.asked():
            if again:
                job = again.popleft()
            else:
                try:
                    job = _Job(next(source), 0.0)
                except StopIteration:
                    return
            job.running = bool(idle)
            job.deadline_s = time.monotonic() + (timeout_s if job.running else max(timeout_s, SETUP_TIMEOUT_S))
            slot = idle.pop() if idle else slots.open()
            busy[slot] = job
            if job.running:
                slot.start(job.item)

    def end_early() -> None:
        early = [slot for slot, job in busy.items() if not (grace and job.running)]
        ending.count(ended=len(early))
        for slot in early:
            del busy[slot]
            slot.kill()
        if busy and not asked:
            log.event("ending", waiting_for=len(busy), at_most_s=ending.GRACE_S, next="a second signal ends it now")

    asked = False
    try:
        feed()
        while busy:
            if ending.asked():
                end_early()
                asked = True
            remaining_s = min((job.deadline_s for job in busy.values()), default=0.0) - time.monotonic()
            ready = slots.wait(busy.keys(), min(max(0.0, remaining_s), _LOOK_S)) if busy else ()
            finished: list[Done[I, object] | Failed[I]] = []
            now_s = time.monotonic()
            for slot in ready or [slot for slot, job in busy.items() if job.deadline_s <= now_s]:
                job = busy[slot]
                outcome = slot.outcome() if ready else timed_out(timeout_s)
                if isinstance(outcome, Returned) and not job.running:
                    failed_setups = 0
                    if ending.asked():
                        continue
                    job.running, job.deadline_s = True, time.monotonic() + timeout_s
                    slot.start(job.item)
                    continue
                del busy[slot]
                if isinstance(outcome, Returned) or outcome.kind == "error":
                    idle.append(slot)
                else:
                    slot.kill()
                if isinstance(outcome, Returned):
                    finished.append(Done(job.item, outcome.value))
                elif not job.running:
                    failed_setups += 1
                    if outcome.kind == "error" or failed_setups > retries:
                        raise outcome.error(f"no worker could be set up: {outcome}")
                    again.append(job)
                elif outcome.kind != "error" and (job.attempts < retries or ending.asked()):
                    job.attempts += 1
                    again.append(job)
                else:
                    finished.append(Failed(job.item, outcome))
            feed()  # before yielding: workers go on while the caller handles these results
            ending.count(finished=len(finished) if asked else 0)
            yield from finished
    finally:
        ending.count(ended=len(busy))
        for slot in busy:
            slot.kill()
        for slot in idle:
            slots.release(slot)
