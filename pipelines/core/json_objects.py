"""Read JSON objects from files and services; anything else is an error that says where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trichord.infra import json_values
from trichord.infra.errors import StorageError
from trichord.infra.lake.lake import Lake


def parse_object(data: bytes | str) -> Mapping[str, Any]:
    """Parse text that must be one JSON object.

    Raises:
        ValueError: the text is not JSON, or not an object; the message begins with `not`.
    """
    return json_values.parse_object(data)


def stored_object(data: bytes | str, place: str) -> Mapping[str, Any]:
    """Parse an object that Trichord itself wrote; `place` names the file or row in the message.

    Raises:
        StorageError: the object is damaged.
    """
    try:
        return parse_object(data)
    except ValueError as error:
        raise StorageError(f"{place} is damaged: {error}.\nRun `trichord recover`.") from error


def read_object(lake: Lake, *parts: str) -> Mapping[str, Any]:
    """Read a JSON file of the lake.

    Raises:
        StorageError: the file is damaged; otherwise as `Storage.read`.
    """
    return stored_object(lake.read(*parts), lake.uri(*parts))
