"""Read what stores and senders write into messages: S3, SNS, EventBridge, Google Cloud Storage, and plain places.

S3: docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html (2.1 to 2.6: a newer minor version
only adds fields). Google: cloud.google.com/storage/docs/pubsub-notifications.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

from trichord.infra.events.event import MAX_BODY_BYTES, MAX_EVENTS, Event, Poison
from trichord.infra.json_values import parse_json

_MAX_WRAPPERS = 4  # SNS around EventBridge around a notice, and one more
_VERSION = re.compile(r"2\.\d{1,3}")
# What leaves the bytes of an object as they are.
_S3_UNRELATED = ("ObjectTagging", "ObjectAcl", "ObjectAnnotation", "Replication", "LifecycleTransition",
                 "IntelligentTiering", "ObjectRestore:Post")  # fmt: skip
_S3_DELETED = ("ObjectRemoved", "LifecycleExpiration")
_BRIDGE_LOOKS = frozenset(("Object Created", "Object Deleted", "Object Restore Completed", "Object Restore Expired"))
_GCS_LOOKS = frozenset(("finalize", "finalized", "delete", "deleted", "archive", "archived"))
_BUCKET = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,221}")


def parse_body(body: bytes | str) -> object:
    """Parse the JSON of a message.

    Raises:
        Poison: it is too large, or is not JSON.
    """
    size = len(body) if isinstance(body, bytes) else len(body.encode(errors="surrogatepass"))
    if size > MAX_BODY_BYTES:
        raise Poison(f"too large: {size:,} bytes, of at most {MAX_BODY_BYTES:,}")
    try:
        return parse_json(body)
    except ValueError as error:
        raise Poison("it is not JSON, or is nested too deeply") from error


def read_notice(value: object) -> tuple[Event, ...]:
    """Return the places that a message names; none if it is a test, or reports nothing that changes content.

    Raises:
        Poison: it is none of the known forms, or a place in it cannot be one.
    """
    for _ in range(_MAX_WRAPPERS):
        if not isinstance(value, dict):
            break
        if value.get("Type") == "Notification" and isinstance(value.get("Message"), str):  # SNS
            value = parse_body(value["Message"])
            continue
        events: list[Event] = []
        for event in _events_of(value):
            if len(events) == MAX_EVENTS:
                raise Poison(f"it names more than {MAX_EVENTS:,} places")
            events.append(event)
        return tuple(events)
    raise Poison("it is not a notification that is known here")


def _events_of(value: Mapping[str, Any]) -> Iterator[Event]:
    if value.get("Event") == "s3:TestEvent":
        return
    if isinstance(value.get("Records"), list):
        for record in value["Records"]:
            yield from _s3_record(record)
    elif value.get("source") == "aws.s3" and isinstance(value.get("detail"), dict):
        yield from _bridge(value, value["detail"])
    elif isinstance(value.get("message"), dict) and "subscription" in value:
        yield from read_pubsub(value["message"])
    else:
        yield from read_places(value)


def _s3_record(record: object) -> Iterator[Event]:
    match record:
        case {"eventVersion": str(version), "eventName": str(name), "s3": {"bucket": {"name": str(bucket)},
              "object": {"key": str(key), **thing}}, **rest}:  # fmt: skip
            if not _VERSION.fullmatch(version):
                raise Poison("its eventVersion is not 2.x")
            if not name.removeprefix("s3:").startswith(_S3_UNRELATED):
                yield Event(
                    uri=_object("s3", bucket, unquote_plus(key, errors="surrogateescape")),
                    id=_text(thing.get("sequencer")),
                    at_s=_time(rest.get("eventTime")),
                    deleted=name.removeprefix("s3:").startswith(_S3_DELETED),
                )
        case _:
            raise Poison("a record of it is not S3's")


def _bridge(value: Mapping[str, Any], detail: Mapping[str, Any]) -> Iterator[Event]:
    match detail:
        case {"bucket": {"name": str(bucket)}, "object": {"key": str(key), **thing}}:  # this key is not URL-encoded
            if value.get("detail-type") in _BRIDGE_LOOKS:
                at_s, number = _time(value.get("time")), _text(thing.get("sequencer"))
                deleted = value["detail-type"] == "Object Deleted"
                yield Event(uri=_object("s3", bucket, key), id=number, at_s=at_s, deleted=deleted)
        case _:
            raise Poison("its detail is not S3's")


def read_pubsub(message: Mapping[str, Any]) -> Iterator[Event]:
    """Yield the place that a Pub/Sub message names, by the attributes of Cloud Storage, or else by its data."""
    match message.get("attributes"):
        case {"bucketId": str(bucket), "objectId": str(key), "eventType": str(kind), **rest}:
            yield from gcs_event(
                bucket, key, kind.removeprefix("OBJECT_").lower(), rest.get("objectGeneration"), rest.get("eventTime")
            )
            return
    try:
        body = b64decode(str(message.get("data", "")), validate=True)
    except ValueError as error:
        raise Poison("its data is not base64") from error
    data = parse_body(body)
    if not isinstance(data, dict):
        raise Poison("its data is not an object")
    yield from read_places(data)


def gcs_event(bucket: str, key: str, kind: str, generation: object, time: object) -> Iterator[Event]:
    """Yield the place of an object of Google Cloud Storage; nothing if only its metadata changed."""
    if kind in _GCS_LOOKS:
        number = f"{kind[:6]}/{generation}" if generation else ""
        deleted = not kind.startswith("finalize")  # archived: a version that the bucket keeps, and no object any more
        yield Event(uri=_object("gs", bucket, key), id=number, at_s=_time(time), deleted=deleted)


def read_places(value: Mapping[str, Any]) -> Iterator[Event]:
    """Yield the places that a sender of this project names: `{"source": NAME, "paths": […]}` or `{"uris": […]}`.

    Raises:
        Poison: it names none.
    """
    data = value["data"] if isinstance(value.get("data"), dict) else value
    at_s = _time(value.get("timestamp", value.get("time")))
    match data:
        case {"uris": [*uris]}:
            yield from (Event(uri=_uri(uri), at_s=at_s) for uri in uris)
        case {"uri": str(uri)}:
            yield Event(uri=_uri(uri), at_s=at_s)
        case {"source": str(source), "paths": [*paths]} if paths:
            yield from (Event(source=source, path=_uri(path), at_s=at_s) for path in paths)
        case {"source": str(source)} if "paths" not in data:
            yield Event(source=source, at_s=at_s)
        case _:
            raise Poison("it names neither `uri`, `uris` nor `source`")


def _object(scheme: str, bucket: str, key: str) -> str:
    if not _BUCKET.fullmatch(bucket):
        raise Poison("its bucket cannot be one")
    if not key:
        raise Poison("its key is empty")
    return f"{scheme}://{bucket}/{key}"


def _uri(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise Poison("a place in it is not a text")
    return value


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _time(value: object) -> float | None:
    """Return seconds since 1970; None for what is not a time of ISO 8601: it serves figures alone."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return None if found is None else (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
