"""Runs: what each run on a lake did and took, in a small note of its own, from which plans estimate the next."""

from __future__ import annotations

import datetime
import math
import secrets
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any, Protocol, cast

from trichord.infra import digest, log
from trichord.infra.errors import TrichordError
from trichord.infra.json_values import parse_json
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.publication import RowCounts
from trichord.infra.lake.schema import TABLES
from trichord.infra.lake.storage import TooLarge
from trichord.infra.packages import version
from trichord.infra.redaction import redact
from trichord.pipelines.core.result import Result

KEPT = 400  # notes of events, and as many of other runs, which a busy watcher does not push out; older ones go
_OF_EVENT = "-event"
RECENT = 200  # the last ones, from which the next one is estimated
STAGE_ORDER = (
    "records", "duplicates", "variants", "features", "agreement", "model", "vectors", "index", "gate", "publish",
)  # fmt: skip
_MOST_BYTES = 1 << 20
SIGNALLED = (130, 143)  # exit codes of runs that SIGINT or SIGTERM ended


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTime:
    """How many units a stage made, in how many seconds, and in how many CPU seconds of all processes.

    `after_s` is the time from the start of the run to that of the stage.
    """

    made: int
    seconds: float
    cpu_s: float = 0.0
    after_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """What a source held when a run looked: its rows, and the digest of the versions of all its partitions."""

    rows: int
    version: str


