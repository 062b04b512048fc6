"""What kind of source a file or folder is, and how its fields map: the guess behind `trichord init PATH`."""

from __future__ import annotations

import os
import posixpath
from typing import Literal

from trichord.infra.config import CaptionsSource, FolderSource, MediaFolderSource, Source, WebDatasetSource
from trichord.infra.errors import ConfigError, SourceError
from trichord.infra.lake.storage import Storage
from trichord.pipelines.ops.captions_file import captions_kind, captions_paths
from trichord.pipelines.ops.listing import Listing, listing_of, parquet_of, tars_of
from trichord.pipelines.ops.media_roots import media_root_of
from trichord.pipelines.ops.tables import (
    TABLE_ENDINGS,
    Guess,
    NotThisKind,
    delta_guess,
    manifest_guess,
    media_folder_guess,
    name_of,
    parquet_guess,
)
from trichord.transforms.bounded_text import normal_form
from trichord.transforms.collect.data_files import PARQUET_ENDINGS, RANGE, TAR_ENDINGS
from trichord.transforms.collect.file_marks import are_marks
from trichord.transforms.collect.mediafolder import FORMATS, places

_TEXTS = (".txt", ".token", "")  # a Flickr captions file may be
_MAX_TABLES = 8  # of a folder that are looked into


def detect(path: str, storage: Storage) -> Guess:
    """Look at a file or folder and guess the source it is. Looks at a bounded number of files, rows and bytes.

    Args:
        path: absolute and local.

    Raises:
        ConfigError: nothing can be guessed; the message says what was looked at and what to write by hand.
        SourceError: a data file is damaged.
    """
    try:
        if RANGE.search(path) and path.lower().endswith(TAR_ENDINGS):
            return _plain(WebDatasetSource(kind="webdataset", name=name_of(path), path=path), "a pattern of tars")
        if os.path.isdir(path):
            return _folder(path, storage)
        if os.path.isfile(path):
            return _file(path, storage)
    except NotThisKind as error:
        raise _unknown(path, str(error)) from error
    except (OSError, UnicodeEncodeError) as error:
        raise _unknown(path, f"it cannot be read ({error})") from error
    raise _unknown(path, "there is no such file or folder; `--out FILE` says where the project file goes")


def _unknown(path: str, why: str) -> ConfigError:
    return ConfigError(
        f"Cannot guess how to read {path}: {why}.\n"
        "Next: name a CSV, TSV, JSONL or Parquet file, a folder, a tar, a captions file or a Delta table; or write "
        "`sources` by hand: `trichord init` writes a file to start from, `trichord init --full` one with all settings."
    )


def _file(path: str, storage: Storage) -> Guess:
    lower = path.lower()
    ending = posixpath.splitext(lower)[1]
    if lower.endswith(TAR_ENDINGS):
        return _plain(WebDatasetSource(kind="webdataset", name=name_of(path), path=path), "a tar")
    if lower.endswith(PARQUET_ENDINGS):
        return parquet_guess(path, storage)
    if ending in TABLE_ENDINGS or ending in _TEXTS:
        kind = captions_kind(path)
        if kind is not None:
            return _captions(path, kind)
    if ending in TABLE_ENDINGS:
        return manifest_guess(path, storage)
    raise NotThisKind(f"{ending or 'a name without an ending'} is not a format that is read")


