"""Check a source's tally against what its settings say: a mapped column that no row fills is an error.

A field is mapped if the project file (also by `extends` or `--set`) names its column; a default that the data do not
have is not. `optional_fields` lists the mapped fields that may be absent or empty.
"""

from __future__ import annotations

from trichord.infra.config import CaptionsSource, FieldMap, MediaFolderSource, Source
from trichord.infra.errors import SourceError
from trichord.transforms.collect.naming import guess_meant, show, show_all
from trichord.transforms.collect.tally import CARRIERS, Tally

_SHOWN_KINDS = {"image": "pictures", "audio": "sounds", "segments": "subtitle files", "pictures": "timed pictures"}
FILE_NAME = "file_name"


def named_fields(source: Source) -> frozenset[str]:
    """Return the fields whose column the project file names, without those that are optional; the key is always one."""
    fields = getattr(source, "fields", None)
    if not isinstance(fields, FieldMap):
        return frozenset()
    chosen = fields.model_fields_set if "fields" in source.model_fields_set else frozenset[str]()
    named = {name for name in chosen if getattr(fields, name) is not None}
    return frozenset((named - set(source.optional_fields)) | {"key"})


def check_tally(source: Source, tally: Tally) -> None:
    """Raise if the rows do not hold what the source's settings say.

    A source without rows passes, unless its header or schema lacks a mapped column: rows may all be deleted.

    Raises:
        SourceError: a mapped column is not there or empty in every row, no row can be read, no file that the rows name
            exists, or no row has what `require` demands.
    """
    for check in (_metadata, _columns, _unread, _files, _pairs, _modalities):
        if lines := check(source, tally):
            raise SourceError("\n".join(lines))


def check_files(source: Source, tally: Tally) -> None:
    """Raise if none of the files that rows name exists, or no picture of a `captions` source has a caption.

    Raises:
        SourceError: that is so.
    """
    for check in (_metadata, _files, _pairs):
        if lines := check(source, tally):
            raise SourceError("\n".join(lines))


def _metadata(source: Source, tally: Tally) -> list[str]:
    if not isinstance(source, MediaFolderSource) or not tally.records:
        return []
    if not tally.described:
        meant = guess_meant(FILE_NAME, tally.columns)
        hint = f"; rename {show(meant)}" if meant is not None and meant != FILE_NAME else ""
        return [
            f"source {source.name!r}: no row of its metadata has a {FILE_NAME}; the columns there are: "
            f"{show_all(list(tally.columns))}",
            f"Next: name each row's file in the column {FILE_NAME}{hint}.",
        ]
    if not tally.matched:
        return [
            f"source {source.name!r}: none of the {tally.described:,} files that {FILE_NAME} names in its metadata was "
            f"found; the first: {show(tally.unmatched)}",
            f"Next: correct {FILE_NAME}, which starts at the folder of the metadata file, or `path` of source "
            f"{source.name!r}.",
        ]
    return []


def _columns(source: Source, tally: Tally) -> list[str]:
    named = named_fields(source)
    without_metadata = isinstance(source, MediaFolderSource) and tally.rows > 0
    if not tally.records and not tally.complete:
        if not tally.unread and not without_metadata:
            return []
        named -= {"key"}  # of rows that cannot be read, and of files without metadata, it is not asked
    wanted = [(name, column) for name, column in tally.map if name in named]
    rows = tally.rows if tally.inline else tally.records
    absent = [(name, column) for name, column in wanted if name not in tally.present]
    empty = [(name, column) for name, column in wanted if name in tally.present and rows and tally.is_empty(name)]
    if not absent and not empty:
        return []
    known = list(tally.columns)
    lines = []
    for name, column in absent:
        meant = guess_meant(column, known)
        hint = f"; did you mean `{show(meant)}`?" if meant is not None else ""
        if isinstance(source, MediaFolderSource) and name == "key":
            hint = f"; `key: {FILE_NAME}` names a record by its file"
        lines.append(f"`fields.{name}: {show(column)}`: there is no column {show(column)}{hint}")
    lines += [f"`fields.{name}: {show(column)}`: the column is empty in all {rows:,} rows" for name, column in empty]
    if not known and tally.unread:
        lines.append(f"none of its {tally.unread:,} rows can be read; the first: {tally.example}")
    elif not known and isinstance(source, MediaFolderSource):
        lines.append("no row of a metadata.jsonl or metadata.csv was found")
    first = f"source {source.name!r}: {lines[0]}"
    there = [f"The columns there are: {show_all(known)}"] if known else []
    names = list(dict.fromkeys(name for name, _ in (*absent, *empty)))
    optional = [name for name in names if name != "key"]
    advice = f"Next: correct {' and '.join(f'`fields.{name}`' for name in names)} of source {source.name!r}"
    if optional:
        listed = ", ".join((*source.optional_fields, *optional))
        advice += f", remove what the data do not have, or allow it: `optional_fields: [{listed}]`"
    return [first, *lines[1:], *there, f"{advice}."]


