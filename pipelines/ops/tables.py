"""Tables as sources: which columns mean what in a manifest, Parquet files, a Delta table or an imagefolder."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from trichord.infra.config import DeltaSource, FieldMap, ManifestSource, MediaFolderSource, ParquetSource, Source
from trichord.infra.errors import SourceError
from trichord.infra.lake.storage import Storage
from trichord.pipelines.ops.columns import Fields, guess_fields, modality_of
from trichord.pipelines.ops.listing import Listing
from trichord.pipelines.ops.media_roots import media_root_of
from trichord.pipelines.ops.samples import Rows, delta_rows, manifest_rows, parquet_rows
from trichord.transforms.collect.arrow_rows import medium_of
from trichord.transforms.collect.data_files import PARQUET_ENDINGS, RANGE, TAR_ENDINGS, root_of
from trichord.transforms.collect.field_map import get
from trichord.transforms.collect.mediafolder import FORMATS

TABLE_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A source as the project file should name it, with absolute places, and what the user should know."""

    source: Source
    looked_at: str
    notes: tuple[str, ...] = ()


class NotThisKind(Exception):
    """A file is not what was tried; the message says why."""


def manifest_guess(path: str, storage: Storage) -> Guess:
    """A JSONL, CSV or TSV file. Raises NotThisKind."""
    source = ManifestSource(kind="manifest", name=name_of(path), path=path, delimiter=_delimiter(path))
    try:
        rows, bad = manifest_rows(source, storage)
    except SourceError as error:
        raise NotThisKind(str(error).split("\n")[0].removeprefix(f"{path}: ")) from error
    if not rows:
        shown = f"; the first: {bad[0].detail}" if bad else ""
        raise NotThisKind(f"it has no row that can be read{shown}")
    _require_header(rows, path)
    fields = guess_fields(rows, row_key=False, files=_files_below(posixpath.dirname(path)))
    _require_fields(fields, rows)
    root, notes = _root(fields, rows, posixpath.dirname(path))
    source = source.model_copy(update={"fields": _field_map(fields, rows), "media_root": root})
    if bad:
        notes.append(f"{len(bad)} of the lines looked at are not rows; the first: {bad[0].detail}")
    return Guess(source=source, looked_at=f"{len(rows)} rows", notes=(*fields.notes, *notes))


def _delimiter(path: str) -> str | None:
    """What separates the columns of a table, if not what its ending says: by the first line, as German numbers have
    commas.
    """
    if not path.lower().endswith((".csv", ".tsv")):
        return None
    with open(path, "rb") as file:
        head = file.readline(1 << 16)
    usual = b"," if path.lower().endswith(".csv") else b"\t"
    return None if usual in head else next((sign for sign in ";\t|," if sign.encode() in head), None)


def _require_header(rows: Rows, path: str) -> None:
    names = list(rows[0])
    if path.lower().endswith((".csv", ".tsv")) and any(modality_of(name) or "://" in name for name in names):
        raise NotThisKind(
            f"its first line seems to be a row ({', '.join(names)[:100]}): begin it with the column names"
        )


def parquet_guess(path: str, storage: Storage) -> Guess:
    """A Parquet file, or a folder of them. Raises NotThisKind, or SourceError where one is damaged."""
    source = ParquetSource(kind="parquet", name=name_of(path), path=path)
    rows, first = parquet_rows(source, storage)
    folder = root_of(path, PARQUET_ENDINGS)
    fields = guess_fields(rows, row_key=True, files=_files_below(folder))
    _require_fields(fields, rows)
    root, notes = _root(fields, rows, folder)
    source = source.model_copy(update={"fields": _field_map(fields, rows), "media_root": root})
    looked_at = f"{len(rows)} rows of {posixpath.basename(first)}"
    return Guess(source=source, looked_at=looked_at, notes=(*fields.notes, *notes))


