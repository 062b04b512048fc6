"""Manifest sources: rows of a JSONL, CSV or TSV file that name text and media files."""

from __future__ import annotations

import csv
from collections.abc import Iterator
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


Span: TypeAlias = tuple[int, int]  # of bytes: lines that begin at the first or later, and before the second


def read_manifest(
    source: ManifestSource, storage: Storage, tally: Tally | None = None, span: Span | None = None
) -> Iterator[Draft]:
    """Yield every row of the manifest in bounded memory, counted in `tally`; blank lines do not count.

    Args:
        source: the manifest.
        storage: where it is.
        tally: counts what the rows hold.
        span: of a manifest of lines, the portion to read.

    Raises:
        SourceError: there is no such file, or its format is unknown, or a CSV header repeats a name.
    """
    for found in manifest_records(source, storage, tally, span):
        yield found if isinstance(found, Draft) else map_fields(found[0], source.fields, found[1])


def manifest_records(
    source: ManifestSource, storage: Storage, tally: Tally | None = None, span: Span | None = None
) -> Iterator[tuple[JsonObject, str] | Draft]:
    """Yield each row as (fields by name, its line), or as a draft if it is not a row; see `read_manifest`."""
    for found in _rows(source, storage, tally, span):
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
    source: ManifestSource, storage: Storage, tally: Tally | None, span: Span | None
) -> Iterator[tuple[JsonObject, str] | Draft]:
    kind = manifest_format(source)
    try:
        yield from _jsonl(source, storage, span) if kind == "jsonl" else _table(source, storage, kind, tally)
    except FileNotFoundError as error:
        raise SourceError(f"{source.path}: there is no such manifest. Fix `path` of source {source.name!r}") from error


def _jsonl(source: ManifestSource, storage: Storage, span: Span | None) -> Iterator[tuple[JsonObject, str] | Draft]:
    for _, line in storage.lines(source.path, *(span or ())):
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
    source: ManifestSource, storage: Storage, kind: str, tally: Tally | None
) -> Iterator[tuple[JsonObject, str] | Draft]:
    csv.field_size_limit(MAX_CELL_CHARS)
    last = ""

    def lines() -> Iterator[str]:
        nonlocal last
        for _, line in storage.lines(source.path):
            # a lone surrogate makes the row that holds it invalid, whatever its columns
            last = "\udfff" if isinstance(line, LineTooLong) else line.decode(errors="surrogateescape")
            yield last + "\n"

    reader = csv.reader(lines(), strict=True, delimiter=_DELIMITERS[kind])
    header: list[str] | None = None
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield bad_row(last, f"not {kind.upper()}: {error}")
            continue
        if cells is None:
            return
        if not cells:
            continue
        if header is None:
            header = [name.strip() for name in (cells[0].removeprefix("\ufeff"), *cells[1:])]
            if len(set(header)) < len(header):
                raise SourceError(f"{source.path}: the header repeats a name: {', '.join(header)}. Rename the column")
            if tally is not None:
                tally.see_columns(header)
        elif len(cells) != len(header):
            yield bad_row(last, f"{len(cells)} cells under {len(header)} columns")
        else:
            present = {name: cell for name, cell in zip(header, cells, strict=True) if cell}
            yield _with_lists(present, source.fields), last


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
