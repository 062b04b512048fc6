"""Rows of a source's drafts: looked up here, or portion by portion on workers, whose rows come back as runs."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

from trichord.infra.config import ManifestSource
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Changed, Storage, VersionCache, is_remote
from trichord.infra.lake.versions import News
from trichord.infra.scratch import scratch_folder
from trichord.transforms.collect.drafts import Draft, Lookup, on_web
from trichord.transforms.collect.manifest import Span, manifest_format, read_manifest
from trichord.transforms.collect.partitions import PlannedRow
from trichord.transforms.collect.plan_rows import RunWriter
from trichord.transforms.collect.tally import Tally

SPAN_BYTES = 2 << 20
LEAST_BYTES = 8 << 20  # of a manifest that workers scan: starting them takes as long as 20,000 rows
_DRAFTS_PER_LOOKUP = 64
_REMOTE_LOOKUPS = 32  # each waits for a server


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """What a worker made of a portion of a source.

    Attributes:
        span: the portion.
        runs: the bytes of its runs.
        tally: counts of its rows.
        left: drafts with media on the web, which the driver looks up: it keeps to the limits of their hosts.
        news: of the cache of versions.
    """

    span: Span
    runs: Sequence[bytes]
    tally: Tally
    left: Sequence[Draft]
    news: News


@dataclass(slots=True, kw_only=True)
class Scan:
    """The task of a worker; it loads the cache of versions once."""

    source: ManifestSource
    lake: Lake
    lookup: Lookup  # without cache and fetcher
    fetches: bool  # the driver looks media on the web up
    cache: VersionCache | None = field(default=None, init=False)

    def __call__(self, span: Span) -> Scanned:
        """Scan a portion. Raises as `plan_source`."""
        self.cache = self.cache or VersionCache.load(self.lake.storage, self.lake.uri(layout.PLAN_VERSIONS))
        tally, left = Tally(self.source), list[Draft]()

        def here(drafts: Iterable[Draft]) -> Iterator[Draft]:
            for draft in drafts:
                if self.fetches and on_web(draft):
                    left.append(draft)
                else:
                    yield draft

        with scratch_folder("plan") as folder:
            writer = RunWriter(folder)
            drafts = here(count_marks(read_manifest(self.source, self.lake.storage, tally, span), tally))
            for row in tally.watch(look_up(drafts, replace(self.lookup, cache=self.cache))):
                writer.add(row)
            writer.flush()
            runs = [Path(run.path).read_bytes() for run in writer.runs]
        return Scanned(span=span, runs=runs, tally=tally, left=left, news=self.cache.news())


class Workers(Protocol):
    """Runs a task on workers."""

    def __call__(self, task: Callable[[Span], Scanned], items: Sequence[Span]) -> Iterable[Scanned]:
        """Yield the results, in any order. Raise what a worker raised."""
        ...


def spans_of(source: object, storage: Storage) -> list[Span]:
    """Return the portions in which workers scan a source; none if it is read in one go.

    A manifest of lines can be read from any byte on; in a table a cell may hold lines.
    """
    if not isinstance(source, ManifestSource) or manifest_format(source) != "jsonl" or not storage.exists(source.path):
        return []
    size = storage.stat(source.path).size
    if size < LEAST_BYTES:
        return []
    return [(start, start + SPAN_BYTES) for start in range(0, size, SPAN_BYTES)]


def scan_on_workers(
    source: ManifestSource, lake: Lake, lookup: Lookup, spans: Sequence[Span], workers: Workers, tally: Tally
) -> Iterator[bytes | PlannedRow]:
    """Yield runs of planned rows, and single rows whose media are on the web; when all are read, `tally` has them all.

    Raises:
        Changed: somebody wrote to the manifest meanwhile.
    """
    before, tallies = lake.storage.stat(source.path), dict[Span, Tally]()
    scan = Scan(
        source=source, lake=lake, lookup=replace(lookup, cache=None, fetcher=None), fetches=lookup.fetcher is not None
    )
    for found in workers(scan, spans):
        if lookup.cache is not None:
            lookup.cache.add_news(found.news)
        yield from found.runs
        yield from found.tally.watch(look_up(found.left, lookup))
        tallies[found.span] = found.tally
    for span in spans:  # in their order, which decides what messages show
        tally.add(tallies[span])
    if lake.storage.stat(source.path) != before:
        raise Changed.of(source.path)


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
