"""Read a partition: its rows with their raw media, in batches of bounded size."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from trichord.infra import digest
from trichord.infra.config import PrepareConfig, Source
from trichord.infra.errors import StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.checked_parquet import open_sealed
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Changed, NotRegular, TooLarge, is_remote
from trichord.infra.redaction import redact
from trichord.infra.web import is_web, receipt_contents
from trichord.transforms.batch import Batch, Reject, Row, join, reject_of
from trichord.transforms.collect.drafts import MAX_TEXT_BYTES as MAX_TEXT_BYTES
from trichord.transforms.collect.drafts import media_limits
from trichord.transforms.collect.line import row_of
from trichord.transforms.collect.media_root import MediaRoot
from trichord.transforms.collect.partitions import PLAN, Medium, Partition, PlannedRow, media_of
from trichord.transforms.collect.plan_parts import read_plan
from trichord.transforms.media import MediaError

ROWS_PER_BATCH = 32
# A row of 600 s of sound takes 38 MB at 16 kHz, so eight stay near 300 MB whatever their files look like.
_ROWS_OF_A_SOUND = 4  # counts as this many rows without sound
BYTES_PER_BATCH = 64_000_000
_REMOTE_READERS = 8
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Loaded:
    row: Row
    image: bytes | None = None
    audio: bytes | None = None
    attachments: Mapping[str, bytes] | None = None
    reject: Reject | None = None


@dataclass(frozen=True, slots=True)
class PartitionReader:
    """Reads the media of a partition's rows, and notices if they changed since planning.

    Media from the web are read from the lake, where planning stored them: reading needs no network.
    """

    source: Source
    lake: Lake
    root: MediaRoot
    config: PrepareConfig
    partition: Partition

    def batch(self, planned: list[PlannedRow]) -> Batch:
        """Return the rows with their raw media; bad rows are rejects."""
        loaded = [self._load(row) for row in planned]
        kept = [item for item in loaded if item.reject is None]
        return Batch(
            rows=tuple(item.row for item in kept),
            raw_images=tuple(item.image for item in kept),
            raw_audios=tuple(item.audio for item in kept),
            attachments=tuple(item.attachments for item in kept),
            rejects=tuple(item.reject for item in loaded if item.reject is not None),
        )

    def _load(self, planned: PlannedRow) -> _Loaded:
        paths = {name: medium.path for name, medium in planned.media.items()}
        row = row_of(planned.key, planned.line, self.partition.source, self.partition.id, paths)
        if planned.reason is not None:
            return _Loaded(row, reject=reject_of(row, "read", planned.reason, planned.detail))
        limits = media_limits(self.config)
        try:
            found = {
                name: self._read(name, medium, limits[name.partition(":")[0]]) for name, medium in planned.media.items()
            }
            if "text" in found:
                row = replace(row, text=redact(found["text"].decode("utf-8-sig")))
        except MediaError as error:
            return _Loaded(row, reject=reject_of(row, "read", error.reason, error.detail))
        except UnicodeDecodeError as error:
            return _Loaded(row, reject=reject_of(row, "read", "row_invalid", f"the text is not UTF-8: {error.reason}"))
        others = {name: data for name, data in found.items() if name not in ("text", "image", "audio")}
        return _Loaded(row, found.get("image"), found.get("audio"), others or None)

    def _read(self, name: str, medium: Medium, limit: int) -> bytes:
        if medium.size > limit:
            raise MediaError("media_too_large", f"{name} has {medium.size} bytes; the limit is {limit}")
        if is_web(medium.path):
            return self._download(medium)
        # What differs from the plan is an error, not a reject: the row's address names the content that was planned.
        try:
            uri = self.root.locate(medium.path)
            data, stat = self.lake.storage.read_with_stat(uri, max_bytes=medium.size)
        except (FileNotFoundError, TooLarge, NotRegular, MediaError) as error:
            raise Changed.of(self.lake.storage.join(self.root.uri, medium.path)) from error
        if medium.version.startswith("sha256:"):
            version = f"sha256:{digest.sha256_hex(data)}"
        else:
            version = self.lake.storage.version(stat, self.source.version_by, None)
        if version != medium.version:
            raise Changed.of(uri)
        return data

    def _download(self, medium: Medium) -> bytes:
        """Read from the lake the content that planning fetched."""
        sha256 = medium.version.removeprefix("sha256:")
        uri = self.lake.uri(layout.content_path(sha256))
        try:
            data = self.lake.storage.read(uri, max_bytes=medium.size)
        except (FileNotFoundError, TooLarge):
            data = b""
        if digest.sha256_hex(data) != sha256:
            raise StorageError(
                f"{uri}: the content of {medium.path[:200]} is missing or damaged. Delete the file if it exists, and "
                "run the command again; it is fetched again"
            )
        return data


def chunks(rows: list[PlannedRow]) -> Iterator[list[PlannedRow]]:
    """Yield groups of consecutive rows, as many as a batch may hold; a row with a large medium may be alone."""
    return group_rows(rows, lambda row: {} if row.reason is not None else {n: m.size for n, m in row.media.items()})


def group_rows(rows: Iterable[T], sizes: Callable[[T], Mapping[str, int]]) -> Iterator[list[T]]:
    """Yield groups of consecutive rows, as many as a batch may hold; `sizes` returns the bytes of a row's media."""
    held: list[T] = []
    count = size = 0
    for row in rows:
        media = sizes(row)
        places, wanted = _ROWS_OF_A_SOUND if "audio" in media else 1, sum(media.values())
        if held and (count + places > ROWS_PER_BATCH or size + wanted > BYTES_PER_BATCH):
            yield held
            held, count, size = [], 0, 0
        held.append(row)
        count, size = count + places, size + wanted
    if held:
        yield held


