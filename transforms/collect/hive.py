"""Columns in the names of a data file's folders (`split=test/lang=de/part-0.parquet`), as Hive writes them.

https://cwiki.apache.org/confluence/display/Hive/LanguageManual+DDL (partitioned tables). As Spark and pyarrow read
them, values are percent-encoded, and a column has integers if all its values are integers without leading zeros.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from trichord.infra.errors import SourceError
from trichord.transforms.collect.arrow_rows import Record, Unreadable
from trichord.transforms.collect.naming import show

_NULL = "__HIVE_DEFAULT_PARTITION__"
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")


def folder_columns(paths: Iterable[str]) -> dict[str, dict[str, object]]:
    """Return the columns of each data file that its folders name, with their one value.

    Args:
        paths: of all data files of a source, below its folder.

    Raises:
        SourceError: the folders of a file name a column twice.
    """
    found: dict[str, dict[str, str | None]] = {}
    for path in paths:
        columns = found.setdefault(path, {})
        for folder in path.split("/")[:-1]:
            name, equals, value = folder.partition("=")
            name = unquote(name)
            if not equals or not name:
                continue
            if name in columns:
                raise SourceError(f"{path}: its folders name the column {show(name)} twice. Rename one of them")
            columns[name] = None if value == _NULL else unquote(value)
    texts = {
        name
        for columns in found.values()
        for name, value in columns.items()
        if value is not None and not _INTEGER.fullmatch(value)
    }
    return {
        path: {name: value if value is None or name in texts else int(value) for name, value in columns.items()}
        for path, columns in found.items()
    }


def with_constants(record: Record, constants: Mapping[str, object]) -> Record:
    """Return a record with the columns that its file's place says; a cell that contradicts one is `Unreadable`."""
    whole = record | dict(constants)
    for name in record.keys() & constants.keys():
        there, place = record[name], constants[name]
        if there is not None and (place is None or _is_same(there, place)):
            whole[name] = there
        elif there is not None:
            whole[name] = Unreadable(f"{str(there)[:80]!r} in the file, {str(place)[:80]!r} in its folder's name")
    return whole


def _is_same(there: object, place: object) -> bool:
    if isinstance(there, bool):
        return str(there).lower() == str(place).lower()
    if isinstance(there, int) and isinstance(place, str) and place.isdecimal() and len(place) < 20:
        return there == int(place)
    return str(there) == str(place)
