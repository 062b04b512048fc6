"""S3 Inventories of a test bucket, as S3 writes them."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import orc

from trichord.infra.lake.storage import Stat, Storage

CURRENT = ("Bucket", "Key", "Size", "LastModifiedDate", "ETag")
ALL = ("Bucket", "Key", "VersionId", "IsLatest", "IsDeleteMarker", "Size", "LastModifiedDate", "ETag")
_SNAKE = {"VersionId": "version_id", "IsLatest": "is_latest", "IsDeleteMarker": "is_delete_marker", "ETag": "e_tag"}
_SNAKE |= {"Bucket": "bucket", "Key": "key", "Size": "size", "LastModifiedDate": "last_modified_date"}


def listed(stat: Stat, **more: Any) -> dict[str, Any]:
    """A row of an inventory for an object."""
    bucket, _, key = stat.uri.removeprefix("s3://").partition("/")
    modified = datetime.fromtimestamp(stat.mtime_ns / 1e9, UTC)
    row = {"Bucket": bucket, "Key": key, "Size": stat.size, "LastModifiedDate": modified}
    return {**row, "ETag": (stat.etag or "").strip('"'), "IsLatest": True, "IsDeleteMarker": False, **more}


def write_inventory(
    storage: Storage,
    place: str,
    files: Iterable[Sequence[Mapping[str, Any]]],
    *,
    kind: str = "CSV",
    columns: Sequence[str] = CURRENT,
    run: str = "2026-11-30T01-00Z",
    days: float = 0.5,
    bucket: str = "lake",
    change: Mapping[str, Any] | None = None,
) -> str:
    """Write the files and then the manifest of an inventory; return the URI of the manifest.

    `files` are rows by CSV's names; `days` is its age, and `change` replaces values of the manifest.
    """
    named = []
    for number, rows in enumerate(files):
        data = _ENCODERS[kind](rows, columns)
        uri = f"{place}/data/{run}-{number}.{'csv.gz' if kind == 'CSV' else kind.lower()}"
        storage.write(uri, data)
        key = uri.removeprefix("s3://").partition("/")[2]
        named.append({"key": key, "size": len(data), "MD5checksum": hashlib.md5(data).hexdigest()})
    manifest = {
        "sourceBucket": bucket,
        "destinationBucket": f"arn:aws:s3:::{bucket}",
        "version": "2016-11-30",
        "creationTimestamp": str(int((time.time() - days * 86_400) * 1_000)),
        "fileFormat": kind,
        "fileSchema": ", ".join(columns) if kind == "CSV" else "not read",
        "files": named,
    } | dict(change or {})
    data = json.dumps(manifest, indent=2).encode()
    storage.write(f"{place}/{run}/manifest.json", data)
    storage.write(f"{place}/{run}/manifest.checksum", hashlib.md5(data).hexdigest().encode())
    return f"{place}/{run}/manifest.json"


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for row in rows:
        writer.writerow([_cell(name, row.get(name)) for name in columns])
    return gzip.compress(text.getvalue().encode(), mtime=0)


def _cell(name: str, value: Any) -> str:
    if name == "Key":
        return quote_plus(value, safe="/", errors="surrogateescape")
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pa.Table:
    types = {"Size": pa.int64(), "LastModifiedDate": pa.timestamp("ms"), "IsLatest": pa.bool_()}
    types["IsDeleteMarker"] = pa.bool_()
    arrays = [pa.array([row.get(name) for row in rows], types.get(name, pa.string())) for name in columns]
    return pa.table(arrays, names=[_SNAKE.get(name, name) for name in columns])


def _parquet(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(_table(rows, columns), sink, compression="snappy")
    return sink.getvalue()


def _orc(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    sink = io.BytesIO()
    orc.write_table(_table(rows, columns), sink, compression="zlib")
    return sink.getvalue()


_ENCODERS = {"CSV": _csv, "Parquet": _parquet, "ORC": _orc}