def mark_repeats(rows: list[PlannedRow]) -> list[PlannedRow]:
    """Return the rows in order; each good row that repeats the key of an earlier good row is marked `key_repeated`."""
    seen: set[str] = set()
    marked = []
    for row in rows:
        if row.reason is None and row.key in seen:
            row = replace(row, reason="key_repeated", detail="another row of this source has this key")
        elif row.reason is None:
            seen.add(row.key)
        marked.append(row)
    return marked


def batches(reader: PartitionReader) -> Iterator[Batch]:
    """Yield every row of the partition once, as a row or a reject. Remote media are read one batch ahead."""
    rows = mark_repeats(read_plan(reader.partition, reader.lake))
    web_is_remote = reader.lake.remote and any(is_web(m.path) for row in rows for m in row.media.values())
    if not is_remote(reader.root.uri) and not web_is_remote:
        yield from map(reader.batch, chunks(rows))
        return
    with ThreadPoolExecutor(_REMOTE_READERS) as pool:
        yield from _ahead(pool, reader.batch, chunks(rows))


def _ahead(
    pool: ThreadPoolExecutor, load: Callable[[list[PlannedRow]], Batch], parts: Iterator[list[PlannedRow]]
) -> Iterator[Batch]:
    waiting: deque[list[Future[Batch]]] = deque()
    for part in parts:
        waiting.append([pool.submit(load, [row]) for row in part])
        if len(waiting) == 2:
            yield join(future.result() for future in waiting.popleft())
    while waiting:
        yield join(future.result() for future in waiting.popleft())


def find_needed_downloads(lake: Lake) -> set[str]:
    """Return lake-relative paths below `_downloads/` that receipts or plans still name: `gc` keeps them.

    If one of these caches is damaged, nobody knows what it named: all of `_downloads/` is needed then.
    """
    needed = receipt_contents(lake)
    for stat in lake.list(layout.PLANS):
        if layout.place_of(lake.relative(stat.uri)) != layout.place_of(layout.plan_path("0" * 32)):
            continue  # not a part of a plan
        try:
            with open_sealed(lake.storage, stat.uri) as plan:
                if plan.schema_arrow.names != PLAN.names:
                    continue
                for batch in plan.iter_batches(columns=["media"], use_threads=False):
                    for media in batch.column("media").to_pylist():
                        needed |= _downloads_of(media)
        except FileNotFoundError:  # removed since the listing
            continue
        except StorageError:
            return needed | {lake.relative(one.uri) for one in lake.list(layout.DOWNLOADS)}
    return needed


def _downloads_of(media: str) -> set[str]:
    if "://" not in media:
        return set()
    return {
        layout.content_path(medium.version.removeprefix("sha256:"))
        for medium in media_of(media).values()
        if is_web(medium.path) and medium.version.startswith("sha256:")
    }
