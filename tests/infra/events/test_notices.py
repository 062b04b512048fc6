"""Every form of a notice names its place; all else is poison, whatever it holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.infra.events.notices import bridge, gcs_cloud_event, in_sns, pubsub, s3_notice
from trichord.infra.events.cloud_events import is_cloud_event, read_cloud_event
from trichord.infra.events.event import MAX_BODY_BYTES, MAX_EVENTS, Event, Poison
from trichord.infra.events.notices import parse_body, read_notice

KEY = "in/a b+c%/ü (1).jpg"


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.17"])
def test_s3_of_every_minor_version_is_read_and_its_key_is_decoded(version: str) -> None:
    (event,) = read_notice(s3_notice(KEY, version=version, sequencer="00A1"))
    assert event == Event(uri=f"s3://lake/{KEY}", id="00A1", at_s=1796086800.0)


@pytest.mark.parametrize("event", ["ObjectCreated:Copy", "ObjectCreated:CompleteMultipartUpload",
                                   "ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated",
                                   "LifecycleExpiration:Delete", "LifecycleExpiration:DeleteMarkerCreated",
                                   "ObjectRestore:Completed", "s3:ObjectRemoved:Delete"])  # fmt: skip
def test_what_may_change_an_object_is_looked_at(event: str) -> None:
    (found,) = read_notice(s3_notice("in/a.txt", event=event))
    assert found.uri == "s3://lake/in/a.txt"
    assert found.deleted == ("ObjectRemoved" in event or "Expiration" in event)


@pytest.mark.parametrize("event", ["ObjectTagging:Put", "ObjectAcl:Put", "LifecycleTransition", "IntelligentTiering"])
def test_what_changes_no_content_is_not_looked_at(event: str) -> None:
    assert read_notice(s3_notice("in/a.txt", event=event)) == ()


def test_a_test_event_is_no_place_and_no_poison() -> None:
    test = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-12-01T01:00:00.000Z", "Bucket": "lake"}
    assert read_notice(test) == read_notice(in_sns(test)) == ()


def test_envelopes_of_sns_and_eventbridge_are_opened() -> None:
    assert read_notice(in_sns(s3_notice(KEY))) == read_notice(s3_notice(KEY))
    for notice in (bridge(KEY), in_sns(bridge(KEY)), bridge(KEY, "Object Deleted")):
        assert [one.uri for one in read_notice(notice)] == [f"s3://lake/{KEY}"]
    assert [read_notice(bridge(KEY, *kind))[0].deleted for kind in ([], ["Object Deleted"])] == [False, True]
    assert read_notice(bridge(KEY, "Object Tags Added")) == ()
    with pytest.raises(Poison, match="not a notification"):
        read_notice(in_sns(in_sns(in_sns(in_sns(s3_notice(KEY))))))


def test_cloud_storage_by_pubsub_and_by_cloud_events() -> None:
    place = f"gs://lake/{KEY}"
    for kind in ("OBJECT_FINALIZE", "OBJECT_DELETE", "OBJECT_ARCHIVE"):
        assert [one.uri for one in read_notice(pubsub(KEY, kind))] == [place]
    assert read_notice(pubsub(KEY, "OBJECT_METADATA_UPDATE")) == ()
    made, gone = (read_notice(pubsub(KEY, kind))[0] for kind in ("OBJECT_FINALIZE", "OBJECT_DELETE"))
    assert (made.deleted, gone.deleted) == (False, True)
    assert made.key != gone.key, "a deletion names the generation that was made"
    structured = gcs_cloud_event(KEY)
    headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
    assert is_cloud_event(headers)
    assert [one.uri for one in read_cloud_event(headers, json.dumps(structured).encode())] == [place]
    binary = {f"ce-{name}": value for name, value in structured.items() if name not in ("data", "datacontenttype")}
    binary = {**binary, "ce-subject": "objects/x", "content-type": "application/json"}
    assert is_cloud_event(binary)
    assert [one.uri for one in read_cloud_event(binary, json.dumps(structured["data"]).encode())] == [place]
    assert read_cloud_event(headers, json.dumps(gcs_cloud_event(KEY, "metadataUpdated")).encode()) == ()
    wrapped = {**structured, "type": "google.cloud.pubsub.topic.v1.messagePublished", "data": pubsub(KEY)}
    assert [one.uri for one in read_cloud_event(headers, json.dumps(wrapped).encode())] == [place]


def test_a_sender_may_name_uris_or_paths_of_a_source() -> None:
    assert read_notice({"source": "photos", "paths": ["a/1.jpg", "b/"]}) == (
        Event(source="photos", path="a/1.jpg"),
        Event(source="photos", path="b/"),
    )
    assert read_notice({"type": "x", "data": {"source": "photos"}}) == (Event(source="photos"),)
    assert read_notice({"uris": ["s3://lake/a", "/data/b"]}) == (Event(uri="s3://lake/a"), Event(uri="/data/b"))
    event = {"specversion": "1.0", "id": "1", "type": "x", "source": "/airflow", "data": {"uri": "s3://lake/in/"}}
    headers = {"content-type": "application/cloudevents+json"}
    assert read_cloud_event(headers, json.dumps(event).encode()) == (Event(uri="s3://lake/in/"),)


POISON: list[Any] = [
    None, 1, "x", [], {}, {"Records": [1]}, {"Records": [{}]}, s3_notice("a", version="3.0"),
    s3_notice("a", version="2.x"),
    s3_notice(""), s3_notice("in/../../etc/passwd"), s3_notice("in/./a.txt"), s3_notice("in/a\0.txt"),
    s3_notice("in/a\n.txt"), s3_notice("in/a\x1b[2J.txt"), s3_notice("k" * 3_000), s3_notice("a", sequencer="0" * 300),
    {"Records": [{"eventVersion": "2.1", "eventName": "ObjectCreated:Put",
                  "s3": {"bucket": {"name": "a/../b"}, "object": {"key": "x"}}}]},
    {"source": "aws.s3", "detail-type": "Object Created", "detail": {}}, {"source": 7}, {"source": ""},
    {"source": "photos", "paths": []}, {"source": "photos", "paths": ["../x"]}, {"source": "photos", "paths": ["/x"]},
    {"source": "photos", "paths": [7]}, {"uri": ""}, {"uris": ["a\ud800"]},
    {"message": {"data": "%%%"}, "subscription": "s"}, {"message": {"data": "W10="}, "subscription": "s"},
]  # fmt: skip


@pytest.mark.parametrize("value", POISON, ids=lambda value: json.dumps(value)[:60])
def test_what_is_no_notice_is_poison(value: Any) -> None:
    with pytest.raises(Poison):
        read_notice(value)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b" " * (MAX_BODY_BYTES + 1)]
)
def test_a_body_that_is_too_large_too_deep_or_no_json_is_poison(body: bytes) -> None:
    with pytest.raises(Poison):
        parse_body(body)
    binary = {"ce-type": "x", "ce-id": "1", "ce-source": "/x", "ce-specversion": "1.0", "content-type": "a/json"}
    broken = {"ce-type": "google.cloud.storage.object.v1.finalized", "ce-time": "never"}
    for headers in ({"content-type": "application/cloudevents+json"}, binary, broken):
        with pytest.raises(Poison):
            read_cloud_event(headers, body)


def test_a_message_that_names_too_many_places_is_poison() -> None:
    assert len(read_notice(s3_notice(*["in/a.txt"] * MAX_EVENTS))) == MAX_EVENTS
    with pytest.raises(Poison, match="more than"):
        read_notice(s3_notice(*["in/a.txt"] * (MAX_EVENTS + 1)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(value=json_values, place=st.sampled_from(["Records", "detail", "message", "data", "s3", "uris", "attributes"]))
def test_no_value_of_any_shape_raises_anything_but_poison(value: Any, place: str) -> None:
    record = {"eventVersion": "2.1", "eventName": "ObjectCreated:Put", "s3": value}
    shapes = [
        {place: value},
        {"source": "aws.s3", place: value},
        {"Records": [record]},
        {"subscription": "s", "message": {place: value}},
        {"Type": "Notification", "Message": json.dumps(value)},
    ]
    for shape in shapes:
        try:
            read_notice(shape)
        except Poison:
            continue
