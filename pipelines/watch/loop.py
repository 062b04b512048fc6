"""The watcher: waits for events, runs what they name, acknowledges them after the commit, and sweeps on a clock."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from trichord.infra import log
from trichord.infra.errors import (
    CommitConflict,
    ConfigError,
    GateFailed,
    PartialRun,
    ServiceError,
    SourceError,
    StorageError,
    TrichordError,
)
from trichord.infra.events.counts import Counts
from trichord.infra.events.event import Channel, Message
from trichord.infra.events.http_inbox import Page
from trichord.infra.events.inbox import Inbox
from trichord.infra.events.sqs import SqsQueue
from trichord.infra.lake.storage import Changed
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.runs import iterate_runs
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.reindex import RunSummary, reindex
from trichord.pipelines.watch.channels import open_others, open_queues, require_some
from trichord.pipelines.watch.looks import coalesce
from trichord.pipelines.watch.metrics_page import metrics_pages
from trichord.pipelines.watch.missed import count_missed
from trichord.pipelines.watch.places import Look, Places
from trichord.transforms.collect import Scope

SWEEP, EVENT = "sweep", "event"  # the triggers in the notes of runs
_PASSING = (PartialRun, StorageError, SourceError, ServiceError, CommitConflict)  # another try may end well
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 300.0
_GATE_PAUSE_S, _LONGEST_GATE_PAUSE_S = 60.0, 3_600.0  # data must change, or people
_MOST_DOUBLINGS = 10
_LOOK_S = 0.1
_OLDEST_S = 14 * 86_400.0  # no queue keeps a message for longer: an older time in it is wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched(Result):
    """What a watcher did.

    Attributes:
        messages: channel -> fate (accepted, done, repeated, ignored, refused, full) -> messages.
        runs: how its runs ended -> runs.
        waiting: messages that were not acknowledged at the end.
        events_missed: rows that a sweep found changed and no event had named.
        lag_s: mean seconds from an event to the commit of its run; None without any.
    """

    messages: dict[str, dict[str, int]]
    runs: dict[str, int]
    waiting: int
    events_missed: int
    lag_s: float | None


@contextmanager
def _started(channels: Sequence[Channel]) -> Iterator[None]:
    """Receive within the block; at its end, however it comes, give back what was not acknowledged."""
    started: list[Channel] = []
    try:
        for channel in channels:
            channel.start()
            started.append(channel)
        yield
    finally:
        with ThreadPoolExecutor(max(1, len(started))) as pool:  # each may wait for its last answer
            for stopped in [pool.submit(channel.stop) for channel in started]:
                stopped.result()


@dataclass(slots=True)
class Watcher:
    """A project's inbox and the runs on what it holds.

    Attributes:
        workspace: the project on its lake.
        counts: numbers since the start.
        pages: path -> what the HTTP inbox answers to GET, such as metrics made from `counts`.
        pause_s: the shortest pause after a run that failed; doubled from try to try.
    """

    workspace: Workspace
    counts: Counts = field(default_factory=Counts)
    pages: Mapping[str, Page] = field(default_factory=dict)
    pause_s: float = _FIRST_PAUSE_S
    places: Places = field(init=False)
    inbox: Inbox = field(init=False)
    _failures: int = 0
    _retry_at_s: float | None = None
    _hurries: bool = False  # a new event makes another try worthwhile at once
    _sweep_at_s: float = 0.0
    _is_first: bool = True

    def __post_init__(self) -> None:
        self.places = Places(self.workspace.project)
        self.inbox = Inbox(self.places.is_known, self.counts, self.workspace.project.watch.max_pending)

    def watch(self) -> None:
        """Watch until a signal ends the process. What is not acknowledged then is given back.

        Raises:
            ConfigError: the project is wrong, or says nothing to watch.
            ServiceError: a queue cannot be read at the start.
        """
        project = self.workspace.project
        channels: list[Channel] = list(open_queues(project, self.inbox))
        storage = self.workspace.storage
        others = open_others(project, storage, self.inbox, ready=lambda: self._problems(channels), pages=self.pages)
        channels.extend(others)
        require_some(channels)
        with _started(channels):
            self._sweep_at_s = time.monotonic() + (0 if others else self._seconds_to_sweep())
            log.event("watching", channels=[channel.name for channel in channels])
            while True:
                self.step()

    def drain(self) -> None:
        """Act on all messages of the queues, and end when these are empty.

        Raises:
            ConfigError: the project has no queue.
            TrichordError: as `reindex`; the messages are given back.
        """
        queues = open_queues(self.workspace.project, self.inbox, drain=True)
        if not queues:
            raise ConfigError("`trichord watch --once` empties queues, and the project names none: set watch.queues.")
        with _started(queues):
            while True:
                self._fill(queues)
                if not self.inbox.waiting:
                    return
                self._run_events()
                for queue in queues:
                    queue.drained.clear()

    def step(self) -> None:
        """Wait for a window of events or a sweep, and run it; a run that fails is tried again later."""
        settings = self.workspace.project.watch
        until_s = self._sweep_at_s if self._retry_at_s is None else min(self._sweep_at_s, self._retry_at_s)
        found = False
        if self._retry_at_s is not None and not self._hurries:
            time.sleep(max(0.0, until_s - time.monotonic()))
        else:
            found = self.inbox.wait_for_window(settings.quiet_s, settings.most_s, until_s)
        try:
            if time.monotonic() >= self._sweep_at_s or self.inbox.is_sweep_wanted:
                self._sweep()
            elif found or self._retry_at_s is not None:
                self._run_events()
        except (GateFailed, *_PASSING) as error:
            self._put_off(error)

    def summary(self) -> Watched:
        """Return what was done so far."""
        lag_s = round(self.counts.lag_s / self.counts.lagged, 3) if self.counts.lagged else None
        return Watched(
            messages=self.counts.by_channel(),
            runs=dict(self.counts.runs),
            waiting=self.inbox.waiting,
            events_missed=self.counts.missed,
            lag_s=lag_s,
        )

    def _problems(self, channels: Sequence[Channel]) -> list[str]:
        """Return what keeps the watcher from its work, in words for anybody."""
        found = [f"{channel.name} receives nothing" for channel in channels if channel.problem() is not None]
        return found + ["the inbox is full"] * self.inbox.is_full + ["runs fail"] * (self._failures > 0)

    def _run_events(self) -> None:
        messages = self.inbox.held()
        scopes = coalesce(self._looks(messages))
        if scopes:
            log.event("looking", messages=len(messages), **_shown(scopes))
            self._count_run(self._reindex(EVENT, scopes))
        self._finish(messages)

    def _sweep(self) -> None:
        self._sweep_at_s = time.monotonic()  # so that one that fails is due again
        self.inbox.begin_sweep()
        messages = self.inbox.held()
        before = self.workspace.publications.live()
        summary = self._reindex(SWEEP, None)
        self._count_run(summary)
        missed = 0
        if not self._is_first and before is not None and not summary.unchanged:
            missed = count_missed(self.workspace, before, self._looks(self.inbox.peek()))
            self.counts.see_missed(missed)
        log.event("swept", rows_missed=missed)
        self._is_first = False
        self._finish(messages)
        self._sweep_at_s = time.monotonic() + self.workspace.project.watch.sweep_every_s

    def _reindex(self, trigger: str, scopes: Sequence[Scope] | None) -> RunSummary:
        return reindex(self.workspace, scope=scopes, wait=True, trigger=trigger)

    def _count_run(self, summary: RunSummary) -> None:
        self.counts.see_run("unchanged" if summary.unchanged else "committed")

    def _finish(self, messages: Sequence[Message]) -> None:
        now_s = time.time()
        events = [(event, message.received_s) for message in messages for event in message.events]
        lags_s = [_lag(event.at_s, received_s, now_s) for event, received_s in events]
        self.inbox.finish(messages)
        self.counts.see_lags(lags_s, [lag for (event, _), lag in zip(events, lags_s, strict=True) if event.deleted])
        if messages:
            log.event("acknowledged", messages=len(messages), longest_lag_s=round(self.counts.last_lag_s, 3))
        self._failures, self._retry_at_s = 0, None

    def _looks(self, messages: Sequence[Message]) -> set[Look]:
        return {look for message in messages for event in message.events for look in self.places.looks(event)}

    def _put_off(self, error: TrichordError) -> None:
        """Keep the messages, and say when they are tried again."""
        self.counts.see_run(type(error).__name__)
        self._hurries = gate = isinstance(error, GateFailed)  # which new data may pass
        first_s, most_s = (_GATE_PAUSE_S, _LONGEST_GATE_PAUSE_S) if gate else (self.pause_s, _LONGEST_PAUSE_S)
        # A file that changed meanwhile is not a lasting failure: its own event is on the way.
        changed = isinstance(error, Changed)
        pause_s = min(most_s, first_s * 2.0 ** (0 if changed else min(self._failures, _MOST_DOUBLINGS)))
        self._failures += not changed
        self._retry_at_s = time.monotonic() + pause_s
        self._sweep_at_s = max(self._sweep_at_s, self._retry_at_s)
        log.event(
            "run_failed", kind=type(error).__name__, detail=str(error), messages=self.inbox.waiting, again_in_s=pause_s
        )

    def _seconds_to_sweep(self) -> float:
        """Return when the next sweep is due: restarts put none off, and add none."""
        if self.workspace.publications.live() is None:
            return 0
        runs = iterate_runs(self.workspace.lake, events=False)
        swept = (note for note in runs if note.trigger == SWEEP and not note.exit_code)
        last = next(swept, None)
        if last is None:
            return 0
        age_s = time.time() - datetime.fromisoformat(last.started_at).timestamp()
        return max(0.0, self.workspace.project.watch.sweep_every_s - max(0.0, age_s))

    def _fill(self, queues: Sequence[SqsQueue]) -> None:
        """Wait until the queues are empty, or the inbox is full.

        Raises:
            ServiceError: a queue does not answer.
        """
        while not all(queue.drained.wait(_LOOK_S) for queue in queues) and not self.inbox.is_full:
            for queue in queues:
                if queue.problem() is not None:
                    raise ServiceError(
                        f"The queue {queue.name} does not answer: {queue.problem()}\nRun it again later."
                    )


def _lag(at_s: float | None, received_s: float, now_s: float) -> float:
    """Return the seconds since a change; since its receipt if the message says no time, or one that cannot be."""
    since_s = received_s if at_s is None or not received_s - _OLDEST_S <= at_s <= now_s else at_s
    return max(0.0, now_s - since_s)


def _shown(scopes: Sequence[Scope]) -> dict[str, object]:
    """Return scopes for the log."""
    keys = sum(len(scope.keys or ()) for scope in scopes)
    whole = [scope.source for scope in scopes if scope.whole]
    return {"sources": [scope.source for scope in scopes], "keys": keys, "whole": whole}


def watch(workspace: Workspace, *, once: bool = False) -> Watched:
    """Watch until a signal ends the process, or, if `once`, until the queues are empty.

    Raises:
        ConfigError: the project is wrong, or says nothing to watch.
        ServiceError: a queue cannot be read.
        TrichordError: with `once`, as `reindex`.
    """
    watcher = Watcher(workspace)
    watcher.pages = metrics_pages(workspace, watcher.counts, watcher.inbox)
    try:
        if once:
            watcher.drain()
        else:
            watcher.watch()
    finally:
        log.event("watch_ended", **watcher.summary().to_dict())
    return watcher.summary()
