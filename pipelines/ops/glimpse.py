"""The first records of a source, joined by the project's own readers: what is shown is what would be read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from trichord.infra.config import (
    CaptionsSource,
    DeltaSource,
    FolderSource,
    InventorySource,
    ManifestSource,
    MediaFolderSource,
    ParquetSource,
    PrepareConfig,
    Source,
    WebDatasetSource,
)
from trichord.infra.errors import SourceError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.infra.scratch import scratch_folder
from trichord.infra.web import is_web
from trichord.transforms.batch import Batch, Row
from trichord.transforms.collect import media_root, read_partition
from trichord.transforms.collect.captions import read_captions
from trichord.transforms.collect.data_files import PARQUET_ENDINGS, TAR_ENDINGS, data_files
from trichord.transforms.collect.delta import plan_delta
from trichord.transforms.collect.demands import check_files
from trichord.transforms.collect.drafts import Draft, Lookup
from trichord.transforms.collect.folder import FolderReader
from trichord.transforms.collect.inventory import InventoryReader
from trichord.transforms.collect.manifest import read_manifest
from trichord.transforms.collect.mediafolder import MediaFolderReader
from trichord.transforms.collect.parquet import plan_parquet
from trichord.transforms.collect.partitions import Partition, PlannedRow
from trichord.transforms.collect.read import PartitionReader
from trichord.transforms.collect.tally import Tally
from trichord.transforms.collect.webdataset import plan_webdataset

RECORDS = 3
MAX_ROWS = 64  # looked at to find them
_AT_A_TIME = 4
_ROWS_OF_A_PARTITION = 64
_MAX_UNPACKED_BYTES = 1 << 30  # of a compressed tar
_SHOWN_CHARS = 200
_NO_TEXT = "\0"  # keeps a row whose only medium is on the web from being rejected as empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Glimpse:
    """A few records (JSON-ready), and why rows beside them would be rejected: (reason, example), with counts."""

    records: tuple[dict[str, Any], ...]
    rows: int  # that were looked at
    rejects: dict[str, int]
    example: str = ""  # the first reject in words
    fault: str = ""  # why a plan would refuse the source, as far as these rows show


def glimpse(source: Source, storage: Storage, most: int = RECORDS) -> Glimpse:
    """The first good records of a source, from a bounded number of rows. Media on the web are not fetched.

    Raises:
        SourceError: the source as a whole cannot be read.
    """
    records: list[dict[str, Any]] = []
    rejects: Counter[str] = Counter()
    rows, example, tally = 0, "", Tally(source)
    with scratch_folder("glimpse") as folder, closing(_batches(source, Lake(storage, folder), tally)) as batches:
        for batch, web in batches:
            rows += len(batch.rows) + len(batch.rejects)
            for reject in batch.rejects:
                rejects[reject.reason] += 1
                example = example or f"{reject.key}: {reject.detail}"
            for position, row in enumerate(batch.rows):
                if len(records) < most:
                    records.append(_record(row, batch, position, web.get(row.key, {})))
            if (len(records) == most and not _fault(source, tally)) or rows >= MAX_ROWS:
                break
    return Glimpse(
        records=tuple(records),
        rows=rows,
        rejects=dict(rejects),
        example=example[:_SHOWN_CHARS],
        fault=_fault(source, tally),
    )


def _fault(source: Source, tally: Tally) -> str:
    try:
        check_files(source, tally)
    except SourceError as error:
        return str(error).splitlines()[0]
    return ""


_Web = dict[str, dict[str, str]]  # media on the web, by the record's key and the modality


def _batches(source: Source, lake: Lake, tally: Tally) -> Generator[tuple[Batch, _Web], None, None]:
    """Batches of few rows, and the media of theirs that were left on the web."""
    storage = lake.storage
    source = source.model_copy(update={"version_by": "mtime_size"})  # nothing is hashed
    match source:
        case ManifestSource():
            found: Iterator[Draft] | list[Partition] = read_manifest(source, storage, tally)
        case CaptionsSource():
            found = read_captions(source, storage)
        case FolderSource():
            found = iter(FolderReader(source, storage))
        case InventorySource():
            found = iter(InventoryReader(source, storage))
        case MediaFolderSource():
            found = iter(MediaFolderReader(source, storage, tally))
        case ParquetSource():
            source = source.model_copy(update=_first_file(source, storage, PARQUET_ENDINGS))
            found = plan_parquet(source, storage, None, _ROWS_OF_A_PARTITION)
        case DeltaSource():
            found = plan_delta(source, storage)
        case WebDatasetSource():
            first = _first_file(source, storage, TAR_ENDINGS)
            limit = min(source.max_unpacked_bytes, _MAX_UNPACKED_BYTES)
            source = source.model_copy(update={**first, "max_unpacked_bytes": limit})
            found = plan_webdataset(source, lake, None)
    if isinstance(found, list):
        for partition in found:
            for batch in read_partition(source, lake, partition):
                yield batch, {}
        return
    root = media_root(source)
    lookup = Lookup(storage, root, "mtime_size", None)
    partition = Partition(source=source.name, id=source.name, version="", rows=0, locator="", row_group=0)
    reader = PartitionReader(source, lake, root, PrepareConfig(), partition)
    seen: set[str] = set()
    while drafts := list(islice(found, _AT_A_TIME)):
        local, web = _without_web(drafts)
        planned = [_repeated(row, seen) for row in tally.watch(lookup(local))]
        yield reader.batch(planned), web


def _repeated(row: PlannedRow, seen: set[str]) -> PlannedRow:
    if row.reason is None and row.key in seen:
        return replace(row, reason="key_repeated", detail="another row of this source has this key")
    seen.add(row.key)
    return row


def _first_file(source: Source, storage: Storage, endings: tuple[str, ...]) -> dict[str, str | None]:
    """The change that reads the first data file of a source alone, with the media root it has now."""
    change: dict[str, str | None] = {"path": data_files(source, storage, endings)[0].uri}
    if "media_root" in type(source).model_fields:
        change["media_root"] = media_root(source).uri
    return change


def _without_web(drafts: list[Draft]) -> tuple[list[Draft], _Web]:
    """The drafts without their media on the web, and those media."""
    local: list[Draft] = []
    web: _Web = {}
    for draft in drafts:
        far = {name: named for name, named in draft.media.items() if isinstance(named, str) and is_web(named)}
        if far and draft.reason is None:
            web[draft.key] = far
            near = {name: named for name, named in draft.media.items() if name not in far}
            line = (
                draft.line if near or draft.line["text"] or draft.line["captions"] else {**draft.line, "text": _NO_TEXT}
            )
            draft = replace(draft, media=near, line=line)
        local.append(draft)
    return local, web


def _record(row: Row, batch: Batch, position: int, web: dict[str, str]) -> dict[str, Any]:
    payload = json.loads(row.payload)
    text = row.text if row.text and row.text != _NO_TEXT else None
    shown: dict[str, Any] = {"key": row.key, "text": text and text[:_SHOWN_CHARS]}
    for name, data in (("image", batch.raw_images[position]), ("audio", batch.raw_audios[position])):
        if data is not None:
            shown[name] = {"path": payload.get(name), "bytes": len(data)}
        elif name in web:
            shown[name] = {"path": web[name], "bytes": None}
    if row.captions:
        shown["captions"] = [caption[:_SHOWN_CHARS] for caption in row.captions[:5]]
    if row.group and row.group != row.key:
        shown["group"] = row.group
    if row.subset:
        shown["subset"] = row.subset
    return shown