def _folder(path: str, storage: Storage) -> Guess:
    if os.path.isdir(os.path.join(path, "_delta_log")):
        return delta_guess(path, storage)
    listing = listing_of(path)
    media_tables = [name for name in FORMATS if os.path.isfile(os.path.join(path, name))]
    media_tables += [found for found in listing.paths if posixpath.basename(found) in FORMATS and "/" in found]
    for table in media_tables:
        if listing.of("image") or listing.of("audio"):
            try:
                return media_folder_guess(listing, storage, table)
            except NotThisKind:  # a table of another kind that has the name
                continue
    if parquet_of(listing):
        return parquet_guess(path, storage)
    found, tried = _tables_of(listing, storage)
    if len(found) > 1:
        names = ", ".join(sorted(posixpath.relpath(guess.source.path, path) for guess in found)[:5])
        raise NotThisKind(f"several of its files may be the table of records ({names}). Name one of them")
    if found:
        return found[0]
    if tars_of(listing):
        source = WebDatasetSource(kind="webdataset", name=name_of(path), path=path)
        return _plain(source, f"{len(tars_of(listing))} tars")
    if (labelled := _labelled(listing)) is not None:
        return _plain(MediaFolderSource(kind=labelled, name=name_of(path), path=path), listing.told())
    return _loose(listing, tried)


def _plain(source: Source, looked_at: str) -> Guess:
    return Guess(source=source, looked_at=looked_at)


def _tables_of(listing: Listing, storage: Storage) -> tuple[list[Guess], list[str]]:
    """The files of a folder that are tables of records, with their media in it; and why others are not."""
    stems = listing.stems()
    candidates = [
        path
        for path in listing.ending_with((*TABLE_ENDINGS, ".token", ".txt"))
        if path.count("/") <= 1 and not stems.get(normal_form("NFC", posixpath.splitext(path)[0]), set()) - {"text"}
    ]
    texts = [path for path in candidates if path.lower().endswith(".txt")]
    candidates = [path for path in candidates if path not in texts or len(texts) <= _MAX_TABLES]
    found, tried = [], []
    for path in sorted(candidates, key=lambda path: (path.count("/"), path))[: 2 * _MAX_TABLES]:
        try:
            found.append(_file(os.path.join(listing.folder, path), storage))
        except (NotThisKind, SourceError) as error:
            tried.append(f"{path}: {error}")
    captions = [guess for guess in found if isinstance(guess.source, CaptionsSource)]
    return (captions if len(captions) == 1 else found), tried


def _labelled(listing: Listing) -> Literal["imagefolder", "audiofolder"] | None:
    """Return the kind of source if all media have one modality and lie in folders named by class or subset."""
    for modality, kind in (("image", "imagefolder"), ("audio", "audiofolder")):
        media = listing.of(modality)
        if media and not any(listing.of(other) for other in ("text", "image", "audio") if other != modality):
            marked = are_marks(media)
            labels = {places(path, marked=marked) for path in media}
            named = all("/" in path for path in media)
            if named and (len({label for _, label in labels}) > 1 or all(subset for subset, _ in labels)):
                return "imagefolder" if kind == "imagefolder" else "audiofolder"
    return None


def _loose(listing: Listing, tried: list[str]) -> Guess:
    stems = listing.stems()
    if not stems:
        told = f"; {'; '.join(tried[:3])}" if tried else ""
        raise NotThisKind(f"it holds no text, image or audio file, and no table ({listing.told()}{told})")
    joined = sum(len(found) > 1 for found in stems.values())
    notes = [f"{joined} of {len(stems)} records have more than one file (a.txt, a.jpg and a.wav are one record)"]
    notes += [f"not read as a table of records: {reason.splitlines()[0]}" for reason in tried[:3]]
    source = FolderSource(kind="folder", name=name_of(listing.folder), path=listing.folder)
    return Guess(source=source, looked_at=listing.told(), notes=tuple(notes))


def _captions(path: str, kind: Literal["coco", "flickr"]) -> Guess:
    root = media_root_of(list(captions_paths(path, kind)), posixpath.dirname(path))
    source = CaptionsSource(
        kind="captions",
        name=name_of(path),
        path=path,
        format="auto" if (kind == "coco") == path.lower().endswith(".json") else kind,
        media_root=None if root.folder == posixpath.dirname(path) else root.folder,
    )
    missing = [f"of {root.tried} pictures that were tried {root.found} are there"] if root.found < root.tried else []
    return Guess(source=source, looked_at=f"{kind.capitalize()} captions", notes=tuple(missing))
