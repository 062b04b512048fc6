"""A trace of each run by OpenTelemetry: a span for the run, and one in it for each stage.

The exporter is configured by its own environment (OTEL_EXPORTER_OTLP_ENDPOINT, ..._HEADERS, ..._TIMEOUT); so is the
service's name (OTEL_SERVICE_NAME, by default `trichord`).
"""

from __future__ import annotations

import logging
import os
from typing import Any

from trichord.infra import log
from trichord.infra.errors import ServiceError
from trichord.pipelines.core.runs import RunNote
from trichord.pipelines.observe.outbox import Outbox
from trichord.pipelines.observe.receiver import State

_SECOND_NS = 1_000_000_000


class TracesReceiver:
    """Exports the trace of a run when it has ended: its stages' times are in its note."""

    def __init__(self, lake: str, outbox: Outbox) -> None:
        self._lake, self._outbox = lake, outbox

    def started(self, note: RunNote) -> None:
        """Do nothing."""

    def ended(self, note: RunNote, state: State) -> None:
        """Export the trace."""
        self._outbox.send(lambda: _export(self._lake, note))


def _export(lake: str, note: RunNote) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import Status, StatusCode, set_span_in_context

    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # what fails is an event of ours
    service = os.environ.get("OTEL_SERVICE_NAME", "trichord")
    resource = Resource.create({"service.name": service, "service.version": note.version, "host.name": note.host})
    provider, collected = TracerProvider(resource=resource, shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(collected))
    tracer = provider.get_tracer("trichord", note.version)

    def at(seconds: float) -> int:
        return int((note.started.timestamp() + seconds) * _SECOND_NS)

    about: dict[str, Any] = {
        "trichord.run": note.id,
        "trichord.lake": lake,
        "trichord.trigger": note.trigger,
        "trichord.exit_code": note.exit_code,
        "trichord.publication": note.publication or "",
        "trichord.unchanged": note.unchanged,
        "trichord.bytes_written": note.bytes_written,
    }
    whole = tracer.start_span(f"trichord {note.verb}", start_time=at(0), attributes=about)
    inside, last_s = set_span_in_context(whole), 0.0
    for name, stage in note.stages.items():
        made = {"trichord.made": stage.made, "trichord.cpu_s": stage.cpu_s}
        span = tracer.start_span(name, context=inside, start_time=at(stage.after_s), attributes=made)
        last_s = stage.after_s + stage.seconds
        span.end(end_time=at(last_s))
    failed = Status(StatusCode.ERROR, note.error)
    if note.stage:
        span = tracer.start_span(note.stage, context=inside, start_time=at(last_s))
        span.set_status(failed)
        span.end(end_time=at(note.seconds))
    if note.exit_code:
        whole.set_status(failed)
    whole.end(end_time=at(note.seconds))
    exporter = OTLPSpanExporter()
    if exporter.export(collected.get_finished_spans()) != SpanExportResult.SUCCESS:
        raise ServiceError("the collector of traces did not take them")
    log.event("traces_sent", spans=len(collected.get_finished_spans()))
