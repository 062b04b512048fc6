"""Small JSONL files written by people: questions, and worked examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trichord.infra.errors import ConfigError
from trichord.infra.lake.storage import LineTooLong, Storage
from trichord.pipelines.core.json_objects import parse_object


def read_objects(storage: Storage, path: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Read the JSON objects of a file, each with its place (`file:line`) for messages; empty lines are skipped.

    Raises:
        ConfigError: the file does not exist or is empty, or a line is not a JSON object.
    """
    found: list[tuple[str, Mapping[str, Any]]] = []
    try:
        for number, (_, line) in enumerate(storage.lines(path), 1):
            place = f"{path}:{number}"
            if isinstance(line, LineTooLong):
                raise ConfigError(f"{place} has {line.size} bytes, which is too long.")
            if line.strip():
                found.append((place, _parse(line, place)))
    except FileNotFoundError as error:
        raise ConfigError(f"There is no file {path}.") from error
    if not found:
        raise ConfigError(f"{path} is empty. Write one JSON object on each line.")
    return found


def read_texts(value: Mapping[str, Any], name: str, place: str) -> tuple[str, ...]:
    """Read a list of texts, none of them empty; () where the field is left out.

    Raises:
        ConfigError: the field holds something else.
    """
    texts = value.get(name, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ConfigError(f"{place}: {name} must be a list of texts, none of them empty.")
    return tuple(texts)


def read_text(value: Mapping[str, Any], name: str, place: str) -> str:
    """Read a required text.

    Raises:
        ConfigError: the field is missing or holds something else.
    """
    text = value.get(name)
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"{place}: {name} must be a text that is not empty.")
    return text


def refuse_unknown(value: Mapping[str, Any], names: tuple[str, ...], place: str) -> None:
    """Refuse fields of other names.

    Raises:
        ConfigError: there is one.
    """
    if unknown := sorted(set(value) - set(names)):
        raise ConfigError(f"{place}: unknown key {unknown[0]!r}; known here: {', '.join(names)}.")


def _parse(line: bytes, place: str) -> Mapping[str, Any]:
    try:
        return parse_object(line)
    except ValueError as error:
        raise ConfigError(f"{place} is {error}.") from error
