"""The Ray engine: native tasks for `map` and `group`, an actor pool for `map_actors`, on a cluster or a private one.

Retries and the blame for a dead worker are the dispatch loop's, so Ray's own are off. Time limits are kept in the
worker, by an alarm that ends it: only running counts, not the wait for a free node, and `ray.cancel` is not needed,
which aborts the driver when the task ends at that very moment (Ray 2.60; ray-project/ray#54798).
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import ray
import ray.exceptions
from ray._private import worker as ray_driver

from trichord.infra import log
from trichord.infra.config import EngineConfig
from trichord.infra.engines.base import (
    LONG_S,
    SETUP_TIMEOUT_S,
    Done,
    Failed,
    I,
    Outcome,
    R,
    Returned,
    Slot,
    dispatch,
    packed,
    packed_factory,
    packed_task,
    timed_out,
)
from trichord.infra.engines.failure import Failure
from trichord.infra.engines.gpus import cluster_share, worker_environment
from trichord.infra.engines.grouping import EmitStreams, ReduceStreams, require_buckets, results_in_order
from trichord.infra.engines.ray_cluster import connect, in_job, require_importable
from trichord.infra.engines.worker import OUT_OF_MEMORY, limit_memory
from trichord.infra.errors import PartialRun

if TYPE_CHECKING:
    import pyarrow as pa

Answer = bytes | Failure  # the result as a pickle, or why there is none
STARTS = 3  # tries to start a private cluster
Limits = tuple[float, int | None]  # seconds, bytes


class RayEngine:
    """Runs up to `workers` tasks or actors at a time on Ray; see `Engine` for the contract.

    An initialised Ray is used as it is. Otherwise `address`, else RAY_ADDRESS, names the cluster, to which the code is
    shipped where its workers lack it, with the top-level `modules` of the project (`ray_cluster`); with neither, a
    private one is started on this machine, reachable from it alone, and stopped by `close`. Tasks under way when a
    `map` is dropped run to their end.
    """

    name = "ray"

    def __init__(self, config: EngineConfig, modules: Sequence[str] = ()) -> None:
        self._config, self._modules = config, modules
        self.gpus = 0.0
        self._owns_ray = False

    def map(
        self, task: Callable[[I], R], items: Iterable[I], *, timeout_s: float | None = None
    ) -> Iterator[Done[I, R] | Failed[I]]:
        """See `Engine.map`."""
        task_bytes, limits = packed_task(task), self._limits(timeout_s)
        return self._dispatch(
            lambda: _TaskSlot(lambda item: _run.remote(task_bytes, packed(item), limits), limits[0]),
            items,
            grace=timeout_s != LONG_S,
        )

    def map_actors(
        self, factory: Callable[[], Callable[[I], R]], items: Iterable[I], *, accelerator: bool = False
    ) -> Iterator[Done[I, R] | Failed[I]]:
        """See `Engine.map_actors`; the share of a GPU is Ray's to find and to show to the actor."""
        factory_bytes = packed_factory(factory)
        if accelerator:
            return self._accelerated(factory_bytes, items)
        return self._dispatch(lambda: _ActorSlot(factory_bytes, self._limits()), items)

    def group(
        self, items: Sequence[I], emit: Callable[[I], pa.Table], reduce: Callable[[pa.Table], R], *, buckets: int
    ) -> Iterator[R]:
        """See `Engine.group`; meanwhile rows are in the object store."""
        require_buckets(items, buckets)
        emit_bytes, reduce_bytes, limits = packed_task(emit), packed_task(reduce), self._limits()
        emitted: dict[int, list[ray.ObjectRef[Any]]] = {}

        def submit_emit(numbered: tuple[int, I]) -> ray.ObjectRef[Any]:
            position, item = numbered
            refs: Any = _emit.options(num_returns=buckets + 1).remote(emit_bytes, packed(item), buckets, limits)
            emitted[position] = list(refs[1:])
            return cast("ray.ObjectRef[Any]", refs[0])

        parts: dict[int, list[ray.ObjectRef[Any]]] = {}
        outcomes: Generator[Any, None, None] = self._dispatch(
            lambda: _TaskSlot(submit_emit, limits[0]), list(enumerate(items))
        )
        filled: Iterator[list[int]] = results_in_order(outcomes)
        for position, present in enumerate(filled):
            tables = emitted.pop(position)
            for bucket in present:
                parts.setdefault(bucket, []).append(tables[bucket])

        def submit_reduce(numbered: tuple[int, int]) -> ray.ObjectRef[Any]:
            return _reduce.remote(reduce_bytes, parts[numbered[1]], limits)

        work = list(enumerate(sorted(parts)))
        yield from results_in_order(self._dispatch(lambda: _TaskSlot(submit_reduce, limits[0]), work))

    def close(self) -> None:
        """Disconnect from Ray where this engine connected to it; a private cluster is stopped."""
        if self._owns_ray:
            ray.shutdown()
            self._owns_ray = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _limits(self, timeout_s: float | None = None) -> Limits:
        return self._config.task_timeout_s if timeout_s is None else timeout_s, self._config.worker_memory_bytes

    def _accelerated(self, factory_bytes: bytes, items: Iterable[I]) -> Generator[Done[I, R] | Failed[I], None, None]:
        source = iter(items)
        first = list(islice(source, 1))
        if not first:
            return
        self.start()
        resources = cast("dict[str, float]", cast(Any, ray).cluster_resources())
        gpus, workers = cluster_share(self._config, resources.get("GPU", 0.0))
        self.gpus = max(self.gpus, gpus * workers)
        environment = worker_environment(self._config, None)
        yield from self._dispatch(
            lambda: _ActorSlot(factory_bytes, self._limits(), gpus, environment), chain(first, source), workers
        )

    def _dispatch(
        self, open_slot: Callable[[], Slot], items: Iterable[I], workers: int | None = None, grace: bool = True
    ) -> Generator[Done[I, R] | Failed[I], None, None]:
        config = self._config
        outcomes = dispatch(
            _RaySlots(self, open_slot),
            items,
            workers=config.workers if workers is None else workers,
            retries=config.retries,
            timeout_s=math.inf,  # the workers' alarms keep it
            grace=grace,
        )
        return cast("Generator[Done[I, R] | Failed[I], None, None]", outcomes)

    def start(self) -> None:
        """Connect to Ray, or start it; nothing where that has happened."""
        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the local engine: inherited by a private cluster
        # Ray reports dead workers on stdout, also with log_to_driver=False; stdout belongs to the command's result.
        ray_driver.print_to_stdstream = _report
        address = self._config.address or os.environ.get("RAY_ADDRESS")
        if in_job():  # this cluster, whatever the project names
            address = os.environ.get("RAY_ADDRESS") or address
        on_sigterm = signal.getsignal(signal.SIGTERM)
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address:
            connect(address, self._modules, quiet)
        else:
            for left in reversed(range(STARTS)):
                try:
                    ray.init(
                        "local",
                        num_cpus=self._config.workers,
                        include_dashboard=False,
                        _node_ip_address="127.0.0.1",
                        runtime_env=_quoted_python(),
                        **quiet,
                    )
                    break
                # On a crowded machine its processes miss their own time limits, for which Ray raises a plain Exception.
                except Exception as error:
                    ray.shutdown()
                    if not left:
                        raise PartialRun(f"Ray could not be started on this machine: {error}\nRun it again.") from error
                    log.event("ray_start_failed", tries_left=left, error=str(error))
        self._owns_ray = True
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own handler exits with 15


