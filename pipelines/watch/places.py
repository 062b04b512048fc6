"""Which rows of which sources an event is about: the little of a source that must be looked at again.

An event is trusted for nothing but this. A place that is below no source of the project is of no interest, whoever
names it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from trichord.infra.config import (
    CaptionsSource,
    DeltaSource,
    FolderSource,
    InventorySource,
    ParquetSource,
    Project,
    Source,
    WebDatasetSource,
)
from trichord.infra.events.event import Event
from trichord.infra.printable import MAX_NAME_CHARS
from trichord.transforms.collect import media_root
from trichord.transforms.collect.data_files import PARQUET_ENDINGS, TAR_ENDINGS, root_of
from trichord.transforms.collect.folder import MODALITY_OF_ENDING

_LOG = "_delta_log/"


@dataclass(frozen=True, slots=True)
class Look:
    """Rows of a source: one by its key (or data file), those whose key begins with a prefix, or all."""

    source: str
    kind: Literal["key", "prefix", "whole"] = "whole"
    place: str = ""


class Places:
    """The places of a project's sources."""

    def __init__(self, project: Project) -> None:
        self._sources = {source.name: source for source in project.sources}
        self._lake = project.lake

    def is_known(self, event: Event) -> bool:
        """Return True if an event is about a place of a source, whether or not a row can change by it."""
        return next(self._found(event), None) is not None

    def looks(self, event: Event) -> set[Look]:
        """Return what must be looked at; nothing if no row can change by the event."""
        return {look for found in self._found(event) for look in found}

    def _found(self, event: Event) -> Iterator[tuple[Look, ...]]:
        """Yield for each source that has the place what must be looked at."""
        if event.source:
            source = self._sources.get(event.source)
            if source is not None:
                yield _by_path(source, event.path)
            return
        if _below(event.uri, self._lake) is not None:  # also where a source's root holds the lake
            return
        for source in self._sources.values():
            found = _by_uri(source, event.uri)
            if found is not None:
                yield found


def _by_path(source: Source, path: str) -> tuple[Look, ...]:
    if not path:
        return (Look(source.name),)
    root = media_root(source).uri.rstrip("/")
    if isinstance(source, ParquetSource):
        root = root_of(source.path, PARQUET_ENDINGS)
    elif isinstance(source, DeltaSource):
        root = source.path
    return _by_uri(source, f"{root.rstrip('/')}/{path}") or ()


def _by_uri(source: Source, uri: str) -> tuple[Look, ...] | None:
    """Return what an object's change means for a source; None if it is none of the source's."""
    whole = (Look(source.name),)
    if uri == source.path or uri.rstrip("/") == source.path.rstrip("/"):
        if isinstance(source, ParquetSource | WebDatasetSource):
            return _of_data_file(source, uri) or whole
        return whole
    match source:
        case FolderSource():
            below = _below(uri, source.path)
            return None if below is None else _of_loose_file(source, below)
        case ParquetSource() | WebDatasetSource():
            found = _of_data_file(source, uri)
            media = None if isinstance(source, WebDatasetSource) or source.media_root is None else source.media_root
            beside = _below(uri, media or _data_root(source))
            if found is not None or beside is None:
                return found
            return whole if isinstance(source, ParquetSource) else ()
        case DeltaSource():
            below = _below(uri, source.path)
            if below is not None and below.startswith(_LOG):
                return whole if below.endswith((".json", "/")) else ()
            if source.media_root is not None and _below(uri, source.media_root) is not None:
                return whole
            return None if below is None else ()  # data files count when the log names them
        case InventorySource():
            below = _below(uri, source.path)
            if below is not None:
                return whole if below.endswith("manifest.json") else ()
            return None if _below(uri, source.media_root) is None else ()  # the next inventory lists it
        case CaptionsSource() if uri in source.splits.values():
            return whole
    return None if _below(uri, media_root(source).uri) is None else whole


def _of_loose_file(source: Source, below: str) -> tuple[Look, ...]:
    if any(part.startswith(".") for part in below.split("/")):
        return ()
    if below.endswith("/"):
        return (Look(source.name, "prefix", below),)
    stem, ending = posixpath.splitext(below)
    if ending.lower() not in MODALITY_OF_ENDING:
        return ()
    if "\\" in stem or len(stem) >= MAX_NAME_CHARS:  # the key is written otherwise than the name
        return (Look(source.name),)
    return (Look(source.name, "key", stem),)


def _of_data_file(source: ParquetSource | WebDatasetSource, uri: str) -> tuple[Look, ...] | None:
    """Return the look at a data file; None if the object is none."""
    below = _below(uri, _data_root(source))
    if below is None:
        return None
    if below.endswith("/"):
        return (Look(source.name, "prefix", below),)
    endings = PARQUET_ENDINGS if isinstance(source, ParquetSource) else TAR_ENDINGS
    hidden = any(part.startswith((".", "_")) for part in below.split("/"))
    return None if hidden or not below.lower().endswith(endings) else (Look(source.name, "key", below),)


def _data_root(source: ParquetSource | WebDatasetSource) -> str:
    return root_of(source.path, PARQUET_ENDINGS if isinstance(source, ParquetSource) else TAR_ENDINGS)


def _below(uri: str, root: str) -> str | None:
    """Return the path below a root, '' for the root itself; None if the place is not below it."""
    root = root.rstrip("/")
    if uri.rstrip("/") == root:
        return ""
    return uri[len(root) + 1 :] if uri.startswith(f"{root}/") else None
