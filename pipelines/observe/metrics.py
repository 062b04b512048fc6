"""Metrics: their names, and the values that a lake's state gives them. docs/observability.md describes each."""

from __future__ import annotations

import datetime
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from trichord.infra.packages import version
from trichord.pipelines.core.runs import SIGNALLED, RunNote
from trichord.pipelines.observe.state import LakeState, ended_s

REASONS = 100  # most label values of rejected rows: the ops of a user may give any reason
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric. All have the label `lake` beside `labels`; no label ever holds a key."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    kind: Literal["gauge", "counter"] = "gauge"


METRICS = (
    Metric("trichord_info", "Always 1; the version of trichord.", ("version",)),
    Metric("trichord_publication_created_timestamp_seconds", "When the live publication was made live."),
    Metric(
        "trichord_publication_confirmed_timestamp_seconds",
        "When a run last found, or made, the live publication equal to all sources.",
    ),
    Metric("trichord_publication_sequence", "Number of the live publication; it rises with each publication."),
    Metric("trichord_publication_rows", "Rows of the live publication, by what became of them.", ("fate",)),
    Metric("trichord_publication_rejected_rows", "Rejected rows of the live publication.", ("op", "reason")),
    Metric("trichord_publication_records", "Records of the live publication, by source.", ("source",)),
    Metric("trichord_gate_passed", "1 if the last candidate passed the gate, 0 if it was refused."),
    Metric("trichord_gate_check_passed", "1 if the check passed or was accepted.", ("check",)),
    Metric("trichord_gate_check_value", "The figure that the check measured.", ("check",)),
    Metric("trichord_gate_check_threshold", "What the check compares it with.", ("check",)),
    Metric("trichord_table_rows", "Rows of the newest version of a table.", ("table",)),
    Metric("trichord_table_bytes", "Bytes of its shards.", ("table",)),
    Metric("trichord_table_shards", "Number of its shards.", ("table",)),
    Metric("trichord_table_version", "Its Delta version.", ("table",)),
    Metric("trichord_run_start_timestamp_seconds", "When the last run started.", ("trigger",)),
    Metric("trichord_run_end_timestamp_seconds", "When the last run ended.", ("trigger",)),
    Metric("trichord_run_duration_seconds", "How long the last run took.", ("trigger",)),
    Metric("trichord_run_exit_code", "Exit code of the last run.", ("trigger",)),
    Metric("trichord_run_failures", "Runs that failed since the last one that ended well.", ("trigger",)),
    Metric("trichord_run_written_bytes", "Bytes of shards and index files that the last run made.", ("trigger",)),
    Metric("trichord_run_cost", "What the last run cost by the project's `rates`, in their currency.", ("trigger",)),
    Metric("trichord_run_stage_duration_seconds", "Seconds of a stage in the last run.", ("trigger", "stage")),
    Metric("trichord_run_stage_cpu_seconds", "CPU seconds of a stage, of all processes.", ("trigger", "stage")),
    Metric("trichord_run_stage_made_units", "Units that a stage made: shards, models.", ("trigger", "stage")),
    Metric("trichord_events_total", "Messages with events, by what became of them.", ("channel", "fate"), "counter"),
    Metric("trichord_events_missed_total", "Rows that a sweep found changed and no event had named.", (), "counter"),
    Metric("trichord_events_pending", "Messages that were received and are not acknowledged yet."),
    Metric("trichord_event_lag_seconds", "Age of the oldest of these; 0 if there is none."),
    Metric("trichord_event_commit_lag_seconds", "From a change to its commit: the longest of the last run on events."),
    Metric(
        "trichord_event_removal_lag_seconds",
        "From a deletion to the index without it: the longest in the last run that handled one.",
    ),
)
NAMES = frozenset(metric.name for metric in METRICS)


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventState:
    """What a watcher knows of its events.

    Attributes:
        handled: messages since it started, by channel and fate, such as `done`, `ignored` or `refused`.
        missed: rows since it started that only a sweep found changed.
        pending: messages that are received and not acknowledged.
        oldest_s: Unix time at which the oldest of these was received; None if there is none.
        last_lag_s: seconds from a change to its commit, the longest of the last run on events; None before the first.
        removal_lag_s: the same of deletions.
    """

    handled: Mapping[tuple[str, str], int] = field(default_factory=dict)
    missed: int = 0
    pending: int = 0
    oldest_s: float | None = None
    last_lag_s: float | None = None
    removal_lag_s: float | None = None