def _unread(source: Source, tally: Tally) -> list[str]:
    if tally.records or not tally.unread:
        return []
    return [
        f"source {source.name!r}: none of its {tally.unread:,} rows can be read; the first: {tally.example}",
        f"Next: correct the file at `path` of source {source.name!r}: it is UTF-8, with a row a line.",
    ]


def _files(source: Source, tally: Tally) -> list[str]:
    for kind, count in tally.files.items():
        if count.lost < count.named or kind in source.optional_fields:
            continue
        fields = getattr(source, "fields", None)
        column = getattr(fields, kind, None) if isinstance(fields, FieldMap) else None
        by = f" that `fields.{kind}: {show(column)}` names" if column else ""
        place = "`media_root`" if hasattr(source, "media_root") else "`path`, or the names in the metadata,"
        return [
            f"source {source.name!r}: none of the {count.named:,} {_SHOWN_KINDS.get(kind, 'files')}{by} was found; the "
            f"first: {show(count.example)}",
            f"Next: correct {place} of source {source.name!r}; if the files are gone for good, remove their rows, or "
            f"allow it: `optional_fields: [{', '.join((*source.optional_fields, kind))}]`.",
        ]
    return []


def _pairs(source: Source, tally: Tally) -> list[str]:
    if not isinstance(source, CaptionsSource) or tally.captioned or not tally.rows:
        return []
    if {"captions", "text", "image"} & set(source.optional_fields):
        return []
    has = f"{tally.modalities['image']:,} pictures without one, {tally.rows - tally.usable:,} rejected rows"
    first = f"; the first: {tally.example}" if tally.example else ""
    return [
        f"source {source.name!r}: no picture has a caption ({has}{first})",
        f"Next: correct `path`, `format` or `media_root` of source {source.name!r}; if the pictures have no captions, "
        "allow it: `optional_fields: [captions]`.",
    ]


def _modalities(source: Source, tally: Tally) -> list[str]:
    """No row at all has what the settings demand of each: they would all be rejected."""
    if not tally.rows:
        return []
    if not tally.inline and not tally.usable and tally.empty:
        known = f"; the columns there are: {show_all(list(tally.columns))}" if tally.columns else ""
        known = known or (f"; the first: {tally.example}" if tally.example else "")
        return [
            f"source {source.name!r}: none of its {tally.rows:,} rows has a text, an image or a sound{known}",
            f"Next: correct {'`fields`' if tally.map else '`path`'} of source {source.name!r}.",
        ]
    missing = [str(name) for name in source.require if tally.lacks(name)]
    if missing and (tally.usable or tally.inline):
        those = " and ".join(missing)
        return [
            f"source {source.name!r}: `require` names {those}, which none of its {tally.rows:,} rows has",
            f"Next: correct {_settings_of(missing, tally)} of source {source.name!r}, or remove {those} from "
            "`require`.",
        ]
    short = tally.usable and not tally.passing
    if tally.inline:
        short = sum(not tally.lacks(name) for name in CARRIERS) < source.require_any
    if short:
        return [
            f"source {source.name!r}: none of its {tally.rows:,} rows has the modalities that `require` "
            f"({', '.join(source.require) or 'none'}) and `require_any` ({source.require_any}) demand",
            f"Next: correct the columns or files of source {source.name!r}, or lower `require_any`.",
        ]
    return []


def _settings_of(modalities: list[str], tally: Tally) -> str:
    if not tally.map:
        return "`path`"
    return " and ".join(f"`fields.{name}`" for name in modalities)
