"""Collecting: what a source holds now as splits, and a split's rows with their raw media."""

from __future__ import annotations

import os
import posixpath
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from infra.config import FolderSource, ManifestSource, PrepareConfig, Source
from infra.lake.storage import Storage, VersionCache, is_remote
from transforms.batch import Batch
from transforms.collect.drafts import Draft, Lookup
from transforms.collect.folder import FolderReader
from transforms.collect.manifest import read_manifest
from transforms.collect.read import SplitReader, batches
from transforms.collect.roots import MediaRoot
from transforms.collect.splits import PlannedRow, Split, write_plan

__all__ = ["Plan", "Split", "media_root", "plan_source", "read_split"]

_DRAFTS_PER_LOOKUP = 64
_REMOTE_LOOKUPS = 32  # each waits for a server


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a source holds now."""

    splits: tuple[Split, ...]
    rows: int
    ignored: int  # files of a folder whose ending names no modality


def plan_source(
    source: Source, storage: Storage, lake_uri: str, *, rows_per_split: int, cache: VersionCache | None
) -> Plan:
    """Look at every row of a source, without reading media that `cache` knows, and write its plan into the lake.

    The plan depends on the rows and their media alone: not on the order of rows, nor on where the source lies.

    Raises:
        SourceError: the source as a whole cannot be read.
    """
    reader: FolderReader | Iterator[Draft]
    match source:
        case ManifestSource():
            reader = read_manifest(source, storage)
        case FolderSource():
            reader = FolderReader(source, storage)
        case _:
            raise NotImplementedError(source.kind)
    lookup = Lookup(storage, media_root(source), source.version_by, cache)
    splits = write_plan(_planned(reader, lookup), source.name, storage, lake_uri, rows_per_split)
    return Plan(
        splits=tuple(splits),
        rows=sum(split.rows for split in splits),
        ignored=reader.ignored if isinstance(reader, FolderReader) else 0,
    )


def read_split(
    source: Source, storage: Storage, lake_uri: str, split: Split, *, config: PrepareConfig | None = None
) -> Iterator[Batch]:
    """Every row of a split once, as a row with raw media or as a reject; at most 8 rows or about 64 MB at a time.

    Args:
        config: how large a medium may be; the defaults of the project file if None.

    Raises:
        SourceError: a medium is no longer what was planned.
        StorageError: the plan or a medium cannot be read.
    """
    reader = SplitReader(source, storage, media_root(source), config or PrepareConfig(), split)
    return batches(reader, lake_uri)


def media_root(source: Source) -> MediaRoot:
    """The root that a source's media are below."""
    if not isinstance(source, ManifestSource):
        return MediaRoot(source.path)
    return MediaRoot(source.media_root or posixpath.dirname(source.path))


def _planned(drafts: Iterable[Draft], lookup: Lookup) -> Iterator[PlannedRow]:
    """Drafts looked up by threads, a bounded number at a time."""
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
