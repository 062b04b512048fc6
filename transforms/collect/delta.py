"""Delta Lake sources: a partition is one data file of the pinned version, so a new version costs only its new files."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from trichord.infra.config import DeltaSource
from trichord.infra.errors import SourceError
from trichord.infra.lake.object_stores import describe
from trichord.infra.lake.storage import Storage
from trichord.transforms.collect.arrow_rows import media_kind, to_json
from trichord.transforms.collect.column_probe import EXACT_CHARS, count_marks, probe, see_schema
from trichord.transforms.collect.demands import named_fields
from trichord.transforms.collect.drafts import Draft
from trichord.transforms.collect.parquet import drafts_of, partition_of
from trichord.transforms.collect.parquet_file import open_parquet
from trichord.transforms.collect.partitions import Part, Partition
from trichord.transforms.collect.tally import Tally

_ALL = 1 << 31  # row groups
MAX_MARK_FILES = 256  # that are opened for the marks of their rows
# Reader features that do not change how a data file's rows are read.
_HARMLESS = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}


@dataclass(frozen=True, slots=True)
class _DataFile:
    path: str  # below the table
    size: int
    modified_ms: int
    rows: int | None
    constants: Mapping[str, object]  # its partition
    nulls: Mapping[str, int]  # rows without a value, by column, as the log says
    words: Mapping[str, str]  # columns in which all rows have one word, as the log says


def plan_delta(source: DeltaSource, storage: Storage, tally: Tally | None = None) -> list[Partition] | Iterator[Draft]:
    """Plan partitions of one data file each if media are bytes or absent; else return all rows as drafts.

    Raises:
        SourceError: there is no such table or version, it uses an unsupported feature, or a data file is damaged.
    """
    schema, files = _data_files(source, storage)
    tally = tally or Tally(source)
    see_schema(tally, schema, source.path)
    if media_kind(schema, source.fields, source.path) == "paths":
        tally.expected = sum(file.rows or 0 for file in files)
        return _drafts(source, storage, files, tally)
    partitions = []
    for file in files:
        rows = file.rows
        if rows is None:  # a table without statistics
            with open_parquet(storage, storage.join(source.path, file.path)) as opened:
                rows = opened.metadata.num_rows
        part = Part(
            path=file.path, size=file.size, version="", groups=(0, _ALL), constants=tuple(file.constants.items())
        )
        if rows:
            partitions.append(partition_of(source, file.path, part, rows, stamp=file.modified_ms))
    _count_fields(source, storage, files, tally)
    _count_marks(source, storage, files, tally)
    tally.see_inline(sum(partition.rows for partition in partitions))
    return partitions


def _count_fields(source: DeltaSource, storage: Storage, files: list[_DataFile], tally: Tally) -> None:
    """Look into as few data files as show which fields are filled: first into those that the log says fill most."""
    named, columns = named_fields(source), [column for _, column in tally.map]
    by_nulls = sorted(files, key=lambda file: sum(file.nulls.get(column, 0) >= (file.rows or 1) for column in columns))
    for number, file in enumerate(by_nulls):
        if tally.present <= tally.found | tally.open:
            break
        with open_parquet(storage, storage.join(source.path, file.path)) as opened:
            probe(tally, opened, named, number, file.constants)
    tally.lacking.clear()  # the log knows it of all files
    for file in files:
        tally.lacking.update({name: file.nulls.get(column, 0) for name, column in tally.map})


def _count_marks(source: DeltaSource, storage: Storage, files: list[_DataFile], tally: Tally) -> None:
    """Count the marks of all rows by the log where it names them, else in the first data files."""
    opened_files, subset = 0, source.fields.subset or ""
    for file in files:
        if subset in file.words and file.rows:
            tally.see_mark(file.words[subset], file.rows)
        elif subset in file.constants and file.rows:
            tally.see_mark(file.constants[subset], file.rows)
        elif "subset" in tally.present and opened_files < MAX_MARK_FILES:
            opened_files += 1
            with open_parquet(storage, storage.join(source.path, file.path)) as opened:
                count_marks(tally, opened, file.constants)


def _drafts(source: DeltaSource, storage: Storage, files: list[_DataFile], tally: Tally) -> Iterator[Draft]:
    for file in files:
        with open_parquet(storage, storage.join(source.path, file.path)) as opened:
            yield from drafts_of(opened, file.size, file.path, source.fields, file.constants, tally)


def _data_files(source: DeltaSource, storage: Storage) -> tuple[pa.Schema, list[_DataFile]]:
    try:
        table = DeltaTable(source.path, version=source.version, storage_options=storage.delta_options(source.path))
        _require_plain(table, source)
        schema = pa.schema(table.schema().to_arrow())
        actions = pa.table(table.get_add_actions(flatten=True))
    except (DeltaError, OSError, ValueError) as error:
        detail = describe(error)
        raise SourceError(
            f"{source.path} cannot be read as a Delta table ({detail[:300]}). Fix `path` or `version` of source "
            f"{source.name!r}"
        ) from error
    partitions = [name for name in actions.column_names if name.startswith("partition.")]
    files = []
    for action in actions.to_pylist():
        path = unquote(action["path"])  # the log percent-encodes it
        clean = posixpath.normpath(path)
        if "://" in path or clean.startswith(("/", "..")) or clean != path:
            raise SourceError(
                f"{source.path}: the table names {path[:200]!r}, which is not below it (a shallow clone?)"
            )
        constants = {name.removeprefix("partition."): to_json(action[name]) for name in sorted(partitions)}
        numbers = (action["size_bytes"], action["modification_time"], action["num_records"])
        nulls = {
            name.removeprefix("null_count."): count
            for name, count in action.items()
            if name.startswith("null_count.") and isinstance(count, int)
        }
        words = {
            name.removeprefix("min."): least
            for name, least in action.items()
            if name.startswith("min.")
            and _is_only(least, action.get(f"max.{name.removeprefix('min.')}"))
            and action.get(f"null_count.{name.removeprefix('min.')}") == 0
        }
        files.append(_DataFile(path, *numbers, constants, nulls, words))
    return schema, sorted(files, key=lambda file: file.path)


def _is_only(least: object, most: object) -> bool:
    """Return True if a column's least and greatest value say that all its rows have one word."""
    return isinstance(least, str) and least == most and len(least) < EXACT_CHARS


def _require_plain(table: DeltaTable, source: DeltaSource) -> None:
    """Refuse what needs more than reading the data files: deletion vectors, renamed columns.

    Raises:
        SourceError: the table uses such a feature.
    """
    protocol, mode = table.protocol(), table.metadata().configuration.get("delta.columnMapping.mode") or "none"
    features = set(protocol.reader_features or ()) - _HARMLESS
    if mode == "none":
        features.discard("columnMapping")
    if protocol.min_reader_version >= 2 and mode != "none":
        features.add(f"columnMapping ({mode})")
    if features:
        raise SourceError(
            f"{source.path} uses {', '.join(sorted(features))}, which is not supported. Rewrite the table without it "
            "(for deletion vectors: REORG TABLE ... APPLY (PURGE), then drop the feature)"
        )