def delta_guess(path: str, storage: Storage) -> Guess:
    """A Delta table. Raises NotThisKind, or SourceError where it cannot be read."""
    source = DeltaSource(kind="delta", name=name_of(path), path=path)
    rows = delta_rows(source, storage)
    fields = guess_fields(rows, row_key=True, files=_files_below(path))
    _require_fields(fields, rows)
    root, notes = _root(fields, rows, path)
    source = source.model_copy(update={"fields": _field_map(fields, rows), "media_root": root})
    return Guess(source=source, looked_at=f"{len(rows)} rows of the table", notes=(*fields.notes, *notes))


def media_folder_guess(listing: Listing, storage: Storage, table: str) -> Guess:
    """An imagefolder or audiofolder by one of its metadata files. Raises NotThisKind where it is another table."""
    kind: Literal["imagefolder", "audiofolder"] = (
        "imagefolder" if len(listing.of("image")) >= len(listing.of("audio")) else "audiofolder"
    )
    path = os.path.join(listing.folder, table)
    manifest = ManifestSource(kind="manifest", name="metadata", path=path, format=FORMATS[posixpath.basename(table)])
    rows, _ = manifest_rows(manifest, storage)
    if not rows or "file_name" not in rows[0]:
        raise NotThisKind(f"{table} has no column file_name")
    own: Literal["image", "audio"] = "image" if kind == "imagefolder" else "audio"
    others = [{name: value for name, value in row.items() if name != "file_name"} for row in rows]
    fields = guess_fields(others, row_key=False, own_key="file_name")
    map_ = {**fields.map, own: None}
    found = Fields(map=map_, notes=fields.notes)
    source = MediaFolderSource(
        kind=kind, name=name_of(listing.folder), path=listing.folder, fields=_field_map(found, others)
    )
    return Guess(source=source, looked_at=f"{listing.told()}; {len(rows)} rows of {table}", notes=fields.notes)


def _require_fields(fields: Fields, rows: Rows) -> None:
    names = ", ".join(list(rows[0])[:20]) if rows else ""
    looked = f"{len(rows)} rows with the columns {names}" if rows else "a table without rows"
    if not any(fields.map.get(meaning) for meaning in ("text", "image", "audio", "captions")):
        raise NotThisKind(f"no column holds texts, pictures or sounds ({looked}). Write `fields` by hand")
    if "key" not in fields.map:
        raise NotThisKind(f"no column names the rows ({looked}). Add one that differs in every row, such as `id`")


def _field_map(fields: Fields, rows: Rows) -> FieldMap:
    """The map, where a field that was not found is null if a column of its usual name would be taken for it."""
    columns = {name for row in rows[:100] for name in row}
    usual = {meaning: field.default for meaning, field in FieldMap.model_fields.items()}
    chosen = {
        meaning: name if name is not None or usual[meaning] in columns else usual[meaning]
        for meaning, name in fields.map.items()
    }
    return FieldMap.model_validate(chosen)


def _root(fields: Fields, rows: Rows, default: str) -> tuple[str | None, list[str]]:
    """The media root where it is not the usual one, and what is not below it."""
    paths = list(_paths(fields, rows))
    root = media_root_of(paths, default)
    notes = []
    if root.found < root.tried:
        notes.append(f"of {root.tried} media files that were tried {root.found} are there, below {root.folder}")
    return (None if root.folder == default else root.folder), notes


def _files_below(folder: str) -> Callable[[Sequence[str]], int]:
    return lambda paths: media_root_of(paths, folder).found


def _paths(fields: Fields, rows: Rows) -> Iterator[str]:
    for row in rows:
        for meaning in ("image", "audio"):
            value = get(row, fields.map.get(meaning))
            if isinstance(value, str) and value:
                yield value
            elif isinstance(value, dict) and medium_of(value)[0] is None and medium_of(value)[1]:
                yield medium_of(value)[1]


def name_of(path: str) -> str:
    """A name for the source: the file's or folder's, in letters that a name may have."""
    stem = posixpath.basename(path.rstrip("/"))
    for ending in (*TAR_ENDINGS, *PARQUET_ENDINGS, *TABLE_ENDINGS, ".txt", ".token"):
        stem = stem[: -len(ending)] if stem.lower().endswith(ending) else stem
    return _NAME.sub("-", RANGE.sub("", stem)).strip("-_.") or "data"
