"""The rows of an inventory's files: CSV, Parquet or ORC, read in bounded memory."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast
from urllib.parse import unquote_to_bytes

import pyarrow as pa

from trichord.infra.config import InventorySource
from trichord.infra.errors import SourceError
from trichord.infra.lake.storage import Storage
from trichord.transforms.collect.inventory_manifest import InventoryFile, InventoryManifest
from trichord.transforms.collect.naming import guess_meant, show_all
from trichord.transforms.collect.parquet_file import MAX_ROWS_PER_BYTE, bounded, open_parquet, refuse_bomb

MAX_LINE_BYTES = 64 << 10  # a key has at most 1,024 bytes
MAX_OBJECT_BYTES = 1 << 50
_LATEST_S = 1 << 33  # the year 2242
_ROWS_AT_A_TIME = 4_096
_MAX_SMALL_BYTES = 256 << 20  # that any file may unpack to
_NAMES = {  # as CSV has them; Parquet and ORC write e_tag, last_modified_date
    "bucket": "Bucket",
    "key": "Key",
    "size": "Size",
    "etag": "ETag",
    "lastmodifieddate": "LastModifiedDate",
    "versionid": "VersionId",
    "islatest": "IsLatest",
    "isdeletemarker": "IsDeleteMarker",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """A current object as an inventory lists it. What it does not say is None; `key` holds bytes that are not UTF-8 as
    surrogates."""

    bucket: str | None
    key: str
    size: int | None
    etag: str | None
    modified_s: float | None


def read_rows(
    file: InventoryFile, path: str, manifest: InventoryManifest, source: InventorySource, storage: Storage
) -> Iterator[Listed]:
    """Yield the current objects that a file lists; delete markers and earlier versions are left out.

    Args:
        file: what is read.
        path: its local copy.
        manifest: names the format, and the columns of a CSV file.
        source: decides which columns are needed.
        storage: opens local files.

    Raises:
        SourceError: the file is damaged, unpacks to far more than its size, or lacks a column.
    """
    with _failures(file.uri):
        if manifest.format == "csv":
            places = _places(manifest.columns, manifest, source)
            for cells in _csv_rows(path, file, len(manifest.columns)):
                row = {name: cells[place] for name, place in places.items()}
                row["key"] = _decode(row["key"])
                if (found := _listed(row)) is not None:
                    yield found
            return
        is_parquet = manifest.format == "parquet"
        batches = _parquet(path, file, manifest, source, storage) if is_parquet else _orc(path, file, manifest, source)
        for batch in batches:
            for row in batch.to_pylist():
                if (found := _listed(row)) is not None:
                    yield found


@contextmanager
def _failures(uri: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, csv.Error, ValueError, TypeError, OverflowError, OSError, pa.ArrowException) as error:
        detail = " ".join(str(error).splitlines()[:1])
        raise SourceError(
            f"{uri} cannot be read as an inventory's file ({detail[:300]}). Wait for the next one"
        ) from error


def _places(names: Sequence[str], manifest: InventoryManifest, source: InventorySource) -> dict[str, int]:
    """Return where the columns are that are read, by their plain names.

    Raises:
        SourceError: one is missing.
    """
    found: dict[str, int] = {}
    for place, name in enumerate(names):
        found.setdefault(re.sub(r"[\s_]", "", name).lower(), place)
    needed = ["key", "size"]
    if source.version_by in ("auto", "etag"):
        needed.append("etag")
    elif source.version_by == "mtime_size":
        needed.append("lastmodifieddate")
    if "versionid" in found:
        needed.append("islatest")
    missing = [_NAMES[name] for name in needed if name not in found]
    if not missing:
        return {name: found[name] for name in _NAMES if name in found and name != "versionid"}
    meant = guess_meant(missing[0], names)
    hint = f"; did you mean {meant}?" if meant is not None else ""
    raise SourceError(
        f"source {source.name!r}: the inventory has no column {show_all(missing)}{hint} ({manifest.uri})\n"
        f"The columns there are: {show_all(list(names))}\n"
        f"Next: add {show_all(missing)} to the fields of the inventory's configuration and wait for the next one, or "
        "read the bucket itself: `kind: folder`."
    )


def _csv_rows(path: str, file: InventoryFile, width: int) -> Iterator[list[str]]:
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    with open(path, "rb") as raw:
        packed = file.uri.lower().endswith(".gz")
        opened = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
        for cells in csv.reader(_lines(opened, file.size), strict=True):
            if not cells:
                continue
            if len(cells) != width:
                raise ValueError(f"a row of {len(cells)} cells under {width} columns")
            yield cells


def _lines(file: BinaryIO, size: int) -> Iterator[str]:
    unpacked = 0
    while line := file.readline(MAX_LINE_BYTES):
        if len(line) == MAX_LINE_BYTES:
            raise ValueError(f"a line of {MAX_LINE_BYTES} bytes or more")
        unpacked += len(line)
        refuse_bomb(size, unpacked, _MAX_SMALL_BYTES)
        yield line.decode()


def _parquet(
    path: str, file: InventoryFile, manifest: InventoryManifest, source: InventorySource, storage: Storage
) -> Iterator[pa.RecordBatch]:
    with open_parquet(storage, path, shown=file.uri) as opened:
        names = opened.schema_arrow.names
        places = _places(names, manifest, source)
        columns = [names[place] for place in places.values()]
        read = opened.iter_batches(_ROWS_AT_A_TIME, columns=columns, use_threads=False)
        for batch in bounded(read, file.size):
            yield _named(batch, names, places)


def _orc(
    path: str, file: InventoryFile, manifest: InventoryManifest, source: InventorySource
) -> Iterator[pa.RecordBatch]:
    import pyarrow.dataset as ds
    from pyarrow import orc

    opened = orc.ORCFile(path)
    if opened.nrows > file.size * MAX_ROWS_PER_BYTE:
        raise ValueError(f"{opened.nrows} rows in {file.size} bytes")
    names, places = opened.schema.names, _places(opened.schema.names, manifest, source)
    columns, unpacked = [names[place] for place in places.values()], 0
    table = ds.dataset(path, format="orc")
    read = table.to_batches(
        columns=columns, batch_size=_ROWS_AT_A_TIME, batch_readahead=0, fragment_readahead=0, use_threads=False
    )
    for batch in read:
        unpacked += batch.nbytes
        refuse_bomb(file.size, unpacked, _MAX_SMALL_BYTES)
        yield _named(batch, names, places)


def _named(batch: pa.RecordBatch, names: Sequence[str], places: Mapping[str, int]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([batch.column(names[place]) for place in places.values()], names=list(places))


def _decode(key: str) -> str:
    """Return a key that CSV has URL-encoded, a blank as `+` or `%20`."""
    if "%" not in key and "+" not in key:
        return key
    return unquote_to_bytes(key.replace("+", " ")).decode(errors="surrogateescape")


def _listed(row: Mapping[str, Any]) -> Listed | None:
    """Return an object; None if it is a delete marker or an earlier version."""
    if not _is_true(row.get("islatest"), if_absent=True) or _is_true(row.get("isdeletemarker"), if_absent=False):
        return None
    size, modified = row.get("size"), row.get("lastmodifieddate")
    if isinstance(modified, str):
        modified = datetime.fromisoformat(modified) if modified else None
    if isinstance(modified, datetime):
        modified = (modified if modified.tzinfo else modified.replace(tzinfo=UTC)).timestamp()
    key = row["key"]
    if not isinstance(key, str):
        raise ValueError("a key that is not text")
    size = None if size in (None, "") else int(cast(str, size))
    if size is not None and not 0 <= size <= MAX_OBJECT_BYTES:
        raise ValueError(f"an object of {size} bytes")
    if modified is not None and not 0 <= modified <= _LATEST_S:
        raise ValueError(f"an object of the year {row['lastmodifieddate']}")
    return Listed(row.get("bucket") or None, key, size, row.get("etag") or None, modified)


def _is_true(value: object, *, if_absent: bool) -> bool:
    if value is None or value == "":
        return if_absent
    if isinstance(value, bool):
        return value
    if str(value).lower() not in ("true", "false"):
        raise ValueError(f"{str(value)[:40]!r} is neither true nor false")
    return str(value).lower() == "true"
