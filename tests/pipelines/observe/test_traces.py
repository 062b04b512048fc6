"""Traces: one span for the run, one in it for each stage, also for the one that failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.pipelines.lakes import trichord, workspace_of
from tests.pipelines.observe.receivers import Recorder, recording
from trichord.pipelines.core.runs import RunNote, StageTime, last_runs
from trichord.pipelines.observe import outbox
from trichord.pipelines.observe.outbox import Outbox
from trichord.pipelines.observe.state import LakeState
from trichord.pipelines.observe.traces import TracesReceiver


def spans_of(recorder: Recorder) -> list:
    """The spans of the one request that came in."""
    [posted] = recorder.posted
    [resource] = ExportTraceServiceRequest.FromString(posted.body).resource_spans
    return [span for scope in resource.scope_spans for span in scope.spans]


def test_a_run_of_the_command_is_one_trace(lake_copy: Path) -> None:
    with recording() as collector:
        trichord("reindex", "--project", str(lake_copy), env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    [span] = spans_of(collector)
    [note, _] = last_runs(workspace_of(lake_copy).lake)
    assert span.name == "trichord reindex"
    assert collector.posted[0].path == "/v1/traces"
    values = {one.key: one.value for one in span.attributes}
    assert values["trichord.run"].string_value == note.id
    assert values["trichord.unchanged"].bool_value
    assert (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9 == pytest.approx(note.seconds, abs=1e-3)


def test_stages_are_spans_within_the_run_and_the_one_that_failed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    note = RunNote(
        id="1", verb="reindex", trigger="nightly", started_at="2026-01-02T03:04:05+00:00", host="h", version="1",
        seconds=9.0, exit_code=6, error="StorageError: the disk is full", stage="index",
        stages={
            "records": StageTime(made=2, seconds=1.5, after_s=0.5),
            "vectors": StageTime(made=2, seconds=4.0, after_s=2.0),
        },
    )  # fmt: skip
    with recording() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        box = Outbox("traces")
        TracesReceiver("l", box).ended(note, lambda: LakeState(lake="l"))
        outbox.close([box])
    spans = {span.name: span for span in spans_of(collector)}
    whole = spans.pop("trichord reindex")
    start = whole.start_time_unix_nano
    seconds = {
        name: ((span.start_time_unix_nano - start) / 1e9, (span.end_time_unix_nano - start) / 1e9)
        for name, span in spans.items()
    }
    assert seconds == {"records": (0.5, 2.0), "vectors": (2.0, 6.0), "index": (6.0, 9.0)}
    assert {span.parent_span_id for span in spans.values()} == {whole.span_id}
    assert {name for name, span in spans.items() if span.status.code == span.status.STATUS_CODE_ERROR} == {"index"}
    assert whole.status.message == "StorageError: the disk is full"
