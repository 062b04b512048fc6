"""The Beam engine: the same tasks as native Beam transforms, on any runner.

Every DoFn instance holds a worker process of its own, so what a task does to its process (a crash, a hang, memory) ends
one item and never the runner's harness; retries and blame are those of the local engine. Outcomes are small: they are
written by number into the pipeline's temporary folder, signed with a key of this run, and read back by the driver. Beam
itself writes nothing that is published.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import pickle
import secrets
import shlex
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import DirectOptions, GoogleCloudOptions, PipelineOptions

from trichord.infra.config import EngineConfig
from trichord.infra.engines.base import Done, Failed, I, R, Returned, packed, packed_factory, packed_task
from trichord.infra.engines.failure import Failure
from trichord.infra.engines.grouping import EmitStreams, ReduceStreams, group_failed, require_buckets
from trichord.infra.engines.local import LocalEngine
from trichord.infra.engines.worker import KEPT, TASK
from trichord.infra.errors import ConfigError, PartialRun, TrichordError
from trichord.infra.scratch import scratch_folder

if TYPE_CHECKING:
    import pyarrow as pa

_OUTCOMES = "outcomes"


@dataclass(frozen=True, slots=True)
class _NoWorker:
    """No worker could be set up: the whole run ends."""

    failure: Failure


Numbered = tuple[int, Returned | Failure | _NoWorker]  # by the number of the item


class BeamEngine:
    """Runs a Beam pipeline for each call; see `Engine` for the contract.

    All items of a call are taken before it starts, and its outcomes come when the pipeline has ended: a pipeline is
    built from all of its input. On the DirectRunner, `workers` of its own threads each keep one worker process.
    """

    name = "beam"

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self.gpus = 0.0

    def map(
        self, task: Callable[[I], R], items: Iterable[I], *, timeout_s: float | None = None
    ) -> Iterator[Done[I, R] | Failed[I]]:
        """See `Engine.map`."""
        return self._run_each(TASK, task, items, timeout_s)

    def map_actors(
        self, factory: Callable[[], Callable[[I], R]], items: Iterable[I], *, accelerator: bool = False
    ) -> Iterator[Done[I, R] | Failed[I]]:
        """See `Engine.map_actors`; `accelerator` changes nothing: a runner places its workers by its own options."""
        return self._run_each(KEPT, factory, items, None)

    def group(
        self, items: Sequence[I], emit: Callable[[I], pa.Table], reduce: Callable[[pa.Table], R], *, buckets: int
    ) -> Iterator[R]:
        """See `Engine.group`; rows pass through the runner's own shuffle (`GroupByKey`) as Arrow streams."""
        require_buckets(items, buckets)
        if not items:
            return
        emitting = self._in_worker(TASK, EmitStreams(emit, buckets), None)
        reducing = self._in_worker(TASK, ReduceStreams(reduce), None)

        def build(inputs: Any, sink: _Sink) -> None:
            emitted = inputs | "emit" >> beam.ParDo(_EmitDoFn(emitting)).with_outputs(_OUTCOMES, main="rows")
            reduced = emitted.rows | "by bucket" >> beam.GroupByKey() | "reduce" >> beam.ParDo(_ReduceDoFn(reducing))
            outcomes = (reduced, emitted[_OUTCOMES]) | "outcomes" >> beam.Flatten()
            _ = outcomes | "write outcomes" >> beam.ParDo(sink)

        outcomes = self._outcomes(items, build)
        filled, results = set[int](), list[R]()
        for number, outcome in outcomes:
            if isinstance(outcome, Failure | _NoWorker):
                failure = outcome.failure if isinstance(outcome, _NoWorker) else outcome
                raise group_failed(items[~number] if number < 0 else f"bucket {number}", failure)
            if number < 0:
                filled |= set(cast("list[int]", outcome.value))
            else:
                results.append(cast(R, outcome.value))
        _require({~number for number in range(len(items))} | filled, outcomes)
        yield from results

    def close(self) -> None:
        """Do nothing: nothing outlives a call."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run_each(
        self, tag: bytes, setup: Callable[..., Any], items: Iterable[I], timeout_s: float | None
    ) -> Generator[Done[I, R] | Failed[I], None, None]:
        held = list(items)
        if not held:
            return
        worker = self._in_worker(tag, setup, timeout_s)

        def build(inputs: Any, sink: _Sink) -> None:
            _ = inputs | "run" >> beam.ParDo(_RunDoFn(worker)) | "write outcomes" >> beam.ParDo(sink)

        outcomes = self._outcomes(held, build)
        _require(range(len(held)), outcomes)
        for number, outcome in outcomes:
            if isinstance(outcome, Returned):
                yield Done(held[number], cast(R, outcome.value))
            elif isinstance(outcome, Failure):
                yield Failed(held[number], outcome)
            else:
                raise outcome.failure.error(str(outcome.failure))

    def _in_worker(self, tag: bytes, setup: Callable[..., Any], timeout_s: float | None) -> _InWorker:
        limit_s = self._config.task_timeout_s if timeout_s is None else timeout_s
        local = self._config.model_copy(update={"kind": "local", "workers": 1, "task_timeout_s": limit_s})
        content = packed_task(setup) if tag == TASK else packed_factory(setup)
        return _InWorker(tag=tag, setup=content, config=local)

    def _outcomes(self, items: Sequence[I], build: Callable[[Any, _Sink], None]) -> list[Numbered]:
        """Run one pipeline over the numbered items and collect what its sink wrote."""
        options = self._options()
        inputs = [(number, packed(item)) for number, item in enumerate(items)]
        with ExitStack() as stack:
            remote = options.view_as(GoogleCloudOptions).temp_location
            if remote is None and self._config.runner != "DirectRunner":
                raise ConfigError(
                    f"The {self._config.runner} works on other machines and needs a place that all of them reach.\n"
                    "Next: add --temp_location=... to engine.options."
                )
            scratch = stack.enter_context(scratch_folder("beam"))
            stack.enter_context(_temporaries_in(scratch))
            if remote is None:
                folder = os.path.join(scratch, "outcomes")
                os.mkdir(folder)
            else:
                folder = FileSystems.join(remote, f"trichord-{secrets.token_hex(8)}")
                FileSystems.mkdirs(folder)
                stack.callback(FileSystems.delete, [folder])
            sink = _Sink(folder, secrets.token_bytes(32))
            quiet = logging.getLogger("apache_beam")
            stack.callback(quiet.setLevel, quiet.level)
            quiet.setLevel(logging.ERROR)  # it reports every stage; what went wrong is in the outcomes
            try:
                with _quoted_python(options), beam.Pipeline(options=options) as pipeline:
                    build(pipeline | "items" >> beam.Create(inputs) | beam.Reshuffle(), sink)
            except Exception as error:
                raise PartialRun(f"the Beam pipeline failed: {error}\nRun the command again; it resumes.") from error
            return sink.read()

    def _options(self) -> PipelineOptions:
        flags = [f"--runner={self._config.runner}", *self._config.options]
        given = {flag.partition("=")[0] for flag in flags}
        if self._config.runner == "DirectRunner":
            defaults = {"--direct_num_workers": self._config.workers, "--direct_running_mode": "multi_threading"}
            flags += [f"{flag}={value}" for flag, value in defaults.items() if flag not in given]
        return PipelineOptions(flags, save_main_session=False)


@contextmanager
def _temporaries_in(folder: str) -> Iterator[None]:
    """Put the runner's temporary folders where they end with the run: Beam 2.77 leaves three of each pipeline."""
    before, tempfile.tempdir = tempfile.tempdir, folder
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextmanager
def _quoted_python(options: PipelineOptions) -> Iterator[None]:
    """Let the runner start processes of its own by a Python whose path has a blank.

    Beam 2.77 starts them by a shell line in which it does not quote `sys.executable`, and then waits for them forever.
    """
    executable = sys.executable
    if options.view_as(DirectOptions).direct_running_mode == "multi_processing":
        sys.executable = shlex.quote(executable)
    try:
        yield
    finally:
        sys.executable = executable