def _quoted_python() -> dict[str, str] | None:
    """Ray Train's workers are started by a shell line in which Ray 2.60 does not quote the path of Python."""
    quoted = shlex.quote(sys.executable)
    return None if quoted == sys.executable else {"py_executable": quoted}


class _RaySlots:
    """The slots of one call; Ray is started with the first."""

    def __init__(self, engine: RayEngine, open_slot: Callable[[], Slot]) -> None:
        self._engine, self._open_slot = engine, open_slot

    def open(self) -> Slot:
        self._engine.start()
        return self._open_slot()

    def wait(self, busy: Collection[Slot], timeout_s: float) -> Collection[Slot]:
        slots = cast("Collection[_TaskSlot | _ActorSlot]", busy)
        set_up = [slot for slot in slots if slot.pending is None]
        if set_up:
            return set_up
        by_ref = {slot.pending: slot for slot in slots}
        ready, _ = ray.wait(list(by_ref), num_returns=1, timeout=None if math.isinf(timeout_s) else timeout_s)
        return [by_ref[ref] for ref in ready]

    def release(self, slot: Slot) -> None:
        slot.kill()


class _TaskSlot:
    """Room for one task at a time; there is nothing to set up."""

    def __init__(self, submit: Callable[[Any], ray.ObjectRef[Answer]], limit_s: float) -> None:
        self._submit, self._limit_s = submit, limit_s
        self._started_s = 0.0
        self.pending: ray.ObjectRef[Answer] | None = None

    def start(self, item: object) -> None:
        self._started_s = time.monotonic()
        self.pending = self._submit(item)

    def outcome(self) -> Outcome:
        return Returned(None) if self.pending is None else _outcome(self.pending, self._started_s, self._limit_s)

    def kill(self) -> None:
        """Do nothing: a task under way ends by itself or by its alarm."""


