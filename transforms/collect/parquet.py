"""Parquet sources: rows with media as bytes are read by row groups; rows that name media become drafts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from trichord.infra import digest
from trichord.infra.config import DeltaSource, FieldMap, ParquetSource, PrepareConfig
from trichord.infra.errors import SourceError
from trichord.infra.lake.storage import Changed, Stat, Storage, VersionCache
from trichord.infra.redaction import redact
from trichord.transforms.collect.arrow_rows import (
    MediaKind,
    Record,
    Unreadable,
    media_kind,
    medium_of,
    records,
    to_json,
    type_at,
)
from trichord.transforms.collect.column_probe import count_marks, probe, see_schema
from trichord.transforms.collect.data_files import (
    PARQUET_ENDINGS,
    data_files,
    require_same,
    require_unchanged,
    root_of,
)
from trichord.transforms.collect.demands import named_fields
from trichord.transforms.collect.drafts import Draft
from trichord.transforms.collect.field_map import bad_row, get, map_fields
from trichord.transforms.collect.file_marks import find_file_marks
from trichord.transforms.collect.hive import folder_columns, with_constants
from trichord.transforms.collect.inline import Found, limit_of, readings
from trichord.transforms.collect.parquet_file import bounded, open_parquet
from trichord.transforms.collect.partitions import Part, Partition, RowsPerPartition, limit_of_rows
from trichord.transforms.collect.read import Known, Reading
from trichord.transforms.collect.row_versions import (
    ROWS,
    RowDigest,
    digest_parts,
    has_row_versions,
    keep_digests,
    known_digests,
)
from trichord.transforms.collect.tally import Tally

READER_FORMAT = 3  # raised when the same file would give other rows
MAX_LINE_BYTES = 4 << 20  # of a row without its media, as for a manifest's line
_DRAFT_ROWS = 256
_ROWS_AT_A_TIME = 8  # of inline media: each may be large


def files_kind(files: Mapping[str, pa.Schema], fields: FieldMap) -> MediaKind:
    """Return whether media are bytes or paths in all files; missing columns do not count.

    Raises:
        SourceError: files differ; also as `media_kind`.
    """
    kinds = {uri: media_kind(schema, fields, uri) for uri, schema in files.items()}
    some = {kind: uri for uri, kind in kinds.items() if kind != "none"}
    if len(some) > 1:
        raise SourceError(f"media are bytes in {some['bytes']} but paths in {some['paths']}. Make two sources of them")
    return next(iter(some), "none")


def plan_parquet(
    source: ParquetSource,
    storage: Storage,
    cache: VersionCache | None,
    rows_per_partition: RowsPerPartition,
    tally: Tally | None = None,
    wanted: Callable[[str], bool] | None = None,
    others: Counter[str] | None = None,
) -> list[Partition] | Iterator[Draft]:
    """Plan partitions of row groups if media are bytes or absent; else return all rows as drafts.

    With `wanted`, only files whose path it accepts; the marks are those of all files. `others` gets other files.

    Raises:
        SourceError: there is no file, or one of them is damaged.
    """
    tally = tally or Tally(source)
    named = named_fields(source)
    root = root_of(source.path, PARQUET_ENDINGS)
    schemas: dict[str, pa.Schema] = {}
    groups: dict[str, list[int]] = {}
    found = data_files(source, storage, PARQUET_ENDINGS, others)
    paths = [stat.uri[len(root) + 1 :] for stat in found]
    marks, folders = find_file_marks(paths), folder_columns(paths)
    if wanted is not None:
        found = [stat for stat in found if wanted(stat.uri[len(root) + 1 :])]
    constants: dict[str, dict[str, object]] = {}  # by file: its folders' columns, its name's mark where none says it
    for number, stat in enumerate(found):
        with open_parquet(storage, stat.uri) as file:
            path, subset = stat.uri[len(root) + 1 :], source.fields.subset
            see_schema(tally, file.schema_arrow, stat.uri)
            tally.see_columns(folders[path])
            constants[stat.uri] = folders[path]
            if subset is not None and subset not in folders[path] and type_at(file.schema_arrow, subset) is None:
                constants[stat.uri] |= {subset: mark} if (mark := marks.get(path)) else {}
            probe(tally, file, named, number, constants[stat.uri])
            count_marks(tally, file, constants[stat.uri])
            schemas[stat.uri] = file.schema_arrow
            groups[stat.uri] = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    count = sum(map(sum, groups.values()))
    if files_kind(schemas, source.fields) == "paths":
        tally.expected = count
        tally.marks.clear()  # the drafts are counted
        return _drafts(source.fields, storage, found, root, constants, tally)
    limit = limit_of_rows(rows_per_partition, count)
    tally.see_inline(count)
    partitions = []
    for stat in found:
        path, told, first_row = stat.uri[len(root) + 1 :], tuple(constants[stat.uri].items()), 0
        ranges = list(_ranges(groups[stat.uri], limit))
        counts = [sum(groups[stat.uri][first:stop]) for first, stop in ranges]
        versions = _versions(source, storage, cache, stat, ranges, counts)
        for (first, stop), rows, version in zip(ranges, counts, versions, strict=True):
            part = Part(path=path, size=stat.size, version=version, groups=(first, stop), constants=told)
            partitions.append(partition_of(source, f"{path}#{first}-{stop - 1}", part, rows, first_row=first_row))
            first_row += rows
    return partitions


def _versions(
    source: ParquetSource,
    storage: Storage,
    cache: VersionCache | None,
    stat: Stat,
    ranges: Sequence[tuple[int, int]],
    counts: Sequence[int],
) -> Sequence[str]:
    """Return the version of each range of a file's row groups: by its rows, or by the file.

    Raises:
        SourceError: the file is damaged.
        Changed: it changed while it was read.
    """
    if not has_row_versions(stat, source.version_by):
        return [storage.version(stat, source.version_by, cache)] * len(ranges)
    names = [f"{first}-{stop - 1}" for first, stop in ranges]
    digests = known_digests(cache, stat, names)
    if digests is None:
        try:
            with require_same(storage, stat), open_parquet(storage, stat.uri) as file:
                read = bounded(file.iter_batches(_ROWS_AT_A_TIME, use_threads=False), stat.size)
                digests = digest_parts((record for batch in read for record in records(batch)), _types(file), counts)
        except Changed:
            raise
        except SourceError:  # its partitions fail when they are read
            return [storage.version(stat, source.version_by, cache)] * len(ranges)
        keep_digests(storage, cache, stat, names, digests)
    return [f"{ROWS}{one}" for one in digests]


def _types(file: pq.ParquetFile) -> str:
    return str(file.schema_arrow.remove_metadata())


def partition_of(
    source: ParquetSource | DeltaSource, name: str, part: Part, rows: int, *, stamp: int = 0, first_row: int = 0
) -> Partition:
    """Return a partition that is a range of row groups, from the row `first_row`; its version depends on `fields`."""
    parts = [part.path, part.size, part.version, stamp, list(part.groups), list(part.constants)]
    if part.version.startswith(ROWS):  # neither the rest of the file nor its groups matter
        parts = [part.path, first_row, part.version, list(part.constants)]
    return Partition(
        source=source.name,
        id=f"{source.name}/{name}",
        version=digest.address("parquet", READER_FORMAT, source.fields.model_dump(), parts),
        rows=rows,
        locator="",
        row_group=0,
        part=part,
    )


def _ranges(rows: list[int], limit: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of row groups with at most `limit` rows together, or one with more; empty groups join any range."""
    first, held = 0, 0
    for i, count in enumerate(rows):
        if held and count and held + count > limit:
            yield first, i
            first, held = i, 0
        held += count
    if held:
        yield first, len(rows)


