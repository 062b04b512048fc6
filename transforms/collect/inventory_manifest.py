"""The manifest of an S3 Inventory: which run is the newest, and which files list the bucket's objects."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from trichord.infra.config import InventorySource
from trichord.infra.errors import SourceError
from trichord.infra.json_values import parse_object
from trichord.infra.lake.storage import Storage, TooLarge
from trichord.infra.scratch import scratch_folder

MANIFEST, CHECKSUM = "manifest.json", "manifest.checksum"
MAX_MANIFEST_BYTES = 64 << 20
MAX_FILES = 100_000
MAX_FILE_BYTES = 4 << 30  # S3 ends a file at about two
FORMATS = ("csv", "parquet", "orc")
_RUN = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}Z")  # the folder of a run
_MD5 = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryFile:
    """A file that lists objects."""

    uri: str
    size: int  # bytes
    md5: str  # hex


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryManifest:
    """What a manifest says of its inventory.

    Attributes:
        uri: of the manifest.
        bucket: whose objects are listed.
        created_s: Unix time at which S3 began to list them.
        format: of the files: csv, parquet or orc.
        columns: of CSV files, which have no header.
        files: that list the objects.
    """

    uri: str
    bucket: str
    created_s: float
    format: str
    columns: tuple[str, ...]
    files: tuple[InventoryFile, ...]


def read_manifest_of(source: InventorySource, storage: Storage) -> InventoryManifest:
    """Read the manifest of a source's inventory, the newest if `path` is a folder.

    Raises:
        SourceError: there is none, it is damaged, or it is of another bucket.
    """
    uri = source.path if source.path.lower().endswith(".json") else _newest(source, storage)
    try:
        data = storage.read(uri, max_bytes=MAX_MANIFEST_BYTES)
    except FileNotFoundError as error:
        raise SourceError(f"{uri}: there is no such manifest. Fix `path` of source {source.name!r}") from error
    except TooLarge as error:
        raise SourceError(f"{error}. Fix `path` of source {source.name!r}") from error
    _check_md5(uri, data, storage)
    try:
        found = _parse(uri, parse_object(data))
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{uri} is not the manifest of an S3 Inventory ({str(error)[:300]}). Fix `path` of source {source.name!r}"
        ) from error
    bucket = source.media_root.removeprefix("s3://").partition("/")[0]
    if found.bucket != bucket:
        raise SourceError(
            f"{uri} lists the bucket {found.bucket[:100]!r}, but `media_root` of source {source.name!r} is in "
            f"{bucket!r}. Fix `path` or `media_root`"
        )
    return found


def _newest(source: InventorySource, storage: Storage) -> str:
    root = source.path.rstrip("/")
    found: dict[str, set[str]] = {}
    for stat in storage.list(root, beginnings=["2"]):  # runs are named by their time; the files that list are not
        run, _, name = stat.uri[len(root) + 1 :].partition("/")
        if _RUN.fullmatch(run) and name in (MANIFEST, CHECKSUM):
            found.setdefault(run, set()).add(name)
    whole = [run for run, names in found.items() if len(names) == 2]  # the checksum is written last
    if not whole:
        raise SourceError(
            f"{root}: there is no run of an inventory (YYYY-MM-DDTHH-MMZ/{MANIFEST} beside {CHECKSUM}). Set `path` of "
            f"source {source.name!r} to the folder that holds the runs, or to a {MANIFEST}"
        )
    return f"{root}/{max(whole)}/{MANIFEST}"


def _check_md5(uri: str, data: bytes, storage: Storage) -> None:
    try:
        wanted = storage.read(posixpath.join(posixpath.dirname(uri), CHECKSUM), max_bytes=1_024)
    except FileNotFoundError:  # of a manifest that was copied
        return
    except TooLarge as error:
        raise SourceError(f"{error}. Fix or remove it") from error
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != wanted.decode(errors="replace").strip().lower():
        raise SourceError(f"{uri} does not match its {CHECKSUM}: it is damaged. Wait for the next inventory")


def _parse(uri: str, manifest: dict[str, Any]) -> InventoryManifest:
    """Check each value; raise ValueError for the first that is wrong."""
    bucket, kind = (_text(manifest, name) for name in ("sourceBucket", "fileFormat"))
    created = manifest.get("creationTimestamp")
    if not isinstance(created, str | int) or isinstance(created, bool) or not re.fullmatch(r"\d{1,15}", str(created)):
        raise ValueError("creationTimestamp is not a number of milliseconds")
    if kind.lower() not in FORMATS:
        raise ValueError(f"fileFormat is {kind[:40]!r}; known are CSV, Parquet and ORC")
    listed = manifest.get("files")
    if not isinstance(listed, list) or len(listed) > MAX_FILES:
        raise ValueError(f"files is not a list of at most {MAX_FILES:,}")
    place = uri.removeprefix("s3://").partition("/")[0]  # the manifest says where it was written, not where it is now
    columns = tuple(name.strip() for name in _text(manifest, "fileSchema").split(",")) if kind.lower() == "csv" else ()
    return InventoryManifest(
        uri=uri,
        bucket=bucket,
        created_s=int(created) / 1_000,
        format=kind.lower(),
        columns=columns,
        files=tuple(_file(place, one) for one in listed),
    )


def _file(bucket: str, listed: object) -> InventoryFile:
    if not isinstance(listed, dict):
        raise ValueError("a file is not an object")
    size, md5 = listed.get("size"), _text(listed, "MD5checksum")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_FILE_BYTES:
        raise ValueError(f"the size of a file is not from 0 to {MAX_FILE_BYTES:,} bytes")
    if not _MD5.fullmatch(md5):
        raise ValueError("the MD5checksum of a file is not one")
    return InventoryFile(uri=f"s3://{bucket}/{_text(listed, 'key')}", size=size, md5=md5.lower())


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"it has no {name}")
    return value


@contextmanager
def fetch_checked(file: InventoryFile, storage: Storage) -> Iterator[str]:
    """Provide a local copy of a file that has the size and MD5 that the manifest says.

    Raises:
        SourceError: it is missing, or another one.
    """
    with scratch_folder("inventory") as folder:
        path, size = os.path.join(folder, "file"), 0
        md5 = hashlib.md5(usedforsecurity=False)
        try:
            with open(path, "xb") as copy:
                for chunk in storage.chunks(file.uri):
                    size += len(chunk)
                    if size > file.size:
                        break
                    md5.update(chunk)
                    copy.write(chunk)
        except FileNotFoundError as error:
            raise SourceError(
                f"{file.uri}: there is no such file, but the inventory's manifest names it. Wait for the next inventory"
            ) from error
        if size != file.size or md5.hexdigest() != file.md5:
            raise SourceError(
                f"{file.uri} is not the file that the inventory's manifest names: its size or MD5 differs. Wait for "
                "the next inventory, or copy it again"
            )
        yield path
