"""Lists that a cell holds as text: JSON, Python's (pandas' `to_csv` writes them so) and numpy's, without commas."""

from __future__ import annotations

import ast
import re

from trichord.infra.json_values import parse_json
from trichord.transforms.collect.drafts import InvalidRow

_STRING = r"'(?:[^'\\]|\\.)*+'" + r'|"(?:[^"\\]|\\.)*+"'
_ITEM = re.compile(rf"\s*+(?:[uU]?({_STRING})|(None|nan|NaN|null)(?![\w.]))(\s*+)(,?)", re.DOTALL)
_NONE = r"(?:None|nan|NaN|null)\s*+[,\]]"
_BEGINS = re.compile(rf"""\[\s*+(?:\[\s*+)?(?:[uUbB]?['"]|{_NONE})|array\(\[['"]|\(['"]|\{{['"]""")
_ENDS = re.compile(r"""(?:['"]|None|nan|NaN|null)\s*+,?\s*+\]?\s*+[\])}](?:,\s*+dtype=[^()]{1,20}\))?""")
_END_CHARS = 100  # from the end that are looked at
_MAX_LITERAL = 256 << 10  # characters: Python needs about 100 times as many bytes to parse it


def parse_strings(text: str) -> list[object] | None:
    """Return the strings (None: no value) of a list; None if the text is not a list, such as `[music] plays`.

    Raises:
        InvalidRow: it looks like a list of strings, but cannot be read as one.
    """
    stripped = text.strip() if text[:1] in "[({a" else ""
    if stripped == "[]":
        return []
    if not _BEGINS.match(stripped) or not any(
        found.end() == len(stripped) for found in _ENDS.finditer(stripped, max(0, len(stripped) - _END_CHARS))
    ):
        return None
    try:
        value = parse_json(stripped, allow_nan=False, unique=True)
    except (ValueError, RecursionError):
        value = _python_strings(stripped)
    if isinstance(value, list):
        return value
    if value is None and stripped[0] in "[a":
        raise InvalidRow(f"{text[:80]!r} looks like a list of strings, but is neither JSON nor Python")
    return None


def _python_strings(text: str) -> list[object] | None:
    """Return the items of a list, a tuple or a set; None if it is something else, such as words in brackets."""
    inner, items, at, separated = text[1:-1].rstrip(), list[object](), 0, True
    if text[0] == "(" and "," not in inner:
        return None
    while at < len(inner):
        item = _ITEM.match(inner, at)
        if item is None or not separated:
            return None
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
