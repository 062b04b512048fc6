"""The local engine: worker processes on this machine, each with a socket of its own, so a death has one culprit.

Workers are forks of a process that has imported their libraries (`template.py`; no fork of a threaded driver, no
re-import of `__main__`), kept between calls of `map`.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, cast

from trichord.infra import log
from trichord.infra.config import EngineConfig
from trichord.infra.engines.base import (
    LONG_S,
    Done,
    Failed,
    I,
    Outcome,
    R,
    Slot,
    dispatch,
    packed,
    packed_factory,
    packed_task,
)
from trichord.infra.engines.failure import Failure
from trichord.infra.engines.gpus import choose_gpus, least_taken, machine_gpus, worker_environment
from trichord.infra.engines.grouping import merge, partition, require_buckets, results_in_order
from trichord.infra.engines.warm import Template, modules_named
from trichord.infra.engines.worker import FACTORY, GRACE_S, ITEM, TASK
from trichord.infra.scratch import remove_abandoned, scratch_folder

if TYPE_CHECKING:
    import pyarrow as pa


class LocalEngine:
    """Runs tasks in up to `workers` processes of this machine; see `Engine` for the contract."""

    name = "local"

    def __init__(self, config: EngineConfig, imports: Sequence[str] = ()) -> None:
        self._config, self._imports = config, imports
        self.gpus = 0.0
        self._template = Template()
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._ending: list[_Worker] = []

    def map(
        self, task: Callable[[I], R], items: Iterable[I], *, timeout_s: float | None = None
    ) -> Iterator[Done[I, R] | Failed[I]]:
        """See `Engine.map`."""
        return self._dispatch(TASK, task, items, timeout_s)

    def map_actors(
        self, factory: Callable[[], Callable[[I], R]], items: Iterable[I], *, accelerator: bool = False
    ) -> Iterator[Done[I, R] | Failed[I]]:
        """See `Engine.map_actors`."""
        gpus = choose_gpus(self._config, machine_gpus()) if accelerator else ()
        self.gpus = max(self.gpus, float(len(gpus)))
        return self._dispatch(FACTORY, factory, items, gpus=gpus)

    def group(
        self, items: Sequence[I], emit: Callable[[I], pa.Table], reduce: Callable[[pa.Table], R], *, buckets: int
    ) -> Iterator[R]:
        """See `Engine.group`; meanwhile rows are in files under TMPDIR."""
        require_buckets(items, buckets)
        with scratch_folder("group") as folder:
            emitted: Generator[Done[tuple[int, I], dict[int, _Part]] | Failed[tuple[int, I]], None, None] = (
                self._dispatch(TASK, _Emit(emit, folder, buckets), list(enumerate(items)))
            )
            parts: dict[int, list[_Part]] = {}
            for found in results_in_order(emitted):
                for bucket, part in found.items():
                    parts.setdefault(bucket, []).append(part)
            work: list[tuple[int, Sequence[_Part]]] = list(enumerate(parts[bucket] for bucket in sorted(parts)))
            yield from results_in_order(self._dispatch(TASK, _Reduce(reduce), work))

    def close(self) -> None:
        """End all workers, also those under way, and remove what those that were killed left under TMPDIR."""
        for worker in list(self._all):
            self._end(worker)
        self._idle.clear()
        while self._ending:
            self._ending.pop().reap(GRACE_S)
        self._template.end()
        remove_abandoned()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _dispatch(
        self,
        tag: bytes,
        setup: Callable[..., Any],
        items: Iterable[I],
        timeout_s: float | None = None,
        gpus: tuple[str, ...] = (),
    ) -> Generator[Done[I, R] | Failed[I], None, None]:
        content = packed_task(setup) if tag == TASK else packed_factory(setup)
        return self.run_packed(tag, content, items, timeout_s, gpus)

    def run_packed(
        self,
        tag: bytes,
        setup: bytes,
        items: Iterable[I],
        timeout_s: float | None = None,
        gpus: tuple[str, ...] = (),
    ) -> Generator[Done[I, Any] | Failed[I], None, None]:
        """Run `map` (tag TASK) or `map_actors` (FACTORY, KEPT) of a task or factory that is already pickled.

        Where there are `gpus`, each worker sees one of them.
        """
        config = self._config
        outcomes = dispatch(
            _LocalSlots(self, tag + setup, gpus),
            items,
            workers=min(config.workers, len(gpus) * config.actors_per_gpu) if gpus else config.workers,
            retries=config.retries,
            timeout_s=config.task_timeout_s if timeout_s is None else timeout_s,
            grace=timeout_s != LONG_S,
        )
        return cast("Generator[Done[I, Any] | Failed[I], None, None]", outcomes)

    def _take(self, gpus: tuple[str, ...], task: bytes) -> _Worker:
        """Return an idle worker or a new one; where there are GPUs, a new one for the GPU with the fewest of them."""
        if self._idle and not gpus:
            return self._idle.pop()
        gpu = least_taken(gpus, (worker.gpu for worker in self._all)) if gpus else None
        worker = _Worker(self, gpu, [*self._imports, *modules_named(task)])
        self._all.add(worker)
        return worker

    def _keep(self, worker: _Worker) -> None:
        if worker.gpu is not None:
            self._end(worker)  # what it holds of the GPU is room for others, training for one
        elif worker in self._all:
            self._idle.append(worker)

    def _end(self, worker: _Worker) -> None:
        self._all.discard(worker)
        worker.end()
        self._ending = [one for one in (*self._ending, worker) if not one.reaped]


@dataclass(frozen=True, slots=True)
class _LocalSlots:
    """The slots of one call: workers set up with its task or factory."""

    engine: LocalEngine
    setup: bytes
    gpus: tuple[str, ...] = ()

    def open(self) -> Slot:
        worker = self.engine._take(self.gpus, self.setup[1:])
        worker.send(self.setup)
        return worker

    def wait(self, busy: Collection[Slot], timeout_s: float) -> Collection[Slot]:
        workers = {cast(_Worker, slot).connection: slot for slot in busy}
        return [workers[cast(Connection, ready)] for ready in wait(list(workers), timeout_s)]

    def release(self, slot: Slot) -> None:
        self.engine._keep(cast(_Worker, slot))


class _Worker:
    """One worker process, seen from the driver."""

    def __init__(self, engine: LocalEngine, gpu: str | None, modules: Sequence[str]) -> None:
        config, self._forget = engine._config, engine._end
        self.gpu = gpu
        self._busy = False
        self._reaping = threading.Lock()
        ours, theirs = socket.socketpair()
        # One thread a worker, as Ray sets it: cores are not fought over, and sums have one order. The user's own
        # setting for OpenBLAS or MKL would outweigh OpenMP's.
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            **worker_environment(config, gpu),
            **log.worker_environment(),
        }
        with theirs:
            self._process = engine._template.start_worker(
                theirs.fileno(), environment, config.worker_memory_bytes, modules
            )
        self.connection: Connection[Any, Any] = Connection(ours.detach())

    def start(self, item: object) -> None:
        self.send(ITEM + packed(item))

    def send(self, message: bytes) -> None:
        self._busy = True
        try:
            self.connection.send_bytes(message)
        except OSError:
            return  # it died while idle: its outcome will say so

    def outcome(self) -> Outcome:
        self._busy = False
        try:
            answer = self.connection.recv_bytes()
        except (EOFError, OSError):
            return Failure(kind="died", message=self._cause_of_death())
        return cast(Outcome, pickle.loads(answer))

    def kill(self) -> None:
        self._forget(self)

    def end(self) -> None:
        """End the process with everything it started. One that is at a task may first remove its temporary files."""
        self.connection.close()  # which it notices
        if not self._busy:
            self.reap(0)
            return
        overdue = threading.Timer(GRACE_S, self.reap, [0])
        overdue.daemon = True
        overdue.start()

    def reap(self, within_s: float) -> None:
        """Wait so long for the process to end by itself, then kill it with everything it started."""
        until_s = time.monotonic() + within_s
        while not self.reaped:
            with self._reaping:
                if not self.reaped and (self._process.has_ended() or time.monotonic() >= until_s):
                    self._process.kill_group()
                    self._process.wait()
            if not self.reaped:
                time.sleep(0.01)

    @property
    def reaped(self) -> bool:
        """Return True once the process is gone."""
        return self._process.returncode is not None

    def _cause_of_death(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "its worker closed the connection"
        ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        return f"its worker {ended}"


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of one bucket in a file: `count` record batches from the batch numbered `first`."""

    path: str
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class _Emit(Generic[I]):
    """Writes what an item emits to an Arrow file, bucket after bucket."""

    emit: Callable[[I], pa.Table]
    folder: str
    buckets: int

    def __call__(self, numbered: tuple[int, I]) -> dict[int, _Part]:
        import pyarrow as pa

        position, item = numbered
        table = self.emit(item)
        path = os.path.join(self.folder, f"{position}.arrow")
        parts: dict[int, _Part] = {}
        with pa.ipc.new_file(path, table.schema) as writer:
            first = 0
            for bucket, rows in partition(table, self.buckets).items():
                batches = rows.combine_chunks().to_batches()
                for batch in batches:
                    writer.write_batch(batch)
                parts[bucket] = _Part(path, first, len(batches))
                first += len(batches)
        return parts


@dataclass(frozen=True, slots=True)
class _Reduce(Generic[R]):
    """Reads one bucket's parts back and reduces them."""

    reduce: Callable[[pa.Table], R]

    def __call__(self, numbered: tuple[int, Sequence[_Part]]) -> R:
        import pyarrow as pa

        tables = []
        for part in numbered[1]:
            with pa.memory_map(part.path) as source:
                reader = pa.ipc.open_file(source)
                batches = [reader.get_batch(part.first + index) for index in range(part.count)]
                tables.append(pa.Table.from_batches(batches))
        return self.reduce(merge(tables))
