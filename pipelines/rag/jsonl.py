"""Small JSONL files that a person writes: questions, and worked examples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trichord.infra.errors import ConfigError
from trichord.infra.lake.storage import LineTooLong, Storage


def read_objects(storage: Storage, path: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The JSON objects of a file, each with its place (`file:line`) for messages; empty lines are skipped.

    Raises:
        ConfigError: the file cannot be read, a line is no JSON object, or there is none.
    """
    found: list[tuple[str, Mapping[str, Any]]] = []
    try:
        for number, (_, line) in enumerate(storage.lines(path), 1):
            place = f"{path}:{number}"
            if isinstance(line, LineTooLong):
                raise ConfigError(f"{place} has {line.size} bytes: too long a line.")
            if line.strip():
                found.append((place, _object(line, place)))
    except FileNotFoundError as error:
        raise ConfigError(f"There is no file {path}.") from error
    if not found:
        raise ConfigError(f"{path} is empty: it needs a JSON object a line.")
    return found


def text_list(value: Mapping[str, Any], name: str, place: str) -> tuple[str, ...]:
    """A field that is a list of texts, none of them empty; () where it is left out.

    Raises:
        ConfigError: it is something else.
    """
    texts = value.get(name, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ConfigError(f"{place}: {name} is a list of texts, none of them empty.")
    return tuple(texts)


def text_field(value: Mapping[str, Any], name: str, place: str) -> str:
    """A field that must be there and hold text.

    Raises:
        ConfigError: it does not.
    """
    text = value.get(name)
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"{place}: {name} is a text that is not empty.")
    return text


def known_fields(value: Mapping[str, Any], names: tuple[str, ...], place: str) -> None:
    """Refuse a field of another name.

    Raises:
        ConfigError: there is one.
    """
    if unknown := sorted(set(value) - set(names)):
        raise ConfigError(f"{place}: unknown key {unknown[0]!r}; known here: {', '.join(names)}.")


def _object(line: bytes, place: str) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place} is no JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{place} is a {type(value).__name__}, not a JSON object.")
    return value
