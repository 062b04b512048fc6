"""The rows of a CSV or TSV file in bounded memory, each with the lines that it was read from."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeAlias

from trichord.infra.config import ManifestSource
from trichord.infra.errors import SourceError
from trichord.infra.lake.storage import MAX_LINE_BYTES, LineTooLong
from trichord.transforms.collect.drafts import Draft
from trichord.transforms.collect.field_map import bad_row
from trichord.transforms.collect.naming import show
from trichord.transforms.text_bytes import explain_undecodable, wide_encoding

MAX_CELL_CHARS = 1 << 20
MAX_ROW_BYTES = 2 * MAX_LINE_BYTES
DELIMITERS = {"csv": ",", "tsv": "\t"}
_SEPARATOR_LINE = re.compile(rb'(?:\xef\xbb\xbf)?"?sep=([^"])"?', re.IGNORECASE)  # Excel's, with the separator
_SHOWN_CHARS = 80

Lines: TypeAlias = Iterator[tuple[int, bytes | LineTooLong]]  # with the byte at which each begins


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row: the byte where it begins, its lines, and its cells or why it has none."""

    start: int
    lines: list[bytes | LineTooLong]
    cells: list[str] | csv.Error

    def text(self) -> str:
        """Return the lines as they are written."""
        return "\n".join(map(_text_of, self.lines))

    def rejects(self, why: str) -> Iterator[Draft]:
        """Yield a reject for each line: an open quote may have joined rows that are none of its cell."""
        first, at = _text_of(self.lines[0])[:_SHOWN_CHARS], self.start
        for number, line in enumerate(self.lines):
            if number:
                before = "1 line" if number == 1 else f"{number} lines"
                detail = f"swallowed by a cell that begins {before} before, at a quote in {first!r}; {why}"
            elif len(self.lines) > 1:
                joined = "the next line" if len(self.lines) == 2 else f"the next {len(self.lines) - 1} lines"
                detail = f"{why}; a quote that it opens joins it to {joined}"
            else:
                detail = why
            yield replace(bad_row(_text_of(line), _fault_of(line) or detail), at=at)
            at += line.size + 1 if isinstance(line, LineTooLong) else len(line) + 1

    def fault(self) -> str:
        """Return why the row cannot be one whatever its columns: it is not UTF-8, or too long; '' if it can."""
        return next(filter(None, map(_fault_of, self.lines)), "")


def _fault_of(line: bytes | LineTooLong) -> str:
    if isinstance(line, LineTooLong):
        return f"too long: {line.size} bytes"
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return explain_undecodable(line, error)
    return ""


def _text_of(line: bytes | LineTooLong) -> str:
    return f"a line of {line.size} bytes" if isinstance(line, LineTooLong) else line.decode(errors="replace")


class _Feed:
    """Gives the reader its lines, and keeps those of the row under way."""

    def __init__(self, lines: Lines) -> None:
        self._lines, self._size = lines, 0
        self.start, self.held = -1, list[bytes | LineTooLong]()

    def begin(self) -> None:
        """Begin a row."""
        self.start, self._size, self.held = -1, 0, []

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if self._size > MAX_ROW_BYTES:
            raise csv.Error(f"a row of more than {MAX_ROW_BYTES} bytes")
        offset, line = next(self._lines)
        self.start = offset if self.start < 0 else self.start
        self.held.append(line)
        if isinstance(line, LineTooLong):
            return "\udfff\n"
        self._size += len(line) + 1
        return line.decode(errors="surrogateescape") + "\n"


def table_rows(lines: Lines, delimiter: str) -> Iterator[TableRow]:
    """Yield the rows; blank lines do not count."""
    csv.field_size_limit(MAX_CELL_CHARS)
    feed = _Feed(lines)
    reader = csv.reader(feed, strict=True, delimiter=delimiter)
    while True:
        feed.begin()
        try:
            cells: list[str] | csv.Error | None = next(reader, None)
        except csv.Error as error:
            cells = error
        if cells is None:
            return
        if cells:
            yield TableRow(feed.start, feed.held, cells)


def open_table(lines: Lines, source: ManifestSource, kind: str) -> tuple[Lines, str]:
    """Return the lines of a whole table from its header on, and its delimiter.

    Raises:
        SourceError: it is not UTF-8 text with lines.
    """
    delimiter = source.delimiter or DELIMITERS[kind]
    first = next(lines, None)
    if first is None:
        return lines, delimiter
    check_first_line(first[1], source)
    if isinstance(first[1], LineTooLong):
        raise SourceError(f"{source.path}: its header has {first[1].size} bytes. Fix `path` of source {source.name!r}")
    found = _SEPARATOR_LINE.fullmatch(first[1])
    if found is not None:
        return lines, source.delimiter or found[1].decode("latin-1")
    return chain([first], lines), delimiter


def check_first_line(line: bytes | LineTooLong, source: ManifestSource) -> None:
    """Raise SourceError if the first line of a file shows that it is not UTF-8, or that its lines end with CR alone."""
    if isinstance(line, LineTooLong):
        return
    wide = wide_encoding(line)
    if wide is not None:
        raise SourceError(
            f"{source.path}: the file is {wide}, not UTF-8.\n"
            f"Next: `iconv -f {wide} -t UTF-8 FILE > NEW_FILE`, and fix `path` of source {source.name!r}."
        )
    if b"\r" in line.rstrip(b"\r"):
        raise SourceError(
            f"{source.path}: its lines end with CR alone, as on an old Mac.\n"
            f"Next: `tr '\\r' '\\n' < FILE > NEW_FILE`, and fix `path` of source {source.name!r}."
        )


def header_of(row: TableRow, cells: list[str], source: ManifestSource, delimiter: str) -> tuple[str, ...]:
    """Return the names of the columns, which are the cells of a row.

    Raises:
        SourceError: they cannot be read, one is repeated, or another delimiter separates them.
    """
    if fault := row.fault():
        raise SourceError(f"{source.path}: its header cannot be read: {fault}. Save the file as UTF-8")
    header = tuple(name.strip() for name in (cells[0].removeprefix("\ufeff"), *cells[1:]))
    if len(set(header)) < len(header):
        repeated = next(name for name in header if header.count(name) > 1)
        raise SourceError(
            f"{source.path}: the header repeats a name: {show(repeated)} ({', '.join(header)[:200]}). Rename the column"
        )
    other = next((one for one in ";\t|," if one in header[0] and one != delimiter), None)
    if len(header) == 1 and other is not None:
        written = "\\t" if other == "\t" else other
        raise SourceError(
            f"{source.path}: its header is one column, {show(header[0])}: its columns are separated by {written!r}, "
            f'not by {delimiter!r}.\nNext: set `delimiter: "{written}"` of source {source.name!r} (kind: manifest), or '
            f"write the table with {delimiter!r}."
        )
    return header
