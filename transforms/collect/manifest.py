"""Manifest sources: rows of a JSONL, CSV or TSV file that name text and media files."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from trichord.infra.config import FieldMap, ManifestSource
from trichord.infra.errors import SourceError
from trichord.infra.json_values import JsonObject, parse_json
from trichord.infra.lake.storage import LineTooLong, Storage
from trichord.transforms.collect.drafts import Draft, InvalidRow
from trichord.transforms.collect.field_map import bad_row, map_fields
from trichord.transforms.collect.list_cells import parse_objects
from trichord.transforms.collect.table_rows import (
    Lines,
    TableRow,
    check_first_line,
    header_of,
    open_table,
    table_rows,
)
from trichord.transforms.collect.tally import Tally
from trichord.transforms.text_bytes import explain_undecodable

_PACKED = frozenset({"gz", "zst", "bz2", "xz", "zip", "xlsx", "xls", "ods"})
# how programs write that a cell has no value; in a column that `fields` maps, it is none
_NO_VALUE = frozenset({"NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A", "\\N"})
_FORMATS: dict[str, Literal["jsonl", "csv", "tsv"]] = {
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "jsonl",
    "csv": "csv",
    "tsv": "tsv",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Lines of a manifest: those that begin at byte `start` or later, and before byte `stop`.

    Of a table they begin and end with a row, and `header` has the names of its columns, which the first portion holds.
    """

    start: int
    stop: int
    header: tuple[str, ...] = ()
    delimiter: str = ""


def read_manifest(
    source: ManifestSource, storage: Storage, tally: Tally | None = None, portion: Portion | None = None
) -> Iterator[Draft]:
    """Yield every row of the manifest in bounded memory, counted in `tally`; blank lines do not count.

    Args:
        source: the manifest.
        storage: where it is.
        tally: counts what the rows hold.
        portion: what is read; everything if None.

    Raises:
        SourceError: there is no such file, or its format is unknown, or a CSV header repeats a name.
    """
    for found in manifest_records(source, storage, tally, portion):
        yield found if isinstance(found, Draft) else map_fields(found[0], source.fields, found[1])


def manifest_records(
    source: ManifestSource, storage: Storage, tally: Tally | None = None, portion: Portion | None = None
) -> Iterator[tuple[JsonObject, str] | Draft]:
    """Yield each row as (fields by name, its line), or as a draft if it is not a row; see `read_manifest`."""
    for found in _rows(source, storage, tally, portion):
        if tally is not None and isinstance(found, Draft):
            tally.see_unread(found)
        elif tally is not None and not isinstance(found, Draft):
            tally.see_record(found[0])
        yield found


def manifest_format(source: ManifestSource) -> Literal["jsonl", "csv", "tsv"]:
    """Return the format of a manifest. Raise SourceError if it is unknown."""
    if source.format != "auto":
        return source.format
    ending = source.path.rsplit(".", 1)[-1].lower()
    if ending in _PACKED:
        raise SourceError(
            f"{source.path}: .{ending} files are not read. Next: unpack it, or save it as CSV or JSON Lines, and fix "
            f"`path` of source {source.name!r}"
        )
    if ending not in _FORMATS:
        raise SourceError(f"{source.path}: .{ending} is not a known format. Set `format` of source {source.name!r}")
    return _FORMATS[ending]


def _rows(
    source: ManifestSource, storage: Storage, tally: Tally | None, portion: Portion | None
) -> Iterator[tuple[JsonObject, str] | Draft]:
    kind = manifest_format(source)
    try:
        if kind == "jsonl":
            yield from _jsonl(source, storage, portion)
        else:
            yield from _table(source, storage, kind, tally, portion)
    except FileNotFoundError as error:
        raise SourceError(f"{source.path}: there is no such manifest. Fix `path` of source {source.name!r}") from error


def _lines(source: ManifestSource, storage: Storage, portion: Portion | None) -> Lines:
    return storage.lines(source.path, *(() if portion is None else (portion.start, portion.stop)))


def _jsonl(
    source: ManifestSource, storage: Storage, portion: Portion | None
) -> Iterator[tuple[JsonObject, str] | Draft]:
    is_first = portion is None or portion.start == 0
    for start, line in _lines(source, storage, portion):
        if isinstance(line, LineTooLong):
            yield replace(bad_row(f"a line of {line.size} bytes", f"too long: {line.size} bytes"), at=start)
        elif line.strip():
            line = line.removeprefix(b"\xef\xbb\xbf")
            if is_first:
                check_first_line(line, source)
                _require_json_lines(line, source)
            found = _parse(line)
            yield replace(found, at=start) if isinstance(found, Draft) else found
        is_first = is_first and not isinstance(line, LineTooLong) and not line.strip()