@dataclass(kw_only=True)
class RunNote(Result):
    """What a run did and took. A run fills it while it is at work.

    Attributes:
        id: time of its start and some random digits.
        verb: the command, such as `reindex`.
        trigger: what started it: `command`, `nightly`, `event`, `sweep` or `backfill`.
        started_at: ISO 8601, UTC.
        host: name of the machine that it ran on.
        version: of trichord.
        seconds: duration.
        exit_code: as of the command.
        error: kind and first line; empty if all went well.
        publication: id of what was live at its end; None before the first.
        unchanged: True if there was nothing to do.
        counts: what became of all rows; empty if it did not get so far.
        bytes_written: of the shards and index files that it made.
        stages: what each stage took, as far as it got.
        whole: rows of the sources if it made everything of them; 0 if it kept any shard of an earlier run.
        inputs: digest of everything that it wanted, as of its plan; empty if it did not get so far.
        versions: of each table that it committed to.
        gpus: GPUs that its encoders ran on.
        cost: what its core and GPU hours cost by the project's `rates`; None where it has none.
        stage: the stage in which it failed; empty if it failed in none.
        confirmed: True if it looked at all sources, and what is live at its end is made of what they held.
        sources: what it found each source to hold; empty if it did not get so far.
    """

    id: str
    verb: str
    trigger: str
    started_at: str
    host: str
    version: str
    seconds: float = 0.0
    exit_code: int = 0
    error: str = ""
    publication: str | None = None
    unchanged: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    bytes_written: int = 0
    stages: dict[str, StageTime] = field(default_factory=dict)
    whole: int = 0
    inputs: str = ""
    versions: Mapping[str, int] = field(default_factory=dict)
    gpus: float = 0.0
    cost: float | None = None
    stage: str = ""
    confirmed: bool = False
    sources: dict[str, SourceState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._clock_s = time.monotonic()

    @property
    def started(self) -> datetime.datetime:
        """When it started."""
        return datetime.datetime.fromisoformat(self.started_at)

    def elapsed_s(self) -> float:
        """Return the seconds since its start."""
        return round(time.monotonic() - self._clock_s, 3)

    @contextmanager
    def at_stage(self, name: str) -> Iterator[None]:
        """Say on each log line which stage is at work, and note the one that fails."""
        self.stage = name
        with log.bound(stage=name):
            try:
                yield
            except TrichordError as error:
                error.about = log.context()
                raise
        self.stage = ""


class Observer(Protocol):
    """Tells the world outside the lake of runs. Neither method raises, nor waits for another machine."""

    def started(self, note: RunNote) -> None:
        """Hear that a run has started."""

    def ended(self, note: RunNote) -> None:
        """Hear how it ended; its note is stored."""


@contextmanager
def recorded(lake: Lake, verb: str, trigger: str = "command", observers: Sequence[Observer] = ()) -> Iterator[RunNote]:
    """Yield the note of a run, and store it however the block ends. A run that is killed leaves none.

    Log events in the block carry the run's id and its verb. Observers hear of its start and its end.
    """
    now = datetime.datetime.now(datetime.UTC)
    note = RunNote(
        id=f"{now:%y%m%d%H%M%S}{now.microsecond // 1_000:03}-{secrets.token_hex(1)}{_ending(trigger)}",
        verb=verb,
        trigger=trigger,
        started_at=now.isoformat(timespec="milliseconds"),
        host=socket.gethostname(),
        version=version("trichord"),
    )
    with log.bound(run=note.id, job=verb):
        for observer in observers:
            observer.started(note)
        try:
            yield note
        except BaseException as error:
            note.exit_code, note.error = _ended_by(error)
            if isinstance(error, TrichordError):
                error.about = {**log.context(), **error.about}  # the line that reports it says of which run it is
            raise
        finally:
            note.seconds = note.elapsed_s()
            try:
                _store(lake, note)
            except TrichordError as error:  # what the run did stays done
                log.event("run_not_recorded", detail=str(error).splitlines()[0])
            for observer in observers:
                observer.ended(note)


def _ended_by(error: BaseException) -> tuple[int, str]:
    said = redact(next(iter(str(error).splitlines()), ""))
    if isinstance(error, SystemExit):
        return (error.code if isinstance(error.code, int) else 1), "ended by a signal"
    if isinstance(error, KeyboardInterrupt):
        return SIGNALLED[0], "ended by a signal"
    return (error.exit_code if isinstance(error, TrichordError) else 1), f"{type(error).__name__}: {said}"


def _store(lake: Lake, note: RunNote) -> None:
    stored = note.to_dict()
    lake.write(layout.run_path(note.id), digest.canonical_json(stored | {"check": digest.address(stored)}))
    paths = _paths(lake)
    for kind in (True, False):
        for path in [path for path in paths if _is_of_event(path) == kind][KEPT:]:
            lake.delete(path)


def _ending(trigger: str) -> str:
    return _OF_EVENT if trigger == "event" else ""


def _is_of_event(path: str) -> bool:
    return path.endswith(f"{_OF_EVENT}.json")


def _paths(lake: Lake) -> list[str]:
    """Return the notes' paths, newest first."""
    return sorted((lake.relative(stat.uri) for stat in lake.list(layout.RUNS)), reverse=True)


def last_runs(lake: Lake, most: int = RECENT) -> list[RunNote]:
    """Return the last runs, newest first; damaged notes are passed over."""
    return list(islice(iterate_runs(lake), most))


def iterate_runs(lake: Lake, *, events: bool = True) -> Iterator[RunNote]:
    """Yield the runs, newest first, each read when it is asked for; damaged notes are passed over.

    Without `events`, those that an event started are left out.
    """
    found = (_read(lake, path) for path in _paths(lake) if events or not _is_of_event(path))
    return (note for note in found if note is not None)


def is_whole_note(stored: Mapping[str, Any]) -> bool:
    """Return False if a stored note does not match its own check; those of earlier versions have none."""
    noted = {name: value for name, value in stored.items() if name != "check"}
    return stored["check"] == digest.address(noted) if "check" in stored else noted.keys() <= _FIELDS


def _read(lake: Lake, path: str) -> RunNote | None:
    try:
        stored = cast(Any, parse_json(lake.read(path, max_bytes=_MOST_BYTES)))
        taken = stored["stages"]
        if not isinstance(taken, dict) or not is_whole_note(stored):
            return None
        stages = {name: _time_of(taken[name]) for name in STAGE_ORDER if name in taken}
        counts = {name: int(_amount(stored["counts"].get(name, 0))) for name in _COUNTS if stored["counts"]}
        stored = _LATER | stored
        versions = {name: int(_amount(stored["versions"][name])) for name in TABLES if name in stored["versions"]}
        sources = {name: _source_of(one) for name, one in stored["sources"].items()}
        made: dict[str, Any] = {"stages": stages, "counts": counts, "versions": versions, "sources": sources}
        given = {one.name: stored[one.name] for one in fields(RunNote) if one.name not in made}
        if not all(isinstance(given[name], kind) for name, kind in _KINDS.items()):
            return None
        for name in ("seconds", "exit_code", "bytes_written", "whole", "gpus"):
            _amount(given[name])
        if given["cost"] is not None:
            _amount(given["cost"])
        note = RunNote(**given, **made)
        return note if note.started.tzinfo is not None else None
    except (FileNotFoundError, TooLarge, ValueError, KeyError, TypeError, AttributeError):
        return None


_LATER: dict[str, Any] = {  # what notes of earlier versions lack
    "inputs": "", "versions": {}, "gpus": 0.0, "cost": None, "stage": "", "confirmed": False, "sources": {},
}  # fmt: skip
_FIELDS = frozenset(one.name for one in fields(RunNote))
_COUNTS = tuple(one.name for one in fields(RowCounts))
_KINDS: dict[str, Any] = {
    **dict.fromkeys(("id", "verb", "trigger", "started_at", "host", "version", "error", "inputs", "stage"), str),
    **dict.fromkeys(("exit_code", "bytes_written", "whole"), int),
    **dict.fromkeys(("unchanged", "confirmed"), bool),
    "publication": str | None,
}


def _time_of(stored: Mapping[str, Any]) -> StageTime:
    made, seconds, cpu_s, after_s = (_amount(stored.get(name, 0)) for name in ("made", "seconds", "cpu_s", "after_s"))
    return StageTime(made=int(made), seconds=seconds, cpu_s=cpu_s, after_s=after_s)


def _source_of(stored: Mapping[str, Any]) -> SourceState:
    if not isinstance(stored["version"], str):
        raise ValueError("not a version")
    return SourceState(rows=int(_amount(stored["rows"])), version=stored["version"])


def _amount(stored: object) -> float:
    if not isinstance(stored, int | float) or not 0 <= stored < math.inf:
        raise ValueError("not an amount")
    return stored
