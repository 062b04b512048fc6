"""URIs of objects in buckets: `s3://BUCKET/KEY`, `gs://BUCKET/KEY` (Google), `az://CONTAINER/KEY` (Azure Blob)."""

from __future__ import annotations

import re

SCHEMES = ("s3", "gs", "az")
ROOT_PATTERN = r"^(s3|gs|az)://[A-Za-z0-9._-]+"  # with user:password@ in it, a URI would reach messages

_REMOTE = tuple(f"{scheme}://" for scheme in SCHEMES)
_BUCKET = re.compile(r"[A-Za-z0-9._-]+")


def is_remote(uri: str) -> bool:
    """Return True if a URI names an object of a bucket, not a local file."""
    return uri.startswith(_REMOTE)


def split_remote(uri: str) -> tuple[str, str, str]:
    """Return the scheme, bucket (Azure: container) and key of a remote URI, as they are written."""
    scheme, _, path = uri.partition("://")
    bucket, _, key = path.partition("/")
    return scheme, bucket, key


def is_bucket_name(name: str) -> bool:
    """Return True if a bucket can have such a name."""
    return _BUCKET.fullmatch(name) is not None
