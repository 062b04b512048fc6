"""Manifest sources: rows of a JSONL, CSV or TSV file that name text and media files."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from trichord.infra.config import FieldMap, ManifestSource
from trichord.infra.errors import SourceError
from trichord.infra.json_values import JsonObject, parse_json
from trichord.infra.lake.storage import LineTooLong, Storage
from trichord.transforms.collect.drafts import Draft
from trichord.transforms.collect.field_map import bad_row, map_fields
from trichord.transforms.collect.tally import Tally

MAX_CELL_CHARS = 1 << 20
_FORMATS: dict[str, Literal["jsonl", "csv", "tsv"]] = {
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "jsonl",
    "csv": "csv",
    "tsv": "tsv",
}
_DELIMITERS = {"csv": ",", "tsv": "\t"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Lines of a manifest: those that begin at byte `start` or later, and before byte `stop`.

    Of a table they begin and end with a row, and `header` has the names of its columns, which the first portion holds.
    """

    start: int
    stop: int
    header: tuple[str, ...] = ()


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


_Lines: TypeAlias = Iterator[tuple[int, bytes | LineTooLong]]  # with the byte at which each begins


def _lines(source: ManifestSource, storage: Storage, portion: Portion | None) -> _Lines:
    return storage.lines(source.path, *(() if portion is None else (portion.start, portion.stop)))


def _jsonl(
    source: ManifestSource, storage: Storage, portion: Portion | None
) -> Iterator[tuple[JsonObject, str] | Draft]:
    for _, line in _lines(source, storage, portion):
        if isinstance(line, LineTooLong):
            yield bad_row(f"a line of {line.size} bytes", f"too long: {line.size} bytes")
        elif line.strip():
            yield _parse(line.removeprefix(b"\xef\xbb\xbf"))


def _parse(line: bytes) -> tuple[JsonObject, str] | Draft:
    try:
        text = line.decode()
        record = parse_json(text, allow_nan=False)
    except (ValueError, RecursionError) as error:
        return bad_row(line.decode(errors="replace"), f"not JSON: {error}")
    if not isinstance(record, dict):
        return bad_row(text, f"a JSON {type(record).__name__}, not an object")
    return record, text


def _table(
    source: ManifestSource, storage: Storage, kind: str, tally: Tally | None, portion: Portion | None
) -> Iterator[tuple[JsonObject, str] | Draft]:
    header = portion.header if portion is not None else ()
    for _, last, cells in _table_rows(_lines(source, storage, portion), kind):
        if isinstance(cells, csv.Error):
            yield bad_row(last, f"not {kind.upper()}: {cells}")
        elif not header:
            header = _header(cells, source)
            if tally is not None:
                tally.see_columns(header)
        elif len(cells) != len(header):
            yield bad_row(last, f"{len(cells)} cells under {len(header)} columns")
        else:
            present = {name: cell for name, cell in zip(header, cells, strict=True) if cell}
            yield _with_lists(present, source.fields), last


def _table_rows(lines: _Lines, kind: str) -> Iterator[tuple[int, str, list[str] | csv.Error]]:
    """Yield where each row begins, its last line, and its cells or why it has none; blank lines do not count."""
    csv.field_size_limit(MAX_CELL_CHARS)
    start, last = -1, ""  # -1: the next line begins a row

    def decoded() -> Iterator[str]:
        nonlocal start, last
        for offset, line in lines:
            start = offset if start < 0 else start
            # a lone surrogate makes the row that holds it invalid, whatever its columns
            last = "\udfff" if isinstance(line, LineTooLong) else line.decode(errors="surrogateescape")
            yield last + "\n"

    reader = csv.reader(decoded(), strict=True, delimiter=_DELIMITERS[kind])
    while True:
        start = -1
        try:
            cells: list[str] | csv.Error | None = next(reader, None)
        except csv.Error as error:
            cells = error
        if cells is None:
            return
        if cells:
            yield start, last, cells


def _header(cells: list[str], source: ManifestSource) -> tuple[str, ...]:
    header = tuple(name.strip() for name in (cells[0].removeprefix("\ufeff"), *cells[1:]))
    if len(set(header)) < len(header):
        raise SourceError(f"{source.path}: the header repeats a name: {', '.join(header)}. Rename the column")
    return header


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
    for start, _, cells in _table_rows(storage.lines(source.path), kind):
        if not header and not isinstance(cells, csv.Error):
            header = _header(cells, source)
        elif header and start - first >= step:
            yield Portion(start=first, stop=start, header=given)
            first, given = start, header
    yield Portion(start=first, stop=size, header=given)


def _with_lists(record: dict[str, str], fields: FieldMap) -> JsonObject:
    """Parse cells that may hold a JSON list (captions, segments, pictures, regions); others hold one plain value."""
    lists: JsonObject = {}
    for name in (fields.captions, fields.segments, fields.pictures, fields.regions):
        if name is not None and record.get(name, "").startswith("["):
            try:
                lists[name] = parse_json(record[name])
            except (ValueError, RecursionError):
                continue
    return {**record, **lists}