def _require_json_lines(line: bytes, source: ManifestSource) -> None:
    """Raise SourceError if a file's first line shows that it is one JSON document, not an object a line."""
    line = line.strip()
    what = ""
    if line.startswith(b"["):
        try:
            document = parse_json(line.decode())
        except (ValueError, RecursionError):
            what = "array"  # that ends on another line
        else:
            what = "array" if isinstance(document, list) and any(isinstance(row, dict) for row in document) else ""
    elif line == b"{":
        what = "object over several lines"
    if what:
        program = "'.[]'" if what == "array" else "."
        raise SourceError(
            f"{source.path}: it begins as one JSON {what}; a manifest has one object a line (JSON Lines).\n"
            f"Next: `jq -c {program} FILE > NEW_FILE.jsonl`, and fix `path` of source {source.name!r}."
        )


def _parse(line: bytes) -> tuple[JsonObject, str] | Draft:
    try:
        text = line.decode()
        record = parse_json(text, allow_nan=False, unique=True)
    except UnicodeDecodeError as error:
        return bad_row(line.decode(errors="replace"), explain_undecodable(line, error))
    except (ValueError, RecursionError) as error:
        return bad_row(line.decode(errors="replace"), f"not JSON: {error}")
    if not isinstance(record, dict):
        return bad_row(text, f"a JSON {type(record).__name__}, not an object")
    return record, text


def _table(
    source: ManifestSource, storage: Storage, kind: str, tally: Tally | None, portion: Portion | None
) -> Iterator[tuple[JsonObject, str] | Draft]:
    lines, header = _lines(source, storage, portion), tuple[str, ...]()
    if portion is not None and portion.header:
        header, delimiter = portion.header, portion.delimiter
    else:
        lines, delimiter = open_table(lines, source, kind)
    for row in table_rows(lines, delimiter):
        if not header and not isinstance(row.cells, csv.Error):
            header = header_of(row, row.cells, source, delimiter)
            if tally is not None:
                tally.see_columns(header)
            continue
        found = _record(row, header, kind, source.fields)
        yield from [found] if isinstance(found, tuple) else found


def _record(
    row: TableRow, header: tuple[str, ...], kind: str, fields: FieldMap
) -> tuple[JsonObject, str] | Iterator[Draft]:
    """Return a row as (fields by name, its text), or as rejects."""
    if isinstance(row.cells, csv.Error):
        return row.rejects(f"not {kind.upper()}: {row.cells}")
    if fault := row.fault():
        return row.rejects(fault)
    if len(row.cells) != len(header):
        return row.rejects(f"{len(row.cells)} cells under {len(header)} columns")
    mapped = _columns(fields)
    present: JsonObject = {
        name: cell
        for name, cell in zip(header, row.cells, strict=True)
        if cell and not (cell in _NO_VALUE and name in mapped)
    }
    try:
        for name in (fields.segments, fields.pictures, fields.regions):
            if name is not None and isinstance(cell := present.get(name), str):
                present[name] = parse_objects(cell)
    except InvalidRow as error:
        return iter([replace(bad_row(row.text(), str(error)), at=row.start)])
    return present, row.text()


@lru_cache(maxsize=64)
def _columns(fields: FieldMap) -> frozenset[object]:
    return frozenset(fields.model_dump().values())


def portions_of(source: ManifestSource, storage: Storage, size: int, step: int) -> Iterator[Portion]:
    """Yield a manifest of `size` bytes in portions of about `step` bytes.

    Lines can be read from any byte on. In a table a cell may hold lines: its rows are looked through, but not made.

    Raises:
        SourceError: as `read_manifest`.
    """
    kind = manifest_format(source)
    if kind == "jsonl":
        yield from (Portion(start=start, stop=start + step) for start in range(0, size, step))
        return
    first, header = 0, tuple[str, ...]()
    given = header  # the first portion has it in its lines
    lines, delimiter = open_table(storage.lines(source.path), source, kind)
    for row in table_rows(lines, delimiter):
        if not header:
            header = () if isinstance(row.cells, csv.Error) else header_of(row, row.cells, source, delimiter)
        elif row.start - first >= step:
            yield Portion(start=first, stop=row.start, header=given, delimiter=delimiter)
            first, given = row.start, header
    yield Portion(start=first, stop=size, header=given, delimiter=delimiter)
