"""The watcher's `/metrics`: what the lake knows, and what became of events."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from importlib.util import find_spec
from typing import TYPE_CHECKING

from trichord.infra import log
from trichord.infra.errors import TrichordError
from trichord.infra.events.counts import Counts
from trichord.infra.events.http_inbox import Page
from trichord.infra.events.inbox import Inbox
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.observe.metrics import EventState

if TYPE_CHECKING:
    from trichord.pipelines.observe.exposition import LiveMetrics


def metrics_pages(workspace: Workspace, counts: Counts, inbox: Inbox) -> dict[str, Page]:
    """Return the page by its path; none if prometheus-client is not installed. It is imported when first asked for."""

    @cache
    def live() -> LiveMetrics:
        from trichord.pipelines.observe.exposition import LiveMetrics

        return LiveMetrics(workspace, lambda: event_state(counts, inbox))

    def page() -> tuple[HTTPStatus, str, bytes]:
        try:
            body, kind = live().page()
        except TrichordError as error:
            log.event("metrics_failed", detail=str(error).splitlines()[0])
            return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", b"the lake cannot be read"
        return HTTPStatus.OK, kind, body

    return {"/metrics": page} if find_spec("prometheus_client") is not None else {}


def event_state(counts: Counts, inbox: Inbox) -> EventState:
    """Return the watcher's numbers as metrics have them."""
    handled = {
        (channel, fate): number for channel, fates in counts.by_channel().items() for fate, number in fates.items()
    }
    return EventState(
        handled=handled,
        missed=counts.missed,
        pending=inbox.waiting,
        oldest_s=inbox.oldest_s,
        last_lag_s=counts.last_lag_s if counts.lagged else None,
        removal_lag_s=counts.removal_lag_s,
    )
