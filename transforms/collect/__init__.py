"""Collecting: a source's present rows as partitions, and a partition's rows with their raw media."""

from __future__ import annotations

import os
import posixpath
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
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
from trichord.transforms.collect.demands import check_tally
from trichord.transforms.collect.drafts import Draft, Lookup
from trichord.transforms.collect.folder import FolderReader
from trichord.transforms.collect.manifest import read_manifest
from trichord.transforms.collect.media_root import MediaRoot
from trichord.transforms.collect.mediafolder import MediaFolderReader
from trichord.transforms.collect.parquet import plan_parquet, read_parquet
from trichord.transforms.collect.partitions import Partition, PlannedRow
from trichord.transforms.collect.plan_parts import write_plan
from trichord.transforms.collect.read import PartitionReader, batches
from trichord.transforms.collect.tally import MODALITIES, FieldCount, Tally
from trichord.transforms.collect.webdataset import plan_webdataset, read_webdataset

__all__ = ["FieldCount", "Partition", "Plan", "media_root", "plan_source", "read_partition"]

_DRAFTS_PER_LOOKUP = 64
_REMOTE_LOOKUPS = 32  # each waits for a server


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The present partitions of a source."""

    partitions: tuple[Partition, ...]
    rows: int
    ignored: int  # files of a folder and members of a tar whose ending belongs to no modality
    fields: tuple[FieldCount, ...] = ()  # of a source with `fields`, those that the data have
    lacks: frozenset[str] = frozenset()  # modalities that no row has, as far as planning can know
    marks: Mapping[str, int] = field(default_factory=dict)  # rows by train/test mark, where planning reads the rows


def plan_source(
    source: Source,
    lake: Lake,
    *,
    rows_per_partition: int,
    cache: VersionCache | None,
    fetcher: Fetcher | None = None,
    config: PrepareConfig | None = None,
    checked: bool = False,
) -> Plan:
    """List every row of a source, without reading media that `cache` knows, and write the plan into the lake.

    The plan depends only on the rows and their media, not on the rows' order or the source's place.

    Args:
        fetcher: fetches media from the web; without one, rows with such media are rejects.
        config: limits of a download; the project file's defaults if None.
        checked: raise also if the rows do not hold what the source's settings name (`check_tally`).

    Raises:
        SourceError: the source cannot be read.
    """
    tally = Tally(source)
    found: FolderReader | MediaFolderReader | Iterator[Draft] | list[Partition]
    ignored, marks = 0, Counter[str]()
    match source:
        case ManifestSource():
            found = read_manifest(source, lake.storage, tally)
        case FolderSource():
            found = FolderReader(source, lake.storage)
        case CaptionsSource():
            found = read_captions(source, lake.storage)
        case MediaFolderSource():
            found = MediaFolderReader(source, lake.storage, tally)
        case ParquetSource():
            found = plan_parquet(source, lake.storage, cache, rows_per_partition, tally)
        case DeltaSource():
            found = plan_delta(source, lake.storage, tally)
        case WebDatasetSource():
            found, ignored = plan_webdataset(source, lake, cache, tally)
    if isinstance(found, list):
        if checked:
            check_tally(source, tally)
        partitions = found
    else:
        limits = config or PrepareConfig()
        lookup = Lookup(lake.storage, media_root(source), source.version_by, cache, fetcher, limits)
        rows = _watch(tally, _look_up(_count_marks(found, marks), lookup), checked)
        partitions = write_plan(rows, source.name, lake, rows_per_partition)
        ignored = found.ignored if isinstance(found, FolderReader | MediaFolderReader) else 0
    return Plan(
        partitions=tuple(partitions),
        rows=sum(partition.rows for partition in partitions),
        ignored=ignored,
        fields=tally.field_counts(),
        lacks=frozenset(filter(tally.lacks, MODALITIES)),
        marks=dict(sorted(marks.items())),
    )


def _watch(tally: Tally, rows: Iterable[PlannedRow], checked: bool) -> Iterator[PlannedRow]:
    """Yield the rows and count them; the check follows the last row, before a plan is written."""
    yield from tally.watch(rows)
    if checked:
        check_tally(tally.source, tally)


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


def _count_marks(drafts: Iterable[Draft], marks: Counter[str]) -> Iterator[Draft]:
    """Add the marks of drafts that are records to `marks`."""
    for draft in drafts:
        if draft.reason is None and (mark := draft.line.get("subset", "")).strip():
            marks[mark] += 1
        yield draft


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
