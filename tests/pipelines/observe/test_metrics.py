"""Metrics: what a lake knows, under documented names, with few values of each label, and after a failed run too."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.pipelines.lakes import result_of, rows_of, trichord, workspace_of, write_rows
from tests.pipelines.observe.receivers import recording
from trichord.pipelines.core.runs import RunNote, last_runs
from trichord.pipelines.observe.exposition import LiveMetrics, text_of
from trichord.pipelines.observe.metrics import METRICS, NAMES, REASONS, EventState, Sample, samples
from trichord.pipelines.observe.state import LakeState, ended_s, read_state

PAGE = Path(__file__).parents[3] / "docs" / "observability.md"
UNITS = ("seconds", "bytes", "rows", "records", "shards", "units", "total")


def found(text: str | bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The values of a page in the text format, by name and labels other than `lake`."""
    families = text_string_to_metric_families(text if isinstance(text, str) else text.decode())
    return {
        (sample.name, frozenset(pair for pair in sample.labels.items() if pair[0] != "lake")): sample.value
        for family in families
        for sample in family.samples
    }


def note(**given: object) -> RunNote:
    at: dict = {"started_at": "2026-01-02T03:04:05+00:00", "host": "h", "version": "1", "verb": "reindex"}
    return RunNote(**{"id": "1", "trigger": "nightly", **at, **given})


