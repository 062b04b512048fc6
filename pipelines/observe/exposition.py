"""The metrics in Prometheus's text format: printed, written to a file, pushed to a gateway, served."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest, push_to_gateway, start_http_server, write_to_textfile
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.observe.metrics import METRICS, EventState, Sample, samples
from trichord.pipelines.observe.state import LakeState, read_state

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FRESH_S = 30.0  # a scrape reads the lake again when what was read is older
_PUSH_TIMEOUT_S = 5.0
_JOB = "trichord"


class _Known(Collector):
    """Gives prometheus-client the samples that a function returns at each scrape."""

    def __init__(self, read: Callable[[], Sequence[Sample]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        found: dict[str, list[Sample]] = {}
        for sample in self._read():
            found.setdefault(sample.name, []).append(sample)
        for metric in METRICS:
            if metric.name not in found:
                continue
            labels = ("lake", *metric.labels)
            family = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(
                metric.name, metric.help, labels=labels
            )
            for sample in found[metric.name]:
                family.add_metric([sample.labels[name] for name in labels], sample.value)
            yield family


def registry_of(read: Callable[[], Sequence[Sample]]) -> CollectorRegistry:
    """Return a registry that reads the samples at each scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Known(read))
    return registry


def text_of(found: Iterable[Sample]) -> bytes:
    """Return the samples in the text format; its content type is `CONTENT_TYPE`."""
    held = list(found)
    return generate_latest(registry_of(lambda: held))


def write_textfile(found: Iterable[Sample], path: str) -> None:
    """Write the samples to a file; a reader finds the old one or the new one. Raises OSError where that fails."""
    held = list(found)
    write_to_textfile(path, registry_of(lambda: held))


def push(found: Iterable[Sample], gateway: str, lake: str) -> None:
    """Replace what a push gateway holds of a lake. Raises OSError where it refuses or does not answer."""
    held = [Sample(one.name, one.value, one.labels) for one in found]
    push_to_gateway(gateway, _JOB, registry_of(lambda: held), grouping_key={"lake": lake}, timeout=_PUSH_TIMEOUT_S)


class LiveMetrics:
    """The metrics of a lake as they are now, for a `/metrics` page: the watcher's, the search service's.

    Args:
        workspace: the project on its lake, which is read at most every `FRESH_S`, however often it is asked.
        events: returns what is known of events; without it, there are no metrics of events.
    """

    def __init__(self, workspace: Workspace, events: Callable[[], EventState] | None = None) -> None:
        self._workspace, self._events = workspace, events
        self._lock = threading.Lock()
        self._state: LakeState | None = None
        self._read_s = 0.0

    def samples(self) -> list[Sample]:
        """Return every value. Raises StorageError where the lake cannot be read."""
        with self._lock:
            if self._state is None or time.monotonic() - self._read_s > FRESH_S:
                self._state, self._read_s = read_state(self._workspace), time.monotonic()
            state = self._state
        return samples(state, self._events() if self._events is not None else None)

    def page(self) -> tuple[bytes, str]:
        """Return the body and the content type of a `/metrics` page. Raises as `samples`."""
        return text_of(self.samples()), CONTENT_TYPE

    def serve(self, host: str, port: int) -> Callable[[], None]:
        """Serve them in threads of their own; return what ends that. Raises OSError if the port is taken."""
        server, thread = start_http_server(port, addr=host, registry=registry_of(self.samples))

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop
