"""Notices as stores and senders write them."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote_plus

Json = dict[str, Any]


def s3_record(
    key: str, *, event: str = "ObjectCreated:Put", version: str = "2.1", sequencer: str = "", **more: Any
) -> Json:
    """A record of S3's notification; the key as it is."""
    thing = {"key": quote_plus(key, safe="/"), "size": 3, **({"sequencer": sequencer} if sequencer else {})}
    place = {"s3SchemaVersion": "1.0", "configurationId": "all", "bucket": {"name": "lake"}, "object": thing}
    return {"eventVersion": version, "eventSource": "aws:s3", "awsRegion": "us-east-1",
            "eventTime": "2026-12-01T01:00:00.000Z", "eventName": event, "s3": place}  # fmt: skip


def s3_notice(*keys: str, **options: Any) -> Json:
    """A message of S3 to SQS."""
    return {"Records": [s3_record(key, **options) for key in keys]}


def in_sns(notice: Json) -> Json:
    """The message in SNS's envelope."""
    return {"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:us-east-1:1:t",
            "Message": json.dumps(notice), "Timestamp": "2026-12-01T01:00:00.000Z"}  # fmt: skip


def bridge(key: str, kind: str = "Object Created") -> Json:
    """S3's event by EventBridge, which does not encode keys."""
    detail = {
        "version": "0",
        "bucket": {"name": "lake"},
        "object": {"key": key, "sequencer": "0A"},
        "reason": "PutObject",
    }
    return {"version": "0", "id": "1", "detail-type": kind, "source": "aws.s3", "account": "1",
            "time": "2026-12-01T01:00:00Z", "region": "us-east-1", "resources": [], "detail": detail}  # fmt: skip


def pubsub(key: str, kind: str = "OBJECT_FINALIZE", generation: str = "7") -> Json:
    """Cloud Storage's notification as Pub/Sub pushes it."""
    attributes = {"bucketId": "lake", "objectId": key, "eventType": kind, "objectGeneration": generation,
                  "eventTime": "2026-12-01T01:00:00.123Z", "payloadFormat": "JSON_API_V1"}  # fmt: skip
    data = base64.b64encode(json.dumps({"name": key, "bucket": "lake"}).encode()).decode()
    return {"message": {"attributes": attributes, "data": data, "messageId": "9"}, "subscription": "projects/p/s"}


def gcs_cloud_event(key: str, kind: str = "finalized") -> Json:
    """Cloud Storage's CloudEvent, structured."""
    return {"specversion": "1.0", "id": "1", "type": f"google.cloud.storage.object.v1.{kind}",
            "source": "//storage.googleapis.com/projects/_/buckets/lake", "subject": f"objects/{key}",
            "time": "2026-12-01T01:00:00Z", "datacontenttype": "application/json",
            "data": {"bucket": "lake", "name": key, "generation": "7"}}  # fmt: skip
