"""JSON as typed values, and the one parser of JSON that comes from a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar, cast

T = TypeVar("T")
JsonObject: TypeAlias = dict[str, object]  # an object of any shape, such as a user's row: check each value before use


def parse_json(text: str | bytes, *, allow_nan: bool = True) -> object:
    """Parse a JSON value.

    Args:
        text: JSON; bytes may be UTF-8, UTF-16 or UTF-32.
        allow_nan: accept NaN and Infinity, which JSON does not have but many writers produce.

    Raises:
        ValueError: the text is not JSON, or it is nested too deeply.
    """
    try:
        if allow_nan or not isinstance(text, str) or text.startswith("\ufeff"):
            value: object = json.loads(text, parse_constant=None if allow_nan else _refuse_constant)
        else:
            value = _STRICT.decode(text)  # as the line above, but that makes a decoder each time
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return value


def parse_object(text: str | bytes) -> JsonObject:
    """Parse JSON that must be an object.

    Raises:
        ValueError: it is not JSON, or not an object; the message begins with `not`.
    """
    try:
        value = parse_json(text)
    except ValueError as error:
        raise ValueError(f"not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"not a JSON object but a {type(value).__name__}")
    return value


def map_strings(value: T, change: Callable[[str], str], names: Callable[[str], str] | None = None) -> T:
    """Return JSON-like values with every string in them changed; the names of fields by `names`, if it is given."""
    found: object = value
    if isinstance(value, str):
        found = change(value)
    elif isinstance(value, Mapping):
        found = {map_strings(name, names or change): map_strings(item, change, names) for name, item in value.items()}
    elif isinstance(value, list | tuple):
        found = [map_strings(item, change, names) for item in value]
    return cast("T", found)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)