def _require(wanted: Iterable[int], outcomes: Iterable[Numbered]) -> None:
    """Raise PartialRun unless every number has its outcome: one that is lost would be a partition that vanishes."""
    lost = sorted(set(wanted) - {number for number, _ in outcomes})
    if lost:
        raise PartialRun(
            f"{len(lost)} outcomes of the Beam pipeline are lost, the first of item {lost[0]}.\n"
            "Is the temporary location one that all workers reach? Run the command again; it resumes."
        )


@dataclass(slots=True)
class _InWorker:
    """A task in a worker process that this DoFn instance starts with its first item and ends with itself."""

    tag: bytes
    setup: bytes
    config: EngineConfig
    _engine: LocalEngine | None = field(default=None, init=False)

    def run(self, number: int, item: object) -> Numbered:
        if self._engine is None:
            self._engine = LocalEngine(self.config)
        try:
            [outcome] = self._engine.run_packed(self.tag, self.setup, [item])
        except TrichordError as error:
            return number, _NoWorker(Failure.of(error))
        return number, Returned(outcome.result) if isinstance(outcome, Done) else outcome.failure

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None


class _WorkerDoFn(beam.DoFn):
    """A DoFn that owns a worker process."""

    def __init__(self, worker: _InWorker) -> None:
        self._worker = worker

    def teardown(self) -> None:
        self._worker.close()


