"""Recognise captions files of COCO and Flickr, and the pictures they name, without reading the whole file."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Literal

_HEAD_BYTES = 4 << 20
_LINES = 2_000
_PICTURES = 200
_TOKEN = re.compile(r"([^\t]+)#\d{1,9}\t.*")
_FILE_NAME = re.compile(r'"file_?name"\s*:\s*"((?:[^"\\]|\\.)*)"')
_COCO_LISTS = re.compile(r'"(images|annotations)"\s*:\s*\[')
_KARPATHY = re.compile(r'"sentences"\s*:\s*\[\s*\{[^{}]*"raw"\s*:')
_IMAGE = ("image", "image_name", "filename", "file_name")
_CAPTION = ("caption", "comment", "caption_text")
_NUMBER = ("comment_number", "caption_number")


def captions_kind(path: str) -> Literal["coco", "flickr"] | None:
    """The kind of captions file, or None: then it may still be a table of records."""
    head = _head(path)
    if head.lstrip().startswith(("{", "[")):
        return "coco" if _is_coco(head) else None
    lines = _lines(head)
    if lines and _TOKEN.fullmatch(lines[0]):
        return "flickr"
    names = _table_pictures(lines)
    if not names:
        return None
    readable_as_table = "|" not in lines[0] and path.lower().endswith((".csv", ".tsv"))
    return None if readable_as_table and len(set(names)) == len(names) else "flickr"


def _is_coco(head: str) -> bool:
    """Return True if JSON begins as one object with the lists `images` and `annotations`, or as Karpathy's."""
    first, _, rest = head.lstrip().partition("\n")
    if rest.strip():
        try:
            json.loads(first)
        except (ValueError, RecursionError):
            pass
        else:
            return False  # JSON Lines
    found = set(_COCO_LISTS.findall(head))
    if _KARPATHY.search(head) and "images" in found:
        return True
    return len(found) == 2 or (len(found) == 1 and len(head) >= _HEAD_BYTES // 4)  # a character has up to 4 bytes


def captions_paths(path: str, kind: Literal["coco", "flickr"]) -> Iterator[str]:
    """Some of the pictures that a captions file names."""
    head = _head(path)
    if kind == "coco":
        yield from islice((found[1].replace("\\/", "/") for found in _FILE_NAME.finditer(head)), _PICTURES)
        return
    lines = _lines(head)
    tokens = [found[1] for line in lines if (found := _TOKEN.fullmatch(line))]
    yield from dict.fromkeys(tokens or _table_pictures(lines))


def _lines(head: str) -> list[str]:
    """The first lines, which end at line feeds alone: captions hold other separators of Unicode."""
    return [line.removesuffix("\r") for line in head.split("\n", _LINES)[:_LINES]]


def _head(path: str) -> str:
    with open(path, "rb") as file:
        return file.read(_HEAD_BYTES).decode("utf-8-sig", "replace")


def _table_pictures(lines: list[str]) -> list[str]:
    """The pictures of a table of image, caption and perhaps a number; empty where it has other columns."""
    head = lines[0].lower() if lines else ""
    delimiter = "|" if "|" in head else ","
    names = [name.strip().strip('"') for name in head.split(delimiter)]
    image = next((name for name in names if name in _IMAGE), None)
    if image is None or not set(names) & set(_CAPTION) or set(names) - {*_IMAGE, *_CAPTION, *_NUMBER}:
        return []
    position = names.index(image)
    rows = csv.reader(
        [f"{line}\n" for line in lines[1:]],
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if delimiter == "|" else csv.QUOTE_MINIMAL,
    )
    try:
        return [row[position].strip() for row in rows if len(row) > position]
    except csv.Error:  # a cell beyond the limit: not such a file
        return []
