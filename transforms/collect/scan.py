"""Rows of a source's drafts: looked up here, or portion by portion on workers, whose rows come back as runs."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from trichord.infra.config import ManifestSource
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Changed, Storage, VersionCache, is_remote
from trichord.infra.lake.versions import News
from trichord.infra.scratch import scratch_folder
from trichord.transforms.collect.drafts import Draft, Lookup, on_web
from trichord.transforms.collect.manifest import Portion, portions_of, read_manifest
from trichord.transforms.collect.partitions import PlannedRow
from trichord.transforms.collect.plan_rows import RunWriter
from trichord.transforms.collect.tally import Tally
from trichord.transforms.collect.workers import Workers

PORTION_BYTES = 512 << 10
_HELD = 32  # portions that are scanned here while workers start
_DRAFTS_PER_LOOKUP = 64
_REMOTE_LOOKUPS = 32  # each waits for a server


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """What was made of a portion of a source.

    Attributes:
        portion: the portion.
        runs: the bytes of its runs.
        tally: counts of its rows.
        left: drafts with media on the web, which the driver looks up: it keeps to the limits of their hosts.
        news: of a worker's cache of versions.
    """

    portion: Portion
    runs: Sequence[bytes]
    tally: Tally
    left: Sequence[Draft]
    news: News | None = None


@dataclass(slots=True, kw_only=True)
class Scan:
    """The task of a worker; it loads the cache of versions once."""

    source: ManifestSource
    lake: Lake
    lookup: Lookup  # without cache and fetcher
    fetches: bool  # the driver looks media on the web up
    cache: VersionCache | None = field(default=None, init=False)

    def __call__(self, portion: Portion) -> Scanned:
        """Scan a portion on a worker. Raises as `plan_source`."""
        self.cache = self.cache or VersionCache.load(self.lake.storage, self.lake.uri(layout.PLAN_VERSIONS))
        return replace(self.scan(portion, self.cache), news=self.cache.news())

    def scan(self, portion: Portion, cache: VersionCache | None) -> Scanned:
        """Scan a portion with a cache of versions. Raises as `plan_source`."""
        tally, left = Tally(self.source), list[Draft]()

        def here(drafts: Iterable[Draft]) -> Iterator[Draft]:
            for draft in drafts:
                if self.fetches and on_web(draft):
                    left.append(draft)
                else:
                    yield draft

        with scratch_folder("plan") as folder:
            writer = RunWriter(folder)
            drafts = here(count_marks(read_manifest(self.source, self.lake.storage, tally, portion), tally))
            for row in tally.watch(look_up(drafts, replace(self.lookup, cache=cache))):
                writer.add(row)
            writer.flush()
            runs = [Path(run.path).read_bytes() for run in writer.runs]
        return Scanned(portion=portion, runs=runs, tally=tally, left=left)


def is_divisible(source: object, storage: Storage, least_bytes: int) -> bool:
    """Return True if workers scan a source: a manifest of so many bytes."""
    if not isinstance(source, ManifestSource) or not storage.exists(source.path):
        return False
    return storage.stat(source.path).size >= least_bytes


def scan_on_workers(
    source: ManifestSource, lake: Lake, lookup: Lookup, workers: Workers, tally: Tally
) -> Iterator[bytes | PlannedRow]:
    """Yield runs of planned rows, and single rows whose media are on the web; when all are read, `tally` has them all.

    While workers start, portions are scanned here.

    Raises:
        Changed: somebody wrote to the manifest meanwhile.
    """
    before, tallies = lake.storage.stat(source.path), dict[int, Tally]()
    scan = Scan(
        source=source, lake=lake, lookup=replace(lookup, cache=None, fetcher=None), fetches=lookup.fetcher is not None
    )
    todo = _Shared(portions_of(source, lake.storage, before.size, PORTION_BYTES))
    mine, started = deque[Scanned](), threading.Event()

    def scan_here() -> None:
        for portion in todo:
            mine.append(scan.scan(portion, lookup.cache))
            if started.is_set() or len(mine) >= _HELD:
                return

    def rows_of(found: Scanned) -> Iterator[bytes | PlannedRow]:
        if found.news is not None and lookup.cache is not None:
            lookup.cache.add_news(found.news)
        yield from found.runs
        yield from found.tally.watch(look_up(found.left, lookup))
        tallies[found.portion.start] = found.tally

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
    for start in sorted(tallies):  # their order decides what messages show
        tally.add(tallies[start])
    if lake.storage.stat(source.path) != before:
        raise Changed.of(source.path)


class _Shared:
    """Items that two threads take from one iterator."""

    def __init__(self, items: Iterator[Portion]) -> None:
        self._items, self._lock = items, threading.Lock()

    def __iter__(self) -> Iterator[Portion]:
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
    todo = iter(drafts)
    with ThreadPoolExecutor(workers) as pool:
        while part := list(islice(todo, _DRAFTS_PER_LOOKUP)):
            if not waiting and not any(draft.media for draft in part):
                yield from lookup(part)
                continue
            waiting.append(pool.submit(lookup, part))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