class _ActorSlot:
    """An actor that runs the factory once, then one item at a time."""

    def __init__(
        self, factory_bytes: bytes, limits: Limits, gpus: float = 0.0, environment: Mapping[str, str] | None = None
    ) -> None:
        self._limits = limits
        self._started_s = time.monotonic()
        self._actor: Any = (cast(Any, _Actor).options(num_gpus=gpus) if gpus else cast(Any, _Actor)).remote()
        setup_limits = (max(limits[0], SETUP_TIMEOUT_S), limits[1])
        self.pending: ray.ObjectRef[Answer] | None = self._actor.set_up.remote(
            factory_bytes, setup_limits, dict(environment or {})
        )

    def start(self, item: object) -> None:
        self._started_s = time.monotonic()
        self.pending = self._actor.run.remote(packed(item), self._limits)

    def outcome(self) -> Outcome:
        assert self.pending is not None
        return _outcome(self.pending, self._started_s, self._limits[0])

    def kill(self) -> None:
        ray.kill(self._actor)


def _outcome(ref: ray.ObjectRef[Answer], started_s: float, limit_s: float) -> Outcome:
    try:
        answer = ray.get(ref)
    except ray.exceptions.RayTaskError as error:  # outside the task itself, in Ray's own handling of it
        require_importable(error)
        return Failure.of(error.cause)
    except ray.exceptions.RayError as error:
        require_importable(error)
        if time.monotonic() - started_s >= limit_s:
            return timed_out(limit_s)
        said = " ".join(str(error).splitlines()[:1])
        return Failure(kind="died", message=f"its worker died: {type(error).__name__} {said}")
    return answer if isinstance(answer, Failure) else Returned(pickle.loads(answer))


def answered(run: Callable[[], object], limits: Limits) -> Answer:
    """Run under an alarm whose default action ends the process, whatever native code it is in."""
    limit_memory(limits[1])
    signal.setitimer(signal.ITIMER_REAL, limits[0])
    try:
        return pickle.dumps(run(), pickle.HIGHEST_PROTOCOL)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except Exception as error:  # noqa: BLE001 - the one place where a task's exception becomes its item's Failed
        return Failure.of(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@ray.remote(max_retries=0)
def _run(task: bytes, item: bytes, limits: Limits) -> Answer:
    return answered(lambda: pickle.loads(task)(pickle.loads(item)), limits)


@ray.remote(max_retries=0)
def _emit(emit: bytes, item: bytes, buckets: int, limits: Limits) -> tuple[Any, ...]:
    parts: dict[int, bytes] = {}  # streams: a pickled slice of a table holds all of it

    def run() -> list[int]:
        parts.update(EmitStreams(pickle.loads(emit), buckets)(pickle.loads(item)))
        return sorted(parts)

    answer = answered(run, limits)
    return (answer, *[parts.get(bucket) for bucket in range(buckets)])


@ray.remote(max_retries=0)
def _reduce(reduce: bytes, tables: Sequence[ray.ObjectRef[Any]], limits: Limits) -> Answer:
    return answered(lambda: ReduceStreams(pickle.loads(reduce))(ray.get(list(tables))), limits)


@ray.remote(max_restarts=0, max_task_retries=0)
class _Actor:
    def set_up(self, factory: bytes, limits: Limits, environment: dict[str, str]) -> Answer:
        def run() -> None:
            os.environ.update(environment)  # before the factory's modules are imported
            self._task = pickle.loads(factory)()

        return answered(run, limits)

    def run(self, item: bytes, limits: Limits) -> Answer:
        return answered(lambda: self._task(pickle.loads(item)), limits)


def _report(data: Mapping[str, Any], ignore_prefix: bool) -> None:
    log.event("ray", lines=" ".join(str(line) for line in data["lines"]))
