"""Arrow rows as records: JSON values by name, media as bytes."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import pyarrow as pa
import pyarrow.types as pt

from trichord.infra import digest
from trichord.infra.config import FieldMap
from trichord.infra.errors import SourceError
from trichord.transforms.collect.naming import guess_meant, show, show_all

MediaKind = Literal["bytes", "paths", "none"]
Record: TypeAlias = dict[str, object]  # a row's cells by column: Python values, or `Unreadable`


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A cell whose value Python cannot hold: a string that is not UTF-8, a time beyond the calendar."""

    why: str


def media_kind(schema: pa.Schema, fields: FieldMap, where: str) -> MediaKind:
    """Return whether the media columns hold bytes or paths.

    Raises:
        SourceError: the key column is missing, a media column is of another type, or one holds bytes and another paths.
    """
    if fields.key != "#row" and type_at(schema, fields.key) is None:
        meant = guess_meant(fields.key, schema.names)
        hint = f"; did you mean {show(meant)}?" if meant is not None else ""
        raise SourceError(
            f"{where}: there is no column {show(fields.key)} (there are {show_all(schema.names)}){hint}\n"
            'Next: set `fields.key` to the column that names each row; `key: "#row"` names it by its position.'
        )
    kinds: dict[str, MediaKind] = {}
    for name in (fields.image, fields.audio, fields.segments):
        found = type_at(schema, name)
        if name is None or found is None:
            continue
        kind = _kind(found)
        if name == fields.segments and kind != "paths":
            continue
        if kind == "none" and not pt.is_null(found):  # of a type, but all null: what other files hold decides
            raise SourceError(f"{where}: column {name!r} is {found}, neither bytes nor a path. Fix `fields`")
        if kind != "none":
            kinds[name] = kind
    if len(set(kinds.values())) > 1:
        held = ", ".join(f"{name} holds {kind}" for name, kind in kinds.items())
        raise SourceError(f"{where}: {held}. Media must be all bytes or all paths; remove one from `fields`")
    return next(iter(kinds.values()), "none")


def _kind(found: pa.DataType) -> MediaKind:
    if pt.is_dictionary(found):
        found = found.value_type
    if _is_binary(found):
        return "bytes"
    if pt.is_string(found) or pt.is_large_string(found) or pt.is_string_view(found):
        return "paths"
    if pt.is_struct(found) and found.get_field_index("bytes") >= 0:
        return "bytes" if _is_binary(found.field("bytes").type) else "none"
    return "none"


def _is_binary(found: pa.DataType) -> bool:
    return bool(
        pt.is_binary(found) or pt.is_large_binary(found) or pt.is_binary_view(found) or pt.is_fixed_size_binary(found)
    )


def type_at(schema: pa.Schema, name: str | None) -> pa.DataType | None:
    """Return the type of a column, or of the struct field that a dotted name means."""
    if name is None:
        return None
    if name in schema.names:
        return schema.field(name).type if len(schema.get_all_field_indices(name)) == 1 else None
    first, *rest = name.split(".")
    if len(schema.get_all_field_indices(first)) != 1:
        return None
    found = schema.field(first).type
    for part in rest:
        if not pt.is_struct(found) or found.get_field_index(part) < 0:
            return None
        found = found.field(part).type
    return found


def records(batch: pa.RecordBatch) -> Iterator[Record]:
    """Yield the rows as Python values; cells that Python cannot hold are `Unreadable`."""
    columns = [_values(column) for column in batch.columns]
    for values in zip(*columns, strict=True):
        yield dict(zip(batch.schema.names, values, strict=True))


def _values(column: pa.Array) -> list[object]:
    try:
        values: list[object] = column.to_pylist()
        return values
    except (ValueError, OverflowError, NotImplementedError):
        return [_value(cell) for cell in column]


def _value(cell: pa.Scalar) -> object:
    try:
        value: object = cell.as_py()
        return value
    except (ValueError, OverflowError, NotImplementedError) as error:
        return Unreadable(f"{cell.type}: {error}"[:200])


def medium_of(value: object) -> tuple[bytes | None, str]:
    """Return the bytes of a media cell, bare or as {bytes, path}, and its path."""
    if isinstance(value, Mapping):
        data, path = value.get("bytes"), value.get("path")
        return data if isinstance(data, bytes) else None, path if isinstance(path, str) else ""
    return (value, "") if isinstance(value, bytes) else (None, "")


def to_json(value: object) -> object:
    """Return a JSON value for any cell: times as ISO text, bytes as size and digest, NaN as null."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return {"bytes": len(value), "sha256": digest.sha256_hex(value)[: digest.ADDRESS_CHARS]}
    if isinstance(value, Unreadable):
        return {"unreadable": value.why}
    if isinstance(value, Mapping):
        return {str(name): to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return str(value) if isinstance(value, decimal.Decimal) else {"type": type(value).__name__}