def test_the_page_lists_every_metric_with_its_labels_and_no_other() -> None:
    rows = re.findall(r"^\| `(trichord_\w+)` \| ([^|]*) \|", PAGE.read_text(encoding="utf-8"), flags=re.M)
    listed = {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert listed == {metric.name: metric.labels for metric in METRICS}


def test_names_have_the_prefix_a_unit_where_there_is_one_and_are_unique() -> None:
    assert len(NAMES) == len(METRICS)
    for metric in METRICS:
        assert metric.name.startswith("trichord_")
        assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert {name for name in NAMES if not name.endswith(UNITS)} == {
        "trichord_info", "trichord_publication_sequence", "trichord_gate_passed", "trichord_gate_check_passed",
        "trichord_gate_check_value", "trichord_gate_check_threshold", "trichord_table_version",
        "trichord_run_exit_code", "trichord_run_failures", "trichord_run_cost", "trichord_events_pending",
    }  # fmt: skip


def test_a_lake_says_what_is_live_and_how_its_run_went(lake_copy: Path) -> None:
    workspace = workspace_of(lake_copy)
    values, live = found(trichord("metrics", "--project", str(lake_copy)).stdout), workspace.publications.require_live()
    assert {name for name, _ in values} <= NAMES
    [run] = last_runs(workspace.lake)
    assert values["trichord_publication_rows", frozenset({("fate", "kept")})] == live.counts.rows_kept
    assert values["trichord_publication_sequence", frozenset()] == 1
    assert values["trichord_publication_confirmed_timestamp_seconds", frozenset()] == pytest.approx(ended_s(run))
    rejected = [value for (name, _), value in values.items() if name == "trichord_publication_rejected_rows"]
    assert sum(rejected) == live.counts.rows_rejected > 0
    at_stage = frozenset({("trigger", "command"), ("stage", "index")})
    assert values["trichord_run_stage_duration_seconds", at_stage] == run.stages["index"].seconds
    checks = {dict(labels)["check"] for name, labels in values if name == "trichord_gate_check_passed"}
    assert checks == {check.name for check in live.verdict.checks}
    assert values["trichord_table_rows", frozenset({("table", "vectors")})] > 0


def test_no_label_holds_a_key(lake_copy: Path) -> None:
    workspace = workspace_of(lake_copy)
    paths = [workspace.lake.uri(ref.path) for ref in workspace.table("records").shards().values()]
    keys = {key for path in paths for key in pq.ParquetFile(path).read(["key"])["key"].to_pylist()}
    labels = {value for sample in samples(read_state(workspace)) for value in sample.labels.values()}
    assert keys
    assert not labels & keys


def test_reasons_beyond_the_largest_are_one_label() -> None:
    state = LakeState(lake="l", live=None, rejected={("op", f"reason {i}"): i + 1 for i in range(REASONS + 50)})
    from trichord.pipelines.observe.metrics import _largest

    largest = _largest(state.rejected)
    assert len(largest) == REASONS + 1
    assert sum(largest.values()) == sum(state.rejected.values())
    assert largest["other", "other"] == sum(range(1, 51))


def test_failures_in_a_row_are_counted_by_trigger_and_signals_count_for_nothing() -> None:
    runs = [
        note(id="5", exit_code=143, cost=1.5), note(id="4", exit_code=5), note(id="3", trigger="event"),
        note(id="2", exit_code=6), note(id="1"), note(id="0", exit_code=6),
    ]  # fmt: skip
    values = {(one.name, one.labels.get("trigger")): one.value for one in samples(LakeState(lake="l", runs=runs))}
    assert values["trichord_run_failures", "nightly"] == 2
    assert values["trichord_run_failures", "event"] == 0
    assert (values["trichord_run_cost", "nightly"], ("trichord_run_cost", "event") in values) == (1.5, False)
    assert values["trichord_run_exit_code", "nightly"] == 143
    assert values["trichord_run_start_timestamp_seconds", "nightly"] == 1767323045


def test_the_state_of_a_watcher_becomes_counters_lag_and_what_is_pending() -> None:
    handled = {("sqs photos", "done"): 7, ("sqs photos", "refused"): 1}
    events = EventState(handled=handled, missed=3, pending=2, oldest_s=time.time() - 60, last_lag_s=6.5)
    text = text_of(samples(LakeState(lake="l"), events)).decode()
    values = found(text)
    assert values["trichord_events_total", frozenset({("channel", "sqs photos"), ("fate", "done")})] == 7
    assert values["trichord_events_missed_total", frozenset()] == 3
    assert values["trichord_event_commit_lag_seconds", frozenset()] == 6.5
    assert values["trichord_event_lag_seconds", frozenset()] == pytest.approx(60, abs=5)
    assert "# TYPE trichord_events_total counter" in text
    assert found(text_of(samples(LakeState(lake="l"), EventState())))["trichord_event_lag_seconds", frozenset()] == 0


def test_a_failed_run_writes_the_file_and_pushes_too(lake_copy: Path, tmp_path: Path) -> None:
    path = tmp_path / "trichord.prom"
    with recording() as gateway:
        settings = ("--set", f"metrics.textfile={path}", "--set", f"metrics.push_gateway={gateway.url}")
        project = ("--project", str(lake_copy), *settings)
        trichord("reindex", *project)
        well = found(path.read_text())
        trichord("reindex", *project, "--set", f"sources.0.path={tmp_path / 'gone.jsonl'}", check=7)
    failed = found(path.read_text())
    label = frozenset({("trigger", "command")})
    assert (well["trichord_run_exit_code", label], failed["trichord_run_exit_code", label]) == (0, 7)
    assert failed["trichord_run_failures", label] == 1
    confirmed = "trichord_publication_confirmed_timestamp_seconds"
    assert well[confirmed, frozenset()] == failed[confirmed, frozenset()]
    assert os.listdir(tmp_path) == ["copy", "trichord.prom"] or sorted(os.listdir(tmp_path)) == [
        "copy",
        "trichord.prom",
    ]
    assert [found(one.body)["trichord_run_exit_code", label] for one in gateway.posted] == [0, 7]
    assert len({one.path for one in gateway.posted}) == 1
    assert re.fullmatch(r"/metrics/job/trichord/lake@base64/[\w=-]+", gateway.posted[0].path)


def test_the_gate_is_that_of_the_candidate_until_a_later_run_finds_the_live_index_up_to_date(lake_copy: Path) -> None:
    workspace, corpus = workspace_of(lake_copy), lake_copy.parent / "corpus"
    rows = rows_of(corpus)
    write_rows(corpus, rows[: len(rows) // 2])  # more are lost than gate.max_row_drop allows
    trichord("reindex", "--project", str(lake_copy), check=3)
    state = read_state(workspace)
    assert state.verdict is not None
    assert not state.verdict.passed
    assert {one.name: one.value for one in samples(state)}["trichord_gate_passed"] == 0
    write_rows(corpus, rows)
    trichord("reindex", "--project", str(lake_copy))
    assert {one.name: one.value for one in samples(read_state(workspace))}["trichord_gate_passed"] == 1


def test_the_lake_is_read_once_for_many_scrapes_and_the_events_at_each(
    lake_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, events = Counter[str](), iter([EventState(pending=1), EventState(pending=2)])

    def read(workspace: object) -> LakeState:
        reads["lake"] += 1
        return LakeState(lake="l")

    monkeypatch.setattr("trichord.pipelines.observe.exposition.read_state", read)
    live = LiveMetrics(workspace_of(lake_copy), lambda: next(events))
    pending = [found(live.page()[0])["trichord_events_pending", frozenset()] for _ in range(2)]
    assert (pending, reads["lake"]) == ([1, 2], 1)


def test_the_verb_gives_values_as_json_and_refuses_what_is_no_address(lake_copy: Path) -> None:
    project = ("--project", str(lake_copy))
    values = result_of(trichord("metrics", *project, "--json"))["metrics"]
    assert {one["name"] for one in values} <= NAMES
    assert all(one["labels"]["lake"].endswith("/copy/lake") for one in values)
    for wrong in ("x", "0", "host:", "99999"):
        assert "expected PORT" in trichord("metrics", *project, "--listen", wrong, check=2).stderr


def test_a_lake_without_anything_has_no_more_than_its_version(lake_copy: Path, tmp_path: Path) -> None:
    empty = trichord("metrics", "--project", str(lake_copy), "--set", f"lake={tmp_path / 'empty'}").stdout
    assert {name for name, _ in found(empty)} == {"trichord_info"}


def test_a_credential_in_the_lakes_uri_is_no_label() -> None:
    state = replace(LakeState(lake=""), lake="s3://bucket/lake")
    assert [one.labels["lake"] for one in samples(state)] == ["s3://bucket/lake"]
    assert Sample("x", 1).labels == {}
