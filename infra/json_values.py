"""JSON as typed values, and the one parser of JSON that comes from a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar, cast

T = TypeVar("T")
JsonObject: TypeAlias = dict[str, object]  # an object of any shape, such as a user's row: check each value before use


def parse_json(text: str | bytes, *, allow_nan: bool = True, unique: bool = False) -> object:
    """Parse a JSON value.

    Args:
        text: JSON; bytes may be UTF-8, UTF-16 or UTF-32.
        allow_nan: accept NaN and Infinity, which JSON does not have but many writers produce.
        unique: refuse objects that repeat a name: which of its values counts would be a guess.

    Raises:
        ValueError: the text is not JSON, or it is nested too deeply.
    """
    try:
        if not isinstance(text, str):
            text = text.decode(json.detect_encoding(text), "surrogatepass")
        elif text.startswith("\ufeff"):
            raise ValueError("it begins with a byte-order mark")
        value: object = _DECODERS[allow_nan, unique].decode(text)  # json.loads makes a decoder each time
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


def _unique(pairs: list[tuple[str, object]]) -> JsonObject:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen = set[str]()
        again = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"an object repeats the name {again[:100]!r}")
    return found


_DECODERS = {
    (allow_nan, unique): json.JSONDecoder(
        parse_constant=None if allow_nan else _refuse_constant, object_pairs_hook=_unique if unique else None
    )
    for allow_nan in (False, True)
    for unique in (False, True)
}
