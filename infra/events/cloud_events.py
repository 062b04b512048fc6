"""CloudEvents over HTTP, binary and structured: those of Cloud Storage, S3, Pub/Sub, and any that name places."""

from __future__ import annotations

import re
from collections.abc import Mapping

from trichord.infra.errors import ConfigError
from trichord.infra.events.event import Event, Poison
from trichord.infra.events.notices import gcs_event, parse_body, read_notice

_GCS = re.compile(r"google\.cloud\.storage\.object\.v1\.(\w{1,40})")
_JSON = re.compile(r"application/([\w.+-]+\+)?json\b", re.IGNORECASE)
_DEEP = (OverflowError, RecursionError)
STRUCTURED = "application/cloudevents+json"


def require_library() -> None:
    """Raise ConfigError if cloudevents is not installed."""
    try:
        import cloudevents.core  # noqa: F401
    except ImportError as missing:
        raise ConfigError("watch.token_file needs cloudevents.\nNext: pip install 'trichord[events]'") from missing


def is_cloud_event(headers: Mapping[str, str]) -> bool:
    """Return True if a request carries one CloudEvent; the names of headers are in lower case."""
    return "ce-type" in headers or headers.get("content-type", "").lower().startswith(STRUCTURED)


def read_cloud_event(headers: Mapping[str, str], body: bytes) -> tuple[Event, ...]:
    """Return the places that a CloudEvent names.

    Args:
        headers: of the request, their names in lower case.
        body: of the request.

    Raises:
        Poison: it is not a CloudEvent, or names no place.
    """
    from cloudevents.core.bindings.http import HTTPMessage, from_http_event
    from cloudevents.core.exceptions import BaseCloudEventException

    binary = "ce-type" in headers
    if not binary or _JSON.match(headers.get("content-type", "application/json")):
        parse_body(body)  # the library would raise whatever deep or broken JSON raises
    wanted = {name: value for name, value in headers.items() if name.startswith("ce-") or name == "content-type"}
    try:
        event = from_http_event(HTTPMessage(headers=wanted, body=body))
        kind, subject, time, content = event.get_type(), event.get_subject() or "", event.get_time(), event.get_data()
    except (BaseCloudEventException, ValueError, TypeError, KeyError, AttributeError, *_DEEP) as error:
        raise Poison("it is not a CloudEvent") from error
    data: object = parse_body(content) if isinstance(content, bytes | str) else content
    if not isinstance(data, dict):
        raise Poison("its data is not a JSON object")
    if (stored := _GCS.fullmatch(kind)) is not None:
        bucket, name = data.get("bucket"), data.get("name") or subject.removeprefix("objects/")
        if not isinstance(bucket, str) or not isinstance(name, str):
            raise Poison("its data is not Cloud Storage's")
        at = data.get("updated") or (time.isoformat() if time is not None else None)
        return tuple(gcs_event(bucket, name, stored[1].lower(), data.get("generation"), at))
    return read_notice(data)
