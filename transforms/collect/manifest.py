"""Manifest sources: rows of a JSONL or CSV file that name text and media files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from infra import digest
from infra.config import FieldMap, ManifestSource
from infra.errors import SourceError
from infra.lake.storage import LineTooLong, Storage
from transforms.collect.drafts import Draft, InvalidRow

MAX_KEY_CHARS = 1_024
MAX_CELL_CHARS = 1 << 20
_SHOWN_CHARS = 500  # of a line that is no row
_FORMATS: dict[str, Literal["jsonl", "csv"]] = {"jsonl": "jsonl", "ndjson": "jsonl", "json": "jsonl", "csv": "csv"}


def read_manifest(source: ManifestSource, storage: Storage) -> Iterator[Draft]:
    """Every row of the manifest, in bounded memory; blank lines are no rows.

    Raises:
        SourceError: there is no such file, or its format is unknown, or a CSV header repeats a name.
    """
    kind = source.format
    if kind == "auto":
        ending = source.path.rsplit(".", 1)[-1].lower()
        if ending not in _FORMATS:
            raise SourceError(f"{source.path}: .{ending} names no format. Set `format` of source {source.name!r}")
        kind = _FORMATS[ending]
    try:
        yield from _csv(source, storage) if kind == "csv" else _jsonl(source, storage)
    except FileNotFoundError as error:
        raise SourceError(f"{source.path}: there is no such manifest. Mend `path` of source {source.name!r}") from error


def _jsonl(source: ManifestSource, storage: Storage) -> Iterator[Draft]:
    for _, line in storage.lines(source.path):
        if isinstance(line, LineTooLong):
            yield _bad(f"a line of {line.size} bytes", f"too long: {line.size} bytes")
        elif line.strip():
            yield _parsed(line.removeprefix(b"\xef\xbb\xbf"), source.fields)


def _parsed(line: bytes, fields: FieldMap) -> Draft:
    try:
        text = line.decode()
        record = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return _bad(line.decode(errors="replace"), f"not JSON: {error}")
    if not isinstance(record, dict):
        return _bad(text, f"a JSON {type(record).__name__}, not an object")
    return _mapped(record, fields, text)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _csv(source: ManifestSource, storage: Storage) -> Iterator[Draft]:
    csv.field_size_limit(MAX_CELL_CHARS)
    last = ""

    def lines() -> Iterator[str]:
        nonlocal last
        for _, line in storage.lines(source.path):
            # a lone surrogate makes the row that holds it invalid, whatever its columns
            last = "\udfff" if isinstance(line, LineTooLong) else line.decode(errors="surrogateescape")
            yield last + "\n"

    reader = csv.reader(lines(), strict=True)
    header: list[str] | None = None
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield _bad(last, f"not CSV: {error}")
            continue
        if cells is None:
            return
        if not cells:
            continue
        if header is None:
            header = [name.strip() for name in (cells[0].removeprefix("\ufeff"), *cells[1:])]
            if len(set(header)) < len(header):
                raise SourceError(f"{source.path}: the header repeats a name: {', '.join(header)}. Rename the column")
        elif len(cells) != len(header):
            yield _bad(last, f"{len(cells)} cells under {len(header)} columns")
        else:
            present = {name: cell for name, cell in zip(header, cells, strict=True) if cell}
            yield _mapped(_with_list(present, source.fields.captions), source.fields, last)


def _with_list(record: dict[str, Any], captions: str | None) -> dict[str, Any]:
    """Captions in a cell are a JSON list, or one caption."""
    if captions is not None and record.get(captions, "").startswith("["):
        try:
            return record | {captions: json.loads(record[captions])}
        except (ValueError, RecursionError):
            return record
    return record


def _bad(line: str, detail: str) -> Draft:
    shown = line.encode("utf-8", "replace").decode()
    return Draft(
        key=f"line:{digest.address(line)[:16]}",
        line={"raw": shown[:_SHOWN_CHARS]},
        reason="row_invalid",
        detail=detail[:_SHOWN_CHARS].encode("utf-8", "replace").decode(),
    )


def _mapped(record: Mapping[str, Any], fields: FieldMap, line: str) -> Draft:
    """A record's fields by their meaning."""
    try:
        key = _name(record, fields.key)
        media = {
            modality: named
            for modality, name in (("image", fields.image), ("audio", fields.audio))
            if (named := _text(record, name))
        }
        captions = _get(record, fields.captions) or []
        captions = [captions] if isinstance(captions, str) else captions
        if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
            raise InvalidRow(f"{fields.captions} must be a list of strings")
        meaning = set(fields.model_dump().values())
        mapped = {
            "text": _text(record, fields.text),
            "captions": captions,
            "group": _name(record, fields.group),
            "subset": _name(record, fields.subset),
            "meta": {name: value for name, value in record.items() if name not in meaning},
        }
        if len(key) > MAX_KEY_CHARS:
            raise InvalidRow(f"{fields.key} has {len(key)} characters, at most {MAX_KEY_CHARS} are allowed")
        digest.canonical_json([key, mapped, media]).decode()
    except (InvalidRow, ValueError, RecursionError) as error:  # of canonical JSON: infinities, lone surrogates
        return _bad(line, str(error))
    if not key:
        unnamed = f"line:{digest.address(mapped, media)[:16]}"
        return Draft(key=unnamed, line=mapped, media=media, reason="key_missing", detail=f"no {fields.key}")
    return Draft(key=key, line=mapped, media=media)


def _get(record: Mapping[str, Any], name: str | None) -> Any:
    """A field by its name, or by its path through nested objects."""
    if name is None or name in record:
        return record.get(name) if name is not None else None
    value: Any = record
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _text(record: Mapping[str, Any], name: str | None) -> str | None:
    value = _get(record, name)
    if value is not None and not isinstance(value, str):
        raise InvalidRow(f"{name} must be a string, not {type(value).__name__}")
    return value or None


def _name(record: Mapping[str, Any], name: str | None) -> str:
    """A field that names something: a string or an integer; '' where it is absent."""
    value = _get(record, name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
        raise InvalidRow(f"{name} must be a string or an integer, not {type(value).__name__}")
    return "" if value is None else str(value)
