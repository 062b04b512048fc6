"""Flickr8k's and Flickr30k's captions files: lines `img.jpg#0<TAB>caption`, or a table of image and caption.

Only a line feed ends a line: captions hold other separators of Unicode.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import count
from typing import TypeAlias

from trichord.infra.config import CaptionsSource
from trichord.infra.errors import SourceError
from trichord.infra.lake.storage import LineTooLong
from trichord.transforms.collect.drafts import Draft
from trichord.transforms.collect.field_map import bad_row
from trichord.transforms.collect.naming import show
from trichord.transforms.collect.table_rows import TableRow, table_rows
from trichord.transforms.text_bytes import decode_text, explain_undecodable, wide_encoding

CaptionRow: TypeAlias = tuple[str, int, str]  # picture, number, caption
_TOKEN = re.compile(r"(?P<file>[^\t]+)#(?P<number>\d{1,9})\t(?P<caption>.*)", re.DOTALL)
_MEANINGS = {
    "image": ("image", "image_name", "filename", "file_name"),
    "caption": ("caption", "comment", "caption_text"),
    "number": ("comment_number", "caption_number"),
}


def caption_rows(data: bytes, source: CaptionsSource) -> Iterator[Draft | CaptionRow]:
    """Yield the pictures of a captions file with the number and text of each caption; bad rows as drafts.

    Raises:
        SourceError: it has another format, or is not text.
    """
    try:
        data = decode_text(data).encode() if wide_encoding(data) is not None else data.removeprefix(b"\xef\xbb\xbf")
    except ValueError as error:
        raise SourceError(f"{source.path}: {error}. Fix `path` of source {source.name!r}") from error
    lines = [line.removesuffix(b"\r") for line in data.removesuffix(b"\n").split(b"\n")]
    del data
    if b"\r" in lines[0]:
        raise SourceError(f"{source.path}: its lines end with CR alone, as on an old Mac. Save it with LF")
    head = lines[0].decode(errors="replace")
    if _TOKEN.fullmatch(head):
        yield from map(_token, filter(bytes.strip, lines))
    else:
        yield from _table(lines, head.lower(), source)


def _token(line: bytes) -> Draft | CaptionRow:
    try:
        match = _TOKEN.fullmatch(line.decode())
    except UnicodeDecodeError as error:
        return bad_row(line.decode(errors="replace"), explain_undecodable(line, error))
    caption = match["caption"].strip() if match else ""
    if match is None or not caption:
        return bad_row(line.decode(), "not a line img.jpg#0<TAB>caption")
    return match["file"], int(match["number"]), caption


def _table(lines: Sequence[bytes], head: str, source: CaptionsSource) -> Iterator[Draft | CaptionRow]:
    """Read `image,caption` or `image| comment_number| comment` under such a header."""
    delimiter = next((one for one in "|\t;" if one in head), ",")
    names = [name.strip().strip('"') for name in head.split(delimiter)]
    places = {
        meaning: [place for place, name in enumerate(names) if name in known] for meaning, known in _MEANINGS.items()
    }
    if not places["image"] or not places["caption"]:
        raise SourceError(
            f"{source.path} has neither lines `img.jpg#0<TAB>caption` nor a table of image and caption (it begins "
            f"{head[:100]!r}). Fix `path` or `format` of source {source.name!r}"
        )
    for meaning, found in places.items():
        if len(found) > 1:
            several = " and ".join(show(names[place]) for place in found)
            raise SourceError(f"{source.path}: its header has several columns of the {meaning}: {several}. Rename one")
    rows = _unquoted(lines[1:]) if delimiter == "|" else table_rows(iter(list(enumerate(lines))[1:]), delimiter)
    for number, row in zip(count(1), rows):
        if isinstance(row.cells, csv.Error):
            yield from row.rejects(f"not CSV: {row.cells}")
        elif fault := row.fault():
            yield from row.rejects(fault)
        elif len(row.cells) != len(names):
            yield from row.rejects(f"{len(row.cells)} cells under {len(names)} columns")
        else:
            yield _caption(row.cells, {meaning: found[0] for meaning, found in places.items() if found}, number, row)


def _unquoted(lines: Sequence[bytes]) -> Iterator[TableRow]:
    """Yield the rows of Flickr30k's table, whose captions hold quotes as they are."""
    for number, line in enumerate(lines):
        if line.strip():
            held: list[bytes | LineTooLong] = [line]
            yield TableRow(number, held, line.decode(errors="surrogateescape").split("|"))


def _caption(cells: Sequence[str], places: dict[str, int], row_number: int, row: TableRow) -> Draft | CaptionRow:
    name, caption = (cells[places[meaning]].strip() for meaning in ("image", "caption"))
    number = cells[places["number"]].strip() if "number" in places else str(row_number)
    if not name or not caption or not (number.isascii() and number.isdecimal() and len(number) < 10):
        return bad_row(row.text(), "a row without image, caption or number")
    return name, int(number), caption