def _drafts(
    fields: FieldMap,
    storage: Storage,
    files: list[Stat],
    root: str,
    constants: Mapping[str, Mapping[str, object]],
    tally: Tally,
) -> Iterator[Draft]:
    for stat in files:
        path = stat.uri[len(root) + 1 :]
        with open_parquet(storage, stat.uri) as file:
            yield from drafts_of(file, stat.size, path, fields, constants[stat.uri], tally)


def drafts_of(
    file: pq.ParquetFile,
    size: int,
    path: str,
    fields: FieldMap,
    constants: Mapping[str, object],
    tally: Tally,
) -> Iterator[Draft]:
    """Yield the rows of a file of `size` bytes as drafts that name their media, each counted in `tally`."""
    number = 0
    for batch in bounded(file.iter_batches(_DRAFT_ROWS, use_threads=False), size):
        for record in records(batch):
            whole = with_constants(record, constants)
            tally.see_record(whole)
            yield _draft(whole, fields, f"{path}#{number}", frozenset())
            number += 1
    _require_rows(number, file.metadata.num_rows)


def read_parquet(
    source: ParquetSource | DeltaSource,
    storage: Storage,
    root: str,
    partition: Partition,
    config: PrepareConfig,
    known: Known,
) -> Iterator[Reading]:
    """Yield the rows of a range of row groups in the file's order.

    Raises:
        SourceError: the file is damaged or changed since planning.
    """
    assert partition.part is not None
    uri = storage.join(root, partition.part.path)
    try:
        with require_unchanged(storage, uri, partition.part, source.version_by):
            yield from readings(_read_rows(source, storage, uri, partition, partition.part, config), partition, known)
    except SourceError as error:
        if partition.part.version.startswith(ROWS):  # planning has read these rows
            raise Changed.of(uri) from error
        raise


