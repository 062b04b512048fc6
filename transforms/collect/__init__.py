"""Collecting: a source's present rows as partitions, and a partition's rows with their raw media."""

from __future__ import annotations

import os
import posixpath
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from trichord.infra.config import (
    CaptionsSource,
    DeltaSource,
    FolderSource,
    ManifestSource,
    MediaFolderSource,
    ParquetSource,
    PrepareConfig,
    Source,
    WebDatasetSource,
)
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import VersionCache, is_remote
from trichord.infra.web import Fetcher
from trichord.transforms.batch import Batch
from trichord.transforms.collect.captions import captions_root, read_captions
from trichord.transforms.collect.data_files import PARQUET_ENDINGS, TAR_ENDINGS, root_of
from trichord.transforms.collect.delta import plan_delta
from trichord.transforms.collect.drafts import Draft, Lookup
from trichord.transforms.collect.folder import FolderReader
from trichord.transforms.collect.manifest import read_manifest
from trichord.transforms.collect.media_root import MediaRoot
from trichord.transforms.collect.mediafolder import MediaFolderReader
from trichord.transforms.collect.parquet import plan_parquet, read_parquet
from trichord.transforms.collect.partitions import Partition, PlannedRow, write_plan
from trichord.transforms.collect.read import PartitionReader, batches
from trichord.transforms.collect.webdataset import plan_webdataset, read_webdataset

__all__ = ["Partition", "Plan", "media_root", "plan_source", "read_partition"]

_DRAFTS_PER_LOOKUP = 64
_REMOTE_LOOKUPS = 32  # each waits for a server


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The present partitions of a source."""

    partitions: tuple[Partition, ...]
    rows: int
    ignored: int  # files of a folder and members of a tar whose ending belongs to no modality


def plan_source(
    source: Source,
    lake: Lake,
    *,
    rows_per_partition: int,
    cache: VersionCache | None,
    fetcher: Fetcher | None = None,
    config: PrepareConfig | None = None,
) -> Plan:
    """List every row of a source, without reading media that `cache` knows, and write the plan into the lake.

    The plan depends only on the rows and their media, not on the rows' order or the source's place.

    Args:
        fetcher: fetches media from the web; without one, rows with such media are rejects.
        config: limits of a download; the project file's defaults if None.

    Raises:
        SourceError: the source cannot be read.
    """
    found: FolderReader | MediaFolderReader | Iterator[Draft] | list[Partition]
    ignored = 0
    match source:
        case ManifestSource():
            found = read_manifest(source, lake.storage)
        case FolderSource():
            found = FolderReader(source, lake.storage)
        case CaptionsSource():
            found = read_captions(source, lake.storage)
        case MediaFolderSource():
            found = MediaFolderReader(source, lake.storage)
        case ParquetSource():
            found = plan_parquet(source, lake.storage, cache, rows_per_partition)
        case DeltaSource():
            found = plan_delta(source, lake.storage)
        case WebDatasetSource():
            found, ignored = plan_webdataset(source, lake, cache)
    if isinstance(found, list):
        partitions = found
    else:
        limits = config or PrepareConfig()
        lookup = Lookup(lake.storage, media_root(source), source.version_by, cache, fetcher, limits)
        partitions = write_plan(_look_up(found, lookup), source.name, lake, rows_per_partition)
        ignored = found.ignored if isinstance(found, FolderReader | MediaFolderReader) else 0
    return Plan(partitions=tuple(partitions), rows=sum(partition.rows for partition in partitions), ignored=ignored)


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
    config = config or PrepareConfig()
    if partition.part is not None:
        match source:
            case WebDatasetSource():
                return read_webdataset(source, lake, partition, config)
            case ParquetSource():
                return read_parquet(source, lake.storage, root_of(source.path, PARQUET_ENDINGS), partition, config)
            case DeltaSource():
                return read_parquet(source, lake.storage, source.path, partition, config)
    return batches(PartitionReader(source, lake, media_root(source), config, partition))


def media_root(source: Source) -> MediaRoot:
    """Return the root of a source's media."""
    match source:
        case ManifestSource():
            return MediaRoot(source.media_root or posixpath.dirname(source.path))
        case CaptionsSource():
            return MediaRoot(captions_root(source))
        case ParquetSource():
            return MediaRoot(source.media_root or root_of(source.path, PARQUET_ENDINGS))
        case WebDatasetSource():
            return MediaRoot(root_of(source.path, TAR_ENDINGS))
        case DeltaSource():
            return MediaRoot(source.media_root or source.path)
    return MediaRoot(source.path)


def _look_up(drafts: Iterable[Draft], lookup: Lookup) -> Iterator[PlannedRow]:
    """Look drafts up with threads, a bounded number at a time."""
    workers = _REMOTE_LOOKUPS if is_remote(lookup.root.uri) else min(8, os.cpu_count() or 1)
    waiting: deque[Future[list[PlannedRow]]] = deque()
    todo = iter(drafts)
    with ThreadPoolExecutor(workers) as pool:
        while part := list(islice(todo, _DRAFTS_PER_LOOKUP)):
            waiting.append(pool.submit(lookup, part))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
