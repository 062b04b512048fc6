"""The metrics of each run: to a file for node_exporter, and to a push gateway."""

from __future__ import annotations

from trichord.infra.config import MetricsConfig
from trichord.pipelines.core.runs import RunNote
from trichord.pipelines.observe import exposition
from trichord.pipelines.observe.metrics import samples
from trichord.pipelines.observe.outbox import Outbox
from trichord.pipelines.observe.receiver import State


class MetricsReceiver:
    """Writes and pushes what the lake knows after each run, a failed one too."""

    def __init__(self, config: MetricsConfig, outbox: Outbox) -> None:
        self._config, self._outbox = config, outbox

    def started(self, note: RunNote) -> None:
        """Do nothing."""

    def ended(self, note: RunNote, state: State) -> None:
        """Send the metrics."""
        known, gateway = state(), self._config.push_gateway
        found = samples(known)
        if gateway is not None:
            self._outbox.send(lambda: exposition.push(found, gateway, known.lake))
        if self._config.textfile is not None:
            exposition.write_textfile(found, self._config.textfile)
