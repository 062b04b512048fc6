"""Lists that a cell holds as text: JSON, Python's (pandas' `to_csv` writes them so) and numpy's, without commas."""

from __future__ import annotations

import ast
import re

from trichord.infra.json_values import parse_json
from trichord.transforms.collect.drafts import InvalidRow

_STRING = r"'(?:[^'\\]|\\.)*+'" + r'|"(?:[^"\\]|\\.)*+"'
_ITEM = re.compile(rf"\s*+(?:({_STRING})|(None|nan|NaN|null)(?![\w.]))(\s*+)(,?)", re.DOTALL)
_LIKE_LIST = re.compile(r"""\[\s*+(?:['"].*['"]\s*+,?|(?:None|nan|NaN|null)\s*+(?:,.*)?|)\s*+\]""", re.DOTALL)
_MAX_LITERAL = 256 << 10  # characters: Python needs about 100 times as many bytes to parse it


def parse_strings(text: str) -> list[object] | None:
    """Return the strings (None: no value) of a list; None if the text is not a list, such as `[music] plays`.

    Raises:
        InvalidRow: it looks like a list of strings, but cannot be read as one.
    """
    if not text.startswith("[") or not _LIKE_LIST.fullmatch(text.strip()):
        return None
    try:
        found = parse_json(text, allow_nan=False, unique=True)
        if isinstance(found, list):
            return found
    except (ValueError, RecursionError):
        pass
    inner, items, at, separated = text.strip()[1:-1], list[object](), 0, True
    inner = inner.rstrip()
    while at < len(inner):
        item = _ITEM.match(inner, at)
        if item is None or not separated:
            raise InvalidRow(f"{text[:80]!r} looks like a list of strings, but is neither JSON nor Python")
        items.append(None if item[1] is None else _unquote(item[1]))
        separated, at = bool(item[3] or item[4]), item.end()
    return items


def _unquote(quoted: str) -> str:
    try:
        value = ast.literal_eval(quoted.replace("\n", "\\n").replace("\r", "\\r"))
    except (ValueError, SyntaxError) as error:
        raise InvalidRow(f"{quoted[:80]!r} is not a string of Python") from error
    return str(value)


def parse_objects(text: str) -> object:
    """Return a list of objects, written as JSON or by Python; the text itself if it is neither.

    Raises:
        InvalidRow: an object of it repeats a name.
    """
    if not text.startswith("["):
        return text
    try:
        return parse_json(text, unique=True)
    except (ValueError, RecursionError) as error:
        if "repeats the name" in str(error):
            raise InvalidRow(str(error)) from error
    if len(text) > _MAX_LITERAL:
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text