class _RunDoFn(_WorkerDoFn):
    """(number, item) → outcome."""

    def process(self, element: tuple[int, bytes]) -> Iterator[Numbered]:
        number, item = element
        yield self._worker.run(number, pickle.loads(item))


class _EmitDoFn(_WorkerDoFn):
    """(number, item) → (bucket, (number, rows as an Arrow stream)), and an outcome numbered ~number: the buckets."""

    def process(self, element: tuple[int, bytes]) -> Iterator[Any]:
        number, item = element
        _, outcome = self._worker.run(number, pickle.loads(item))
        streams = cast("dict[int, bytes]", outcome.value) if isinstance(outcome, Returned) else {}
        buckets = Returned(sorted(streams)) if isinstance(outcome, Returned) else outcome
        yield beam.pvalue.TaggedOutput(_OUTCOMES, (~number, buckets))
        for bucket, rows in streams.items():
            yield bucket, (number, rows)


class _ReduceDoFn(_WorkerDoFn):
    """(bucket, its rows from all items) → outcome."""

    def process(self, element: tuple[int, Iterable[tuple[int, bytes]]]) -> Iterator[Numbered]:
        bucket, parts = element
        yield self._worker.run(bucket, [rows for _, rows in sorted(parts)])


class _Sink(beam.DoFn):
    """Writes outcomes by number: what a runner runs twice lands in one place."""

    def __init__(self, folder: str, key: bytes) -> None:
        self._folder, self._key = folder, key

    def process(self, outcome: Numbered) -> None:
        content = pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)
        path = FileSystems.join(self._folder, f"{outcome[0]}-{type(outcome[1]).__name__}")
        with FileSystems.create(path) as file:
            file.write(self._signed(content) + content)

    def read(self) -> list[Numbered]:
        """Return everything written, ordered by number.

        Raises:
            PartialRun: an outcome was changed by somebody else.
        """
        [matched] = FileSystems.match([FileSystems.join(self._folder, "*")])
        outcomes: dict[int, Numbered] = {}
        for found in matched.metadata_list:
            with FileSystems.open(found.path) as file:
                data = file.read()
            signature, content = data[: hashlib.sha256().digest_size], data[hashlib.sha256().digest_size :]
            if not hmac.compare_digest(signature, self._signed(content)):
                raise PartialRun(f"{found.path}: this outcome is not what the pipeline wrote. Run it again.")
            outcome: Numbered = pickle.loads(content)
            if isinstance(outcome[1], Returned) or outcome[0] not in outcomes:  # a runner may try a bundle twice
                outcomes[outcome[0]] = outcome
        return [outcomes[number] for number in sorted(outcomes)]

    def _signed(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, "sha256")
