"""Read a partition: its rows with their raw media, in batches of bounded size."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from trichord.infra import digest
from trichord.infra.config import InventorySource, PrepareConfig, Source
from trichord.infra.errors import StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.checked_parquet import open_sealed
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Changed, NotRegular, TooLarge, is_remote
from trichord.infra.redaction import redact
from trichord.infra.web import is_web, receipt_contents
from trichord.transforms.batch import Batch, Reject, Row, reject_of
from trichord.transforms.collect.drafts import MAX_TEXT_BYTES as MAX_TEXT_BYTES
from trichord.transforms.collect.drafts import media_limits
from trichord.transforms.collect.line import row_of
from trichord.transforms.collect.media_root import MediaRoot
from trichord.transforms.collect.partitions import PLAN, Medium, Partition, PlannedLine, PlannedRow, media_of
from trichord.transforms.collect.plan_parts import read_lines
from trichord.transforms.media import MediaError
from trichord.transforms.text_bytes import decode_text

ROWS_PER_BATCH = 32
# A row of 600 s of sound takes 38 MB at 16 kHz, so eight stay near 300 MB whatever their files look like.
_ROWS_OF_A_SOUND = 4  # counts as this many rows without sound
BYTES_PER_BATCH = 64_000_000
ROWS_PER_READING = 1_024
_REMOTE_READERS = 8
T = TypeVar("T")
P = TypeVar("P", PlannedLine, PlannedRow)
Known: TypeAlias = Callable[[str], bool]  # of an input digest: True if what becomes of such a row is known


def nothing(input_digest: str) -> bool:
    """Know nothing: every row is read."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Some rows of a partition: `batch` has those that are not known, and the rejects of reading.

    `known` has the others, with key and input digest; where it is not part of the input, with their payload.
    `order` has the input digests of both, in reading order.
    """

    order: tuple[str, ...]
    known: tuple[Row, ...]
    batch: Batch


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

    def batch(self, planned: Sequence[PlannedRow]) -> Batch:
        """Return the rows with their raw media; bad rows are rejects."""
        return _batch([self.load(row) for row in planned])

    def load(self, planned: PlannedRow) -> _Loaded:
        """Read one row; a bad one is a reject."""
        paths = {name: medium.path for name, medium in planned.media.items()}
        row = row_of(planned.key, planned.line, self.partition.source, self.partition.id, paths)
        row = replace(row, input_digest=planned.digest)
        if planned.reason is not None:
            return _Loaded(row, reject=reject_of(row, "read", planned.reason, planned.detail))
        limits = media_limits(self.config)
        try:
            found = {
                name: self._read(name, medium, limits[name.partition(":")[0]]) for name, medium in planned.media.items()
            }
            if "text" in found:
                row = replace(row, text=redact(decode_text(found["text"])))
        except MediaError as error:
            return _Loaded(row, reject=reject_of(row, "read", error.reason, error.detail))
        except ValueError as error:
            return _Loaded(row, reject=reject_of(row, "read", "row_invalid", f"the text cannot be read: {error}"))
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
            raise self._changed(self.lake.storage.join(self.root.uri, medium.path)) from error
        if medium.version.startswith("sha256:"):
            version = f"sha256:{digest.sha256_hex(data)}"
        else:
            version = self.lake.storage.version(stat, self.source.version_by, None)
        if version != medium.version:
            raise self._changed(uri)
        return data

    def _changed(self, uri: str) -> Changed:
        if not isinstance(self.source, InventorySource):
            return Changed.of(uri)
        return Changed(
            f"{uri} has changed, or is gone, since the inventory of source {self.source.name!r} was made. Wait for the "
            f"next inventory, or read the bucket itself: `kind: folder`, `path: {self.source.media_root}`"
        )

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


def group_rows(rows: Iterable[T], sizes: Callable[[T], Mapping[str, int] | None]) -> Iterator[list[T]]:
    """Yield groups of consecutive rows, as many as a batch may hold; a row with a large medium may be alone.

    `sizes` returns the bytes of a row's media; None for a row that is not read.
    """
    held: list[T] = []
    count = size = 0
    for row in rows:
        media = sizes(row)
        places = 0 if media is None else _ROWS_OF_A_SOUND if "audio" in media else 1
        wanted = sum(media.values()) if media else 0
        full = count + places > ROWS_PER_BATCH or size + wanted > BYTES_PER_BATCH or len(held) == ROWS_PER_READING
        if held and full:
            yield held
            held, count, size = [], 0, 0
        held.append(row)
        count, size = count + places, size + wanted
    if held:
        yield held


def mark_repeats(rows: Iterable[P]) -> Iterator[P]:
    """Yield the rows in order; each good row that repeats the key of an earlier good row is marked `key_repeated`."""
    seen: set[str] = set()
    for row in rows:
        if row.reason is None and row.key in seen:
            row = replace(row, reason="key_repeated", detail="another row of this source has this key")
        elif row.reason is None:
            seen.add(row.key)
        yield row


def readings(reader: PartitionReader, known: Known = nothing) -> Iterator[Reading]:
    """Yield every row of the partition once, as a row or a reject. Remote media are read one batch ahead.

    Only media of rows that are not known are read.
    """
    rows = (_Line.of(line, known) for line in mark_repeats(read_lines(reader.partition, reader.lake)))
    groups = group_rows(rows, _Line.sizes)
    if not is_remote(reader.root.uri) and not _has_remote_downloads(reader):
        for group in groups:
            yield _reading(group, [reader.load(row.planned) for row in group if row.planned is not None])
        return
    with ThreadPoolExecutor(_REMOTE_READERS) as pool:
        waiting: deque[tuple[list[_Line], list[Future[_Loaded]]]] = deque()
        for group in groups:
            waiting.append((group, [pool.submit(reader.load, row.planned) for row in group if row.planned is not None]))
            if len(waiting) == 2:
                group, loading = waiting.popleft()
                yield _reading(group, [future.result() for future in loading])
        for group, loading in waiting:
            yield _reading(group, [future.result() for future in loading])


def _has_remote_downloads(reader: PartitionReader) -> bool:
    return reader.lake.remote and any("://" in line.media for line in read_lines(reader.partition, reader.lake))


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a plan; parsed where its row must be read."""

    line: PlannedLine
    planned: PlannedRow | None

    @classmethod
    def of(cls, line: PlannedLine, known: Known) -> _Line:
        return cls(line, None if line.reason is None and known(line.digest) else line.parse())

    def sizes(self) -> dict[str, int] | None:
        """Return the bytes of the media that are read, by name; None if nothing is."""
        if self.planned is None:
            return None
        if self.planned.reason is not None:
            return {}
        return {name: medium.size for name, medium in self.planned.media.items()}


def _reading(group: Sequence[_Line], loaded: Sequence[_Loaded]) -> Reading:
    order, known, read = list[str](), list[Row](), iter(loaded)
    for row in group:
        if row.planned is None:
            known.append(Row(key=row.line.key, input_digest=row.line.digest))
        elif next(read).reject is not None:
            continue
        order.append(row.line.digest)
    return Reading(order=tuple(order), known=tuple(known), batch=_batch(loaded))


def _batch(loaded: Sequence[_Loaded]) -> Batch:
    """Return loaded rows as a batch; bad rows are rejects."""
    kept = [item for item in loaded if item.reject is None]
    return Batch(
        rows=tuple(item.row for item in kept),
        raw_images=tuple(item.image for item in kept),
        raw_audios=tuple(item.audio for item in kept),
        attachments=tuple(item.attachments for item in kept),
        rejects=tuple(item.reject for item in loaded if item.reject is not None),
    )


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
