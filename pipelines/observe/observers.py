"""Which observers a project's runs have, and the block in which they hear of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from trichord.infra import log
from trichord.infra.errors import ConfigError
from trichord.infra.redaction import redact
from trichord.pipelines.core.runs import SIGNALLED, Observer, RunNote
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.observe import outbox
from trichord.pipelines.observe.receiver import Receiver

if TYPE_CHECKING:
    from trichord.pipelines.observe.state import LakeState


@dataclass(frozen=True, slots=True)
class _Safe:
    """An observer that never raises."""

    name: str
    receiver: Receiver
    workspace: Workspace
    states: dict[str, LakeState] = field(default_factory=dict)  # by run; shared by all observers
    ended_by: list[int] = field(default_factory=list)  # exit codes

    def started(self, note: RunNote) -> None:
        self._tell(lambda: self.receiver.started(note))

    def ended(self, note: RunNote) -> None:
        self.ended_by.append(note.exit_code)
        self._tell(lambda: self.receiver.ended(note, lambda: self._state(note)))

    def _state(self, note: RunNote) -> LakeState:
        from trichord.pipelines.observe.state import read_state  # what a night without observers need not import

        if note.id not in self.states:
            self.states[note.id] = read_state(self.workspace, note)
        return self.states[note.id]

    def _tell(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception as error:  # noqa: BLE001 - whatever an observer or its library does, the run goes on
            why = redact(next(iter(str(error).splitlines()), "") or type(error).__name__)
            log.event("not_sent", receiver=self.name, why=why[:300])


@contextmanager
def observing(workspace: Workspace) -> Iterator[list[Observer]]:
    """Yield the observers that the project and the environment name; at the end, wait a while for what they send.

    Raises:
        ConfigError: the project names one whose library is not installed, or whose key cannot be read.
    """
    outboxes: list[outbox.Outbox] = []

    def open_outbox(name: str) -> outbox.Outbox:
        outboxes.append(outbox.Outbox(name))
        return outboxes[-1]

    states: dict[str, LakeState] = {}
    ended_by: list[int] = []
    receivers = _receivers(workspace, open_outbox, os.environ)
    try:
        yield [_Safe(name, receiver, workspace, states, ended_by) for name, receiver in receivers.items()]
    finally:
        signalled = any(code in SIGNALLED for code in ended_by)
        outbox.close(outboxes, outbox.SIGNALLED_WAIT_S if signalled else outbox.WAIT_S)


def _receivers(
    workspace: Workspace, open_outbox: Callable[[str], outbox.Outbox], environment: Mapping[str, str]
) -> dict[str, Receiver]:
    """Return the configured receivers. Nothing is imported for one that is not."""
    metrics, alerts = workspace.project.metrics, workspace.project.alerts
    found: dict[str, Receiver] = {}
    if metrics.textfile is not None or metrics.push_gateway is not None:
        require_library("prometheus_client", "`metrics` of the project file")
        from trichord.pipelines.observe.exporters import MetricsReceiver

        found["metrics"] = MetricsReceiver(metrics, open_outbox("metrics"))
    if alerts.url is not None:
        require_library("standardwebhooks", "`alerts` of the project file")
        from trichord.pipelines.observe.alerts import AlertsReceiver

        found["alerts"] = AlertsReceiver(alerts, open_outbox("alerts"))
    if wants_lineage(environment):
        from trichord.pipelines.observe.lineage import LineageReceiver

        found["lineage"] = LineageReceiver(workspace, open_outbox("lineage"))
    if wants_traces(environment):
        from trichord.pipelines.observe.traces import TracesReceiver

        found["traces"] = TracesReceiver(redact(workspace.lake.root), open_outbox("traces"))
    return found


def wants_lineage(environment: Mapping[str, str]) -> bool:
    """Return True if the environment configures OpenLineage's own client."""
    disabled = environment.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true"
    named = any(environment.get(name) for name in ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG"))
    return not disabled and (named or any(name.startswith("OPENLINEAGE__TRANSPORT") for name in environment))


def wants_traces(environment: Mapping[str, str]) -> bool:
    """Return True if the environment configures OpenTelemetry's exporter of traces."""
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    off = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return not disabled and not off and any(environment.get(name) for name in names)


@cache
def _is_installed(module: str) -> bool:
    return find_spec(module) is not None


def require_library(module: str, user: str) -> None:
    """Raise ConfigError unless a library of the extra is installed; `user` says what needs it."""
    if not _is_installed(module):
        raise ConfigError(
            f"{user} needs {module.replace('_', '-')}, which is not installed.\n"
            "Next: pip install 'trichord[observability]'"
        )
