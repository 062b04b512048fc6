"""Collecting: a source's present rows as partitions, and a partition's rows with their raw media."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

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
from trichord.infra.endings import sort_endings
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.listing import Listing
from trichord.infra.lake.storage import Storage, VersionCache, is_remote
from trichord.infra.web import Fetcher
from trichord.transforms.batch import Batch
from trichord.transforms.collect.captions import captions_root, read_captions
from trichord.transforms.collect.data_files import PARQUET_ENDINGS, TAR_ENDINGS, data_files, root_of
from trichord.transforms.collect.delta import plan_delta
from trichord.transforms.collect.demands import check_tally
from trichord.transforms.collect.drafts import Draft, Lookup
from trichord.transforms.collect.folder import FileCounts, FolderReader, has_marks
from trichord.transforms.collect.inventory import InventoryReader
from trichord.transforms.collect.last_plan import Plan
from trichord.transforms.collect.manifest import read_manifest
from trichord.transforms.collect.media_root import MediaRoot
from trichord.transforms.collect.mediafolder import MediaFolderReader
from trichord.transforms.collect.parquet import plan_parquet, read_parquet
from trichord.transforms.collect.partitions import Partition, PlannedRow, RowsPerPartition
from trichord.transforms.collect.plan_parts import write_plan
from trichord.transforms.collect.read import Known, PartitionReader, Reading, nothing, readings
from trichord.transforms.collect.replan import keep_marks, replan_files, replan_rows
from trichord.transforms.collect.scan import count_marks, is_divisible, look_up, scan_on_workers
from trichord.transforms.collect.scope import Scope, by_source
from trichord.transforms.collect.tally import MODALITIES, FieldCount, Tally
from trichord.transforms.collect.webdataset import plan_webdataset, read_webdataset
from trichord.transforms.collect.workers import Workers

__all__ = [
    "FieldCount",
    "Partition",
    "Plan",
    "Scope",
    "by_source",
    "media_root",
    "plan_source",
    "read_partition",
    "read_unknown",
    "replan_source",
]

_MOST_COUNTED = 16 << 20  # bytes whose lines are counted for a message
_LEAST_ROW_BYTES = 64  # of a row that names a medium


def plan_source(
    source: Source,
    lake: Lake,
    *,
    rows_per_partition: RowsPerPartition,
    cache: VersionCache | None,
    fetcher: Fetcher | None = None,
    config: PrepareConfig | None = None,
    checked: bool = False,
    workers: Workers | None = None,
) -> Plan:
    """List every row of a source, without reading media that `cache` knows, and write the plan into the lake.

    The plan depends only on the rows and their media, not on the rows' order or the source's place.

    Args:
        fetcher: fetches media from the web; without one, rows with such media are rejects.
        config: limits of a download; the project file's defaults if None.
        checked: raise also if the rows do not hold what the source's settings name (`check_tally`).
        workers: scan a large manifest or folder, and write the parts of its plan; index new tars. The plan is the same.

    Raises:
        SourceError: the source cannot be read.
    """
    tally = Tally(source)
    unread = Counter[str]()
    found = _open(source, lake, cache, rows_per_partition, tally, unread, workers=workers)
    if isinstance(found, list):
        if checked:
            check_tally(source, tally)
        partitions = found
    else:
        root = media_root(source)
        lookup = Lookup(
            lake.storage,
            root,
            source.version_by,
            cache,
            fetcher,
            config or PrepareConfig(),
            _list_media(source, lake.storage, root, tally),
        )
        if workers is not None and is_divisible(source, lake.storage, workers.least_bytes):
            counts = found.counts if isinstance(found, FolderReader) else FileCounts()
            rows: Iterator[bytes | PlannedRow] = scan_on_workers(source, lake, lookup, workers, tally, counts)
        else:
            workers = None
            rows = tally.watch(look_up(count_marks(found, tally), lookup))
        partitions = write_plan(
            _check(rows, tally, checked, lake.storage), source.name, lake, rows_per_partition, workers
        )
        if isinstance(found, FolderReader | MediaFolderReader | InventoryReader):
            unread = found.endings
    manifest = found.manifest if isinstance(found, InventoryReader) else None
    usable, unmarked = tally.usable_rows()
    return Plan(
        partitions=tuple(partitions),
        rows=sum(partition.rows for partition in partitions),
        endings=sort_endings(unread),
        fields=tally.field_counts(),
        lacks=frozenset(filter(tally.lacks, MODALITIES)),
        marks=dict(sorted(tally.marks.items())),
        usable=usable,
        unmarked=unmarked,
        modalities={} if isinstance(found, list) else dict(sorted((+tally.modalities).items())),
        listed_s=manifest.created_s if manifest is not None else None,
    )


def replan_source(
    source: Source,
    lake: Lake,
    scope: Scope,
    last: Plan,
    *,
    rows_per_partition: RowsPerPartition,
    fetcher: Fetcher | None = None,
    config: PrepareConfig | None = None,
) -> Plan | None:
    """Plan what a scope holds; the rest is as in the last plan. The result equals a whole plan if nothing else changed.

    Media of the scope are hashed without asking what is known of their files: they are what may have changed.

    Returns:
        The plan; None if the source must be planned as a whole.

    Raises:
        SourceError: the source cannot be read.
    """
    if scope.whole or not last.partitions:
        return None
    tally = Tally(source)
    if last.partitions[0].part is not None:
        if not isinstance(source, ParquetSource | WebDatasetSource) or rows_per_partition == "auto":
            return None  # the log of a table says what changed, and all rows of a source decide what is automatic
        endings = PARQUET_ENDINGS if isinstance(source, ParquetSource) else TAR_ENDINGS
        skipped = len(root_of(source.path, endings)) + 1
        if not keep_marks(last, scope, [stat.uri[skipped:] for stat in data_files(source, lake.storage, endings)]):
            return None
        planned = _open(source, lake, None, rows_per_partition, tally, Counter(), scope)
        return replan_files(last, scope, planned, tally) if isinstance(planned, list) else None
    if not isinstance(source, ManifestSource | FolderSource | CaptionsSource):
        return None  # the names of all files decide what their marks are, or one file lists all objects
    if isinstance(source, FolderSource) and has_marks(source, lake.storage) != bool(last.marks):
        return None
    scope = replace(scope, unnamed=not isinstance(source, FolderSource))
    found = _open(source, lake, None, rows_per_partition, tally, Counter(), scope)
    assert not isinstance(found, list)
    root = media_root(source)
    listing = Listing(lake.storage, root.uri) if is_remote(root.uri) else None
    lookup = Lookup(lake.storage, root, source.version_by, None, fetcher, config or PrepareConfig(), listing)
    rows = look_up((draft for draft in found if scope.holds(draft.key)), lookup)
    return replan_rows(source, lake, last, scope, rows, rows_per_partition)


_Found: TypeAlias = FolderReader | MediaFolderReader | InventoryReader | Iterator[Draft] | list[Partition]


def _open(
    source: Source,
    lake: Lake,
    cache: VersionCache | None,
    rows_per_partition: RowsPerPartition,
    tally: Tally,
    unread: Counter[str],
    scope: Scope | None = None,
    workers: Workers | None = None,
) -> _Found:
    """Return the rows of a source, or its partitions where its media are in data files; `unread` gets their endings.

    With a `scope`, rows in other files are left out, and where that saves looking, other rows too.
    """
    wanted = scope.holds if scope is not None else None
    match source:
        case ManifestSource():
            return read_manifest(source, lake.storage, tally)
        case FolderSource():
            return FolderReader(source, lake.storage, scope)
        case CaptionsSource():
            return read_captions(source, lake.storage)
        case InventorySource():
            return InventoryReader(source, lake.storage)
        case MediaFolderSource():
            return MediaFolderReader(source, lake.storage, tally)
        case ParquetSource():
            return plan_parquet(source, lake.storage, cache, rows_per_partition, tally, wanted, unread)
        case DeltaSource():
            return plan_delta(source, lake.storage, tally)
        case WebDatasetSource():
            return plan_webdataset(source, lake, cache, tally, wanted, workers, unread)


def _list_media(source: Source, storage: Storage, root: MediaRoot, tally: Tally) -> Listing | None:
    """Return a listing of the root of media that rows name, if it is in a bucket."""
    if not is_remote(root.uri):
        return None
    named = isinstance(source, ManifestSource | CaptionsSource) and storage.exists(source.path)
    return Listing(storage, root.uri, storage.stat(source.path).size // _LEAST_ROW_BYTES if named else tally.expected)


def _check(
    rows: Iterator[bytes | PlannedRow], tally: Tally, checked: bool, storage: Storage
) -> Iterator[bytes | PlannedRow]:
    """Yield the rows; the check follows the last one, before a plan is written."""
    yield from rows
    if checked:
        _name_line(tally, storage)
        check_tally(tally.source, tally)


def _name_line(tally: Tally, storage: Storage) -> None:
    """Add the number of its line to what the tally says of the first bad row, unless it is far down."""
    if tally.example_at is not None and tally.example_at < _MOST_COUNTED:
        with storage.open(tally.source.path) as file:
            line = file.read(tally.example_at).count(b"\n") + 1
        tally.example, tally.example_at = f"line {line}: {tally.example}", None


def read_partition(
    source: Source, lake: Lake, partition: Partition, *, config: PrepareConfig | None = None
) -> Iterator[Batch]:
    """Yield each row of a partition once, with raw media or as a reject, in batches of bounded size.

    A batch holds at most 32 rows (8 with sound) or about 64 MB. Of rows with the same key, one is kept; the others are
    rejects.

    Args:
        config: limits of a medium; the project file's defaults if None.

    Raises:
        SourceError: a medium changed since planning.
        StorageError: the plan or a medium cannot be read.
    """
    return (reading.batch for reading in read_unknown(source, lake, partition, nothing, config=config))


def read_unknown(
    source: Source, lake: Lake, partition: Partition, known: Known, *, config: PrepareConfig | None = None
) -> Iterator[Reading]:
    """Yield the rows of a partition as `read_partition` does, but those that are `known` without their media."""
    config = config or PrepareConfig()
    if partition.part is not None:
        match source:
            case WebDatasetSource():
                return read_webdataset(source, lake, partition, config, known)
            case ParquetSource():
                root = root_of(source.path, PARQUET_ENDINGS)
                return read_parquet(source, lake.storage, root, partition, config, known)
            case DeltaSource():
                return read_parquet(source, lake.storage, source.path, partition, config, known)
    return readings(PartitionReader(source, lake, media_root(source), config, partition), known)


def media_root(source: Source) -> MediaRoot:
    """Return the root of a source's media."""
    match source:
        case ManifestSource():
            return MediaRoot(source.media_root or posixpath.dirname(source.path))
        case CaptionsSource():
            return MediaRoot(captions_root(source))
        case InventorySource():
            return MediaRoot(source.media_root)
        case ParquetSource():
            return MediaRoot(source.media_root or root_of(source.path, PARQUET_ENDINGS))
        case WebDatasetSource():
            return MediaRoot(root_of(source.path, TAR_ENDINGS))
        case DeltaSource():
            return MediaRoot(source.media_root or source.path)
    return MediaRoot(source.path)
