"""Results of verbs: frozen dataclasses in Python, plain JSON values at the boundary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any


class Result:
    """A mixin for the frozen dataclass that a verb returns; its field names are the keys of the JSON result."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready nested values: dicts, lists, strings, numbers, booleans and None."""
        return _plain_fields(self)


def plain(value: Any) -> Any:
    """Return a value with every dataclass in it as a dict, every sequence as a list and every path as a string."""
    if isinstance(value, Result):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return _plain_fields(value)
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _plain_fields(value: Any) -> dict[str, Any]:
    return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
