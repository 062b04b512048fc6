"""Folder sources: loose files joined by stem; a.txt, a.jpg and a.wav are one record `a`.

First folders are marks by the rule of `mediafolder`, unless the source's `subset` is null.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from typing import Protocol

from trichord.infra.config import FolderSource
from trichord.infra.errors import SourceError
from trichord.infra.lake.storage import Stat
from trichord.infra.marks import find_part
from trichord.infra.printable import find_unnameable
from trichord.transforms.collect.drafts import Draft
from trichord.transforms.collect.field_map import bad_name
from trichord.transforms.collect.file_marks import are_marks
from trichord.transforms.collect.line import Line
from trichord.transforms.collect.naming import show_all
from trichord.transforms.collect.scope import Scope

_LINE: Line = {"text": None, "captions": [], "group": "", "subset": "", "meta": {}}  # the files hold everything

_SHOWN_ENDINGS = 10
MODALITY_OF_ENDING = {
    **dict.fromkeys((".txt",), "text"),
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"), "image"),
    **dict.fromkeys((".wav", ".flac", ".ogg", ".mp3"), "audio"),
}


class Lister(Protocol):
    """What the reader needs of `Storage`."""

    def list(self, prefix_uri: str, *, beginnings: Sequence[str] | None = None) -> Iterator[Stat]:
        """Yield the files below a folder, sorted by URI; see `Storage.list`."""

    def folders(self, prefix_uri: str) -> Iterator[str]:
        """Yield the names of the folders in a folder, sorted."""


class FolderReader:
    """Iterates over the records of a folder; afterwards `ignored` counts the files with other endings.

    Args:
        source: the folder.
        storage: lists it.
        scope: the rows that are read; all if None.
        setting: names the folder in the project file.
    """

    def __init__(
        self, source: FolderSource, storage: Lister, scope: Scope | None = None, setting: str = "path"
    ) -> None:
        self._source, self._storage, self._setting = source, storage, setting
        self._root, self._name = source.path.rstrip("/"), source.name
        self._marked = False  # whether the first folders are marks
        self._beginnings = scope.beginnings(".") if scope is not None else None
        self.ignored = 0

    def __iter__(self) -> Iterator[Draft]:
        """Yield every record in bounded memory: a sorted listing has the files of a stem close together.

        Raises:
            SourceError: the folder is missing or empty, or no file's ending belongs to a modality.
        """
        self.ignored, files, known, previous = 0, 0, 0, ""
        self._marked = has_marks(self._source, self._storage)
        endings: dict[str, None] = {}
        open_stems: dict[str, list[tuple[str, Stat]]] = {}
        for stat in self._storage.list(self._root, beginnings=self._beginnings):
            files += 1
            if stat.uri < previous:
                raise SourceError(f"{stat.uri} was listed after {previous}: the store's listing is not sorted")
            previous = stat.uri
            for stem in [stem for stem in open_stems if not stat.uri.startswith(f"{stem}.")]:
                yield from self._record(stem, open_stems.pop(stem))
            path = stat.uri[len(self._root) + 1 :]
            if any(part.startswith(".") for part in path.split("/")):
                continue
            stem, ending = posixpath.splitext(stat.uri)
            modality = MODALITY_OF_ENDING.get(ending.lower())
            if modality is None:
                self.ignored += 1
                if len(endings) < _SHOWN_ENDINGS:
                    endings.setdefault(ending or "none")
            else:
                known += 1
                open_stems.setdefault(stem, []).append((modality, stat))
        for stem, found in open_stems.items():
            yield from self._record(stem, found)
        if self._beginnings is not None:
            return
        if not files:
            raise SourceError(f"{self._root}: there is no file. Fix `{self._setting}` of source {self._name!r}")
        if self.ignored and not known:
            raise SourceError(
                f"{self._root}: none of its {self.ignored:,} files has an ending of a text, an image or a sound (there "
                f"are {show_all(list(endings))}).\nKnown: {', '.join(MODALITY_OF_ENDING)}. Fix `{self._setting}` of "
                f"source {self._name!r}"
            )

    def _record(self, stem: str, found: list[tuple[str, Stat]]) -> Iterator[Draft]:
        key = stem[len(self._root) + 1 :]
        if (fault := find_unnameable([("key", key)])) is not None:
            yield bad_name(key, fault)
            return
        mark = key.partition("/")[0] if self._marked and "/" in key else ""
        line: Line = {**_LINE, "subset": mark}
        media: dict[str, Stat] = {}
        for modality, stat in found:
            first = media.setdefault(modality, stat)
            if first is not stat:
                names = f"{posixpath.basename(stat.uri)!r} beside {posixpath.basename(first.uri)!r}"
                yield Draft(key=key, line=line, media={modality: stat}, reason="key_repeated", detail=names)
        yield Draft(key=key, line=line, media=dict(media))


def has_marks(source: FolderSource, storage: Lister) -> bool:
    """Return True if the first folders of a source are marks. Folders without a text, an image or a sound do not count.

    Raises:
        StorageError: the folder cannot be listed.
    """
    if source.subset is None:
        return False
    root = source.path.rstrip("/")
    firsts = [first for first in storage.folders(root) if not first.startswith(".") and find_part(first) is not None]
    return are_marks(f"{first}/" for first in firsts if any(map(_is_known, storage.list(f"{root}/{first}"))))


def _is_known(stat: Stat) -> bool:
    return posixpath.splitext(stat.uri)[1].lower() in MODALITY_OF_ENDING