def _read_rows(
    source: ParquetSource | DeltaSource,
    storage: Storage,
    uri: str,
    partition: Partition,
    part: Part,
    config: PrepareConfig,
) -> Iterator[Found]:
    constants = dict(part.constants)
    first, stop = part.groups
    with open_parquet(storage, uri) as file:
        stop = min(stop, file.metadata.num_row_groups)
        start = number = sum(file.metadata.row_group(i).num_rows for i in range(first))
        groups = list(range(first, stop))
        read = file.iter_batches(_ROWS_AT_A_TIME, row_groups=groups, use_threads=False)
        seen = RowDigest(_types(file))
        for batch in bounded(read, part.size):
            for record in seen.watch(records(batch)) if part.version.startswith(ROWS) else records(batch):
                yield _row(with_constants(record, constants), source.fields, f"{part.path}#{number}", config)
                number += 1
        _require_rows(number - start, partition.rows)
    if part.version.startswith(ROWS) and part.version != f"{ROWS}{seen.hex()}":
        raise Changed.of(uri)


def _require_rows(found: int, planned: int) -> None:
    if found != planned:
        raise ValueError(f"it has {found} rows, not {planned}")


def _row(record: Record, fields: FieldMap, where: str, config: PrepareConfig) -> Found:
    """Read a record whose media are bytes; other cells are as in a manifest."""
    media: dict[str, bytes] = {}
    hidden = frozenset(name for name in (fields.image, fields.audio) if name is not None)
    path, _, row = where.rpartition("#")
    payload = {"file": path, "row": int(row)}
    fault: tuple[str, str] | None = None
    for name, field in (("image", fields.image), ("audio", fields.audio)):
        if field is None or (value := get(record, field)) is None:
            continue
        data, path_of_medium = medium_of(value)
        limit = limit_of(name, config)
        if data is None and path_of_medium:
            fault = fault or ("media_missing", f"{name}: no bytes, only the path {redact(path_of_medium)[:200]!r}")
        elif isinstance(value, Unreadable):
            fault = fault or ("row_invalid", f"{name}: {value.why}")
        elif data is not None and len(data) > limit:
            fault = fault or ("media_too_large", f"{name} has {len(data)} bytes; the limit is {limit}")
        elif data is not None:
            media[name] = data
        if field in record:
            record[field] = {"path": path_of_medium} if path_of_medium else None  # `fields.key` may be `image.path`
    without = fields.model_copy(update={"image": None, "audio": None})
    draft = _draft(record, without, where, hidden)
    if draft.media:
        fault = fault or (
            "row_invalid",
            f"{', '.join(sorted(draft.media))}: media cannot be paths and bytes in one row",
        )
    if draft.reason is None and fault is not None:
        draft = Draft(key=draft.key, line=draft.line, reason=fault[0], detail=fault[1])
    return Found(draft=draft, media=media if draft.reason is None else {}, payload=payload)


def _draft(record: Record, fields: FieldMap, where: str, hidden: frozenset[str]) -> Draft:
    for field in (fields.key, fields.text, fields.captions, fields.group, fields.subset):
        value = get(record, field)
        if isinstance(value, Unreadable | bytes):
            why = value.why if isinstance(value, Unreadable) else "bytes, not text"
            return bad_row(where, f"{field}: {why}")
    values = {name: to_json(value) for name, value in record.items()}
    if fields.key == "#row":
        values["#row"] = where
    draft = map_fields(values, fields, where, hidden=hidden)
    if len(digest.canonical_json(draft.line)) > MAX_LINE_BYTES:
        return bad_row(where, f"too long: over {MAX_LINE_BYTES} bytes besides the media")
    if draft.reason == "key_missing":  # two rows of equal content are still two
        draft = replace(draft, key=f"row:{where}")
    return draft
