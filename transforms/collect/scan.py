"""Rows of a source's drafts: looked up here, or portion by portion on workers, whose rows come back as runs."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import TypeAlias, TypeGuard

from trichord.infra.config import FolderSource, ManifestSource
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Changed, Stat, Storage, VersionCache, is_remote
from trichord.infra.lake.versions import News
from trichord.infra.scratch import scratch_folder
from trichord.transforms.collect.drafts import Draft, Lookup, names_media, on_web
from trichord.transforms.collect.folder import FileCounts, FolderPortion, portions_of_folder, read_portion
from trichord.transforms.collect.manifest import Portion, portions_of, read_manifest
from trichord.transforms.collect.partitions import PlannedRow
from trichord.transforms.collect.plan_rows import RunWriter
from trichord.transforms.collect.tally import Tally
from trichord.transforms.collect.workers import Workers

Divisible: TypeAlias = ManifestSource | FolderSource
AnyPortion: TypeAlias = Portion | FolderPortion

PORTION_BYTES = 512 << 10
_HELD = 32  # portions that are scanned here while workers start
_DRAFTS_PER_LOOKUP = 64
_DRAFTS_PER_LISTING, _MEDIA_PER_LISTING = 4_096, 16_384  # whose media are listed together
_REMOTE_LOOKUPS = 32  # each waits for a server


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """What was made of a portion of a source.

    Attributes:
        portion: the portion.
        runs: the bytes of its runs.
        tally: counts of its rows.
        left: drafts with media that the driver looks up: those on the web, for it keeps to the limits of their hosts,
            and those in buckets, for it lists them once.
        files: counts of its files; None of a manifest.
        news: of a worker's cache of versions.
    """

    portion: AnyPortion
    runs: Sequence[bytes]
    tally: Tally
    left: Sequence[Draft]
    files: FileCounts | None
    news: News | None = None


@dataclass(slots=True, kw_only=True)
class Scan:
    """The task of a worker; it loads the cache of versions once."""

    source: Divisible
    lake: Lake
    lookup: Lookup  # without cache, fetcher and listing
    fetches: bool  # the driver looks media on the web up
    lists: bool  # the driver looks media up in listings
    cache: VersionCache | None = field(default=None, init=False)

    def __call__(self, portion: AnyPortion) -> Scanned:
        """Scan a portion on a worker. Raises as `plan_source`."""
        self.cache = self.cache or VersionCache.load(self.lake.storage, self.lake.uri(layout.PLAN_VERSIONS))
        return replace(self.scan(portion, self.cache), news=self.cache.news())

    def scan(self, portion: AnyPortion, cache: VersionCache | None) -> Scanned:
        """Scan a portion with a cache of versions. Raises as `plan_source`."""
        tally, left = Tally(self.source), list[Draft]()

        def here(drafts: Iterable[Draft]) -> Iterator[Draft]:
            for draft in drafts:
                if (self.fetches and on_web(draft)) or (self.lists and names_media(draft)):
                    left.append(draft)
                else:
                    yield draft

        read: Iterable[Draft]
        if isinstance(self.source, FolderSource):
            assert isinstance(portion, FolderPortion)
            read = reader = read_portion(self.source, self.lake.storage, portion)
        else:
            assert isinstance(portion, Portion)
            read, reader = read_manifest(self.source, self.lake.storage, tally, portion), None
        with scratch_folder("plan") as folder:
            writer = RunWriter(folder)
            drafts = here(count_marks(read, tally))
            for row in tally.watch(look_up(drafts, replace(self.lookup, cache=cache))):
                writer.add(row)
            writer.flush()
            runs = [Path(run.path).read_bytes() for run in writer.runs]
        counts = reader.counts if reader is not None else None
        return Scanned(portion=portion, runs=runs, tally=tally, left=left, files=counts)


def is_divisible(source: object, storage: Storage, least_bytes: int) -> TypeGuard[Divisible]:
    """Return True if workers may scan a source: a manifest of that many bytes, or a folder."""
    if isinstance(source, FolderSource):
        return True
    if not isinstance(source, ManifestSource) or not storage.exists(source.path):
        return False
    return storage.stat(source.path).size >= least_bytes


def scan_on_workers(
    source: Divisible, lake: Lake, lookup: Lookup, workers: Workers, tally: Tally, files: FileCounts
) -> Iterator[bytes | PlannedRow]:
    """Yield runs of planned rows, and single rows whose media are on the web; when all are read, `tally` has them all.

    While workers start, portions are scanned here; of a folder also those before, until it is known to be large.
    `files` are those of a folder.

    Raises:
        Changed: somebody wrote to the manifest meanwhile.
        SourceError: no file of a folder has a known ending.
    """
    scan = Scan(
        source=source,
        lake=lake,
        lookup=replace(lookup, cache=None, fetcher=None, listing=None),
        fetches=lookup.fetcher is not None,
        lists=lookup.listing is not None,
    )
    found = dict[int, Scanned]()

    def rows_of(one: Scanned) -> Iterator[bytes | PlannedRow]:
        if one.news is not None and lookup.cache is not None:
            lookup.cache.add_news(one.news)
        yield from one.runs
        yield from one.tally.watch(look_up(one.left, lookup))
        found[one.portion.start] = replace(one, runs=(), left=())

    if isinstance(source, FolderSource):
        todo, rows = portions_of_folder(source, lake.storage), 0
        while rows < workers.least_rows and (portion := next(todo, None)) is not None:
            one = scan.scan(portion, lookup.cache)
            rows += one.tally.rows
            yield from rows_of(one)
        yield from _divide(scan, todo, lookup, workers, rows_of)
    else:
        before = lake.storage.stat(source.path)
        yield from _divide(
            scan, portions_of(source, lake.storage, before.size, PORTION_BYTES), lookup, workers, rows_of
        )
        if lake.storage.stat(source.path) != before:
            raise Changed.of(source.path)
    for start in sorted(found):  # their order decides what messages show
        tally.add(found[start].tally)
        files.add(found[start].files or FileCounts())
    if isinstance(source, FolderSource):
        files.require_known(source.path.rstrip("/"), "path", source.name)


def _divide(
    scan: Scan,
    portions: Iterator[AnyPortion],
    lookup: Lookup,
    workers: Workers,
    rows_of: Callable[[Scanned], Iterator[bytes | PlannedRow]],
) -> Iterator[bytes | PlannedRow]:
    """Yield what `rows_of` portions makes, scanned by workers, and here until they have started."""
    first = next(portions, None)
    if first is None:
        return
    todo = _Shared(chain([first], portions))
    mine, started = deque[Scanned](), threading.Event()

    def scan_here() -> None:
        for portion in todo:
            mine.append(scan.scan(portion, lookup.cache))
            if started.is_set() or len(mine) >= _HELD:
                return

    with ThreadPoolExecutor(1) as pool:
        try:
            here = pool.submit(scan_here)
            for found in workers.run(scan, todo):
                started.set()
                yield from rows_of(found)
                while mine:
                    yield from rows_of(mine.popleft())
            here.result()
        finally:
            started.set()
    for found in mine:
        yield from rows_of(found)


class _Shared:
    """Items that two threads take from one iterator."""

    def __init__(self, items: Iterator[AnyPortion]) -> None:
        self._items, self._lock = items, threading.Lock()

    def __iter__(self) -> Iterator[AnyPortion]:
        while True:
            with self._lock:
                item = next(self._items, None)
            if item is None:
                return
            yield item


def count_marks(drafts: Iterable[Draft], tally: Tally) -> Iterator[Draft]:
    """Count the marks of drafts that are records."""
    for draft in drafts:
        if draft.reason is None:
            tally.see_mark(draft.line.get("subset"), 1)
        yield draft


def look_up(drafts: Iterable[Draft], lookup: Lookup) -> Iterator[PlannedRow]:
    """Look drafts up, in their order, with threads where they name media, a bounded number at a time."""
    workers = _REMOTE_LOOKUPS if is_remote(lookup.root.uri) else min(8, os.cpu_count() or 1)
    waiting: deque[Future[list[PlannedRow]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for part, listed in _with_listings(iter(drafts), lookup):
            if not waiting and not any(draft.media for draft in part):
                yield from lookup(part, listed)
                continue
            waiting.append(pool.submit(lookup, part, listed))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _with_listings(drafts: Iterator[Draft], lookup: Lookup) -> Iterator[tuple[list[Draft], Mapping[str, Stat | None]]]:
    """Yield a few drafts at a time with what listings say of the media that they name."""
    if lookup.listing is None:
        while part := list(islice(drafts, _DRAFTS_PER_LOOKUP)):
            yield part, {}
        return
    ended = False
    while not ended:
        together, media = list[Draft](), 0
        for draft in drafts:
            together.append(draft)
            media += len(draft.media)
            if len(together) >= _DRAFTS_PER_LISTING or media >= _MEDIA_PER_LISTING:
                break
        else:
            ended = True
        listed = lookup.list_media(together)
        for first in range(0, len(together), _DRAFTS_PER_LOOKUP):
            yield together[first : first + _DRAFTS_PER_LOOKUP], listed