def samples(state: LakeState, events: EventState | None = None) -> list[Sample]:
    """Return every value that is known."""
    found = [Sample("trichord_info", 1, {"version": version("trichord")})]
    found += [*_of_publication(state), *_of_gate(state), *_of_tables(state), *_of_runs(state.runs)]
    if events is not None:
        found += _of_events(events)
    return [Sample(one.name, float(one.value), {"lake": state.lake, **one.labels}) for one in found]


def _of_publication(state: LakeState) -> Iterator[Sample]:
    live = state.live
    if state.confirmed_s is not None:
        yield Sample("trichord_publication_confirmed_timestamp_seconds", state.confirmed_s)
    if live is None:
        return
    created_s = datetime.datetime.fromisoformat(live.created_at).timestamp()
    yield Sample("trichord_publication_created_timestamp_seconds", created_s)
    yield Sample("trichord_publication_sequence", live.sequence)
    counts = live.counts
    fates = {
        "kept": counts.rows_kept,
        "rejected": counts.rows_rejected,
        "duplicate": counts.rows_duplicate,
        "disagreeing": counts.rows_disagreeing,
    }
    for fate, rows in fates.items():
        yield Sample("trichord_publication_rows", rows, {"fate": fate})
    for (op, reason), rows in _largest(state.rejected).items():
        yield Sample("trichord_publication_rejected_rows", rows, {"op": op, "reason": reason})
    for source, contents in sorted(live.verdict.contents.items()):
        yield Sample("trichord_publication_records", contents.records, {"source": source})


def _largest(rejected: Mapping[tuple[str, str], int]) -> Mapping[tuple[str, str], int]:
    largest = dict(Counter(rejected).most_common(REASONS))
    rest = sum(rejected.values()) - sum(largest.values())
    return largest | ({(OTHER, OTHER): rest} if rest else {})


def _of_gate(state: LakeState) -> Iterator[Sample]:
    if state.verdict is None:
        return
    yield Sample("trichord_gate_passed", state.verdict.passed)
    for check in state.verdict.checks:
        label = {"check": check.name}
        yield Sample("trichord_gate_check_passed", check.passed or check.accepted, label)
        if isinstance(check.value, int | float):
            yield Sample("trichord_gate_check_value", check.value, label)
        if isinstance(check.threshold, int | float):
            yield Sample("trichord_gate_check_threshold", check.threshold, label)


def _of_tables(state: LakeState) -> Iterator[Sample]:
    for name, table in state.tables.items():
        for unit in ("rows", "bytes", "shards", "version"):
            yield Sample(f"trichord_table_{unit}", getattr(table, unit), {"table": name})


def _of_runs(runs: Sequence[RunNote]) -> Iterator[Sample]:
    for trigger in sorted({run.trigger for run in runs}):
        mine = [run for run in runs if run.trigger == trigger]
        last, label = mine[0], {"trigger": trigger}
        yield Sample("trichord_run_start_timestamp_seconds", last.started.timestamp(), label)
        yield Sample("trichord_run_end_timestamp_seconds", ended_s(last), label)
        yield Sample("trichord_run_duration_seconds", last.seconds, label)
        yield Sample("trichord_run_exit_code", last.exit_code, label)
        yield Sample("trichord_run_failures", _failures(mine), label)
        yield Sample("trichord_run_written_bytes", last.bytes_written, label)
        if last.cost is not None:
            yield Sample("trichord_run_cost", last.cost, label)
        for stage, time_of in last.stages.items():
            at = {**label, "stage": stage}
            yield Sample("trichord_run_stage_duration_seconds", time_of.seconds, at)
            yield Sample("trichord_run_stage_cpu_seconds", time_of.cpu_s, at)
            yield Sample("trichord_run_stage_made_units", time_of.made, at)


def _failures(runs: Sequence[RunNote]) -> int:
    """Return how many runs failed since one ended well; those that a signal ended count for neither."""
    codes = [run.exit_code for run in runs if run.exit_code not in SIGNALLED]
    return next((number for number, code in enumerate(codes) if code == 0), len(codes))


def _of_events(events: EventState) -> Iterator[Sample]:
    for (channel, fate), number in sorted(events.handled.items()):
        yield Sample("trichord_events_total", number, {"channel": channel, "fate": fate})
    yield Sample("trichord_events_missed_total", events.missed)
    yield Sample("trichord_events_pending", events.pending)
    lag_s = 0.0 if events.oldest_s is None else max(0.0, time.time() - events.oldest_s)
    yield Sample("trichord_event_lag_seconds", lag_s)
    if events.last_lag_s is not None:
        yield Sample("trichord_event_commit_lag_seconds", events.last_lag_s)
    if events.removal_lag_s is not None:
        yield Sample("trichord_event_removal_lag_seconds", events.removal_lag_s)
