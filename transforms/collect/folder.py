"""Folder sources: loose files joined by stem; a.txt, a.jpg and a.wav are one record `a`.

First folders are marks by the rule of `mediafolder`, unless the source's `subset` is null.
"""

from __future__ import annotations

import heapq
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

from trichord.infra.config import FolderSource
from trichord.infra.endings import add_ending, count_ending
from trichord.infra.errors import SourceError
from trichord.infra.lake.storage import Stat, Storage, is_remote
from trichord.infra.marks import find_part
from trichord.infra.printable import find_unnameable
from trichord.transforms.bounded_text import normal_form
from trichord.transforms.collect.drafts import Draft
from trichord.transforms.collect.field_map import bad_name
from trichord.transforms.collect.file_marks import are_marks
from trichord.transforms.collect.line import Line
from trichord.transforms.collect.naming import show_all
from trichord.transforms.collect.scope import Scope

_LINE: Line = {"text": None, "captions": [], "group": "", "subset": "", "meta": {}}  # the files hold everything

_SHOWN_ENDINGS = 10
_DEPTH = 8  # folders that hold one folder each
_PORTIONS = 128
_NOTHING: tuple[Sequence[str], bool] = ((), False)  # no folders, no file beside them
MODALITY_OF_ENDING = {
    **dict.fromkeys((".txt", ".text", ".caption", ".cap"), "text"),
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp"), "image"),
    **dict.fromkeys((".tif", ".tiff", ".avif"), "image"),
    **dict.fromkeys(
        (".wav", ".flac", ".ogg", ".mp3", ".opus", ".oga", ".aif", ".aiff", ".aifc", ".au", ".snd"), "audio"
    ),
    **dict.fromkeys((".wave", ".bwf", ".rf64", ".w64", ".caf"), "audio"),
}


class Lister(Protocol):
    """What the reader needs of `Storage`."""

    def list(self, prefix_uri: str, *, beginnings: Sequence[str] | None = None) -> Iterator[Stat]:
        """Yield the files below a folder, sorted by URI; see `Storage.list`."""

    def folders(self, prefix_uri: str) -> Iterator[str]:
        """Yield the names of the folders in a folder, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPortion:
    """Some files of a folder: those of whole folders below it, or those in one folder that are in no folder of that.

    Attributes:
        start: position among all portions.
        beginnings: of the paths below the source's folder, sorted; empty for loose files.
        loose: path of the folder whose loose files are meant, with a slash unless it is the source's own.
        span: in a bucket, such a path, and the first and last name of neighbouring folders there; None otherwise.
        marked: the first folders are marks.
    """

    start: int
    beginnings: tuple[str, ...] = ()
    loose: str = ""
    span: tuple[str, str, str] | None = None
    marked: bool


@dataclass(slots=True)
class FileCounts:
    """How many files were listed, how many have a known ending, and how many each other one."""

    files: int = 0
    known: int = 0
    endings: Counter[str] = field(default_factory=Counter)

    @property
    def ignored(self) -> int:
        """How many files have other endings."""
        return self.endings.total()

    def add(self, later: FileCounts) -> None:
        """Count the files of a later portion."""
        self.files += later.files
        self.known += later.known
        for ending, files in later.endings.items():
            add_ending(self.endings, ending, files)

    def require_known(self, root: str, setting: str, name: str) -> None:
        """Raise SourceError if there is no file, or no file's ending belongs to a modality.

        Args:
            root: the folder.
            setting: names it in the project file.
            name: of the source.
        """
        if not self.files:
            raise SourceError(f"{root}: there is no file. Fix `{setting}` of source {name!r}")
        if self.endings and not self.known:
            there = show_all(list(self.endings)[:_SHOWN_ENDINGS])
            raise SourceError(
                f"{root}: none of its {self.ignored:,} files has an ending of a text, an image or a sound "
                f"(there are {there}).\nKnown: {', '.join(MODALITY_OF_ENDING)}. Fix `{setting}` of source {name!r}"
            )


class _OpenStems:
    """Files by stem, as long as a sorted listing may still have more of the stem.

    A stem has one name in NFC and another in NFD, as macOS writes it; they sort apart, and its files are held until the
    listing is past both. Only names with accents are held longer than those of a stem alone.
    """

    def __init__(self, root: str) -> None:
        self._start = len(root) + 1
        self._files: dict[str, list[tuple[str, Stat]]] = {}
        self._ends: list[tuple[str, str]] = []  # a heap: the last name of a stem, and its composed name

    def add(self, stem: str, modality: str, stat: Stat) -> None:
        """Add a file."""
        root, path = stem[: self._start], stem[self._start :]
        composed = root + normal_form("NFC", path)
        if composed not in self._files:
            last = stem if path.isascii() else max(stem, composed, root + normal_form("NFD", path))
            heapq.heappush(self._ends, (last, composed))
        self._files.setdefault(composed, []).append((modality, stat))

    def close(self, uri: str | None) -> Iterator[tuple[str, list[tuple[str, Stat]]]]:
        """Yield the stems that end before a URI of the listing, or all, each with its files by name."""
        waiting = []
        while self._ends and (uri is None or self._ends[0][0] < uri):
            last, composed = heapq.heappop(self._ends)
            if uri is not None and (uri.startswith(f"{last}.") or uri < f"{last}."):
                waiting.append((last, composed))
                continue
            yield composed, sorted(self._files.pop(composed), key=lambda file: file[1].uri)
        for one in waiting:
            heapq.heappush(self._ends, one)


class FolderReader:
    """Iterates over the records of a folder; afterwards `endings` counts the files with other endings.

    Args:
        source: the folder.
        storage: lists it.
        scope: the rows that are read; all if None.
        setting: names the folder in the project file.
        portion: the files that are read, and whether first folders are marks; all files if None.
    """

    def __init__(
        self,
        source: FolderSource,
        storage: Lister,
        scope: Scope | None = None,
        setting: str = "path",
        portion: tuple[Iterable[Stat], bool] | None = None,
    ) -> None:
        self._source, self._storage, self._setting, self._portion = source, storage, setting, portion
        self._root, self._name = source.path.rstrip("/"), source.name
        self._marked = False  # whether the first folders are marks
        self._beginnings = scope.beginnings(".") if scope is not None else None
        self.counts = FileCounts()

    @property
    def endings(self) -> Counter[str]:
        """How many files have each other ending."""
        return self.counts.endings

    def __iter__(self) -> Iterator[Draft]:
        """Yield every record in bounded memory: a sorted listing has the files of a stem close together.

        Raises:
            SourceError: the folder is missing or empty, or no file's ending belongs to a modality.
        """
        self.counts, previous = FileCounts(), ""
        if self._portion is None:
            listed: Iterable[Stat] = self._storage.list(self._root, beginnings=self._beginnings)
            self._marked = has_marks(self._source, self._storage)
        else:
            listed, self._marked = self._portion
        stems = _OpenStems(self._root)
        for stat in listed:
            self.counts.files += 1
            if stat.uri < previous:
                raise SourceError(f"{stat.uri} was listed after {previous}: the store's listing is not sorted")
            previous = stat.uri
            for stem, found in stems.close(stat.uri):
                yield from self._record(stem, found)
            path = stat.uri[len(self._root) + 1 :]
            if any(part.startswith(".") for part in path.split("/")):
                continue
            stem, ending = posixpath.splitext(stat.uri)
            modality = MODALITY_OF_ENDING.get(ending.lower())
            if modality is None:
                count_ending(self.counts.endings, posixpath.basename(stat.uri))
            else:
                self.counts.known += 1
                stems.add(stem, modality, stat)
        for stem, found in stems.close(None):
            yield from self._record(stem, found)
        if self._beginnings is None and self._portion is None:
            self.counts.require_known(self._root, self._setting, self._name)

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


def read_portion(source: FolderSource, storage: Storage, portion: FolderPortion) -> FolderReader:
    """Return the reader of a portion."""
    root = source.path.rstrip("/")
    if portion.span is not None:
        below, first, last = portion.span
        files = storage.list_folders(f"{root}/{below}".rstrip("/"), first, last)
    elif portion.beginnings:
        files = storage.list(root, beginnings=portion.beginnings)
    else:
        files = storage.loose_files(f"{root}/{portion.loose}".rstrip("/"))
    return FolderReader(source, storage, portion=(files, portion.marked))


def portions_of_folder(source: FolderSource, storage: Storage) -> Iterator[FolderPortion]:
    """Yield a folder in portions: loose files, then its folders, several together if they are many.

    The files of a row are in one folder, so no portion needs another. Where there is one folder, its folders count.
    """
    root, below, start = source.path.rstrip("/"), "", 0
    marked = has_marks(source, storage)
    if is_remote(root):
        yield from _portions_of_bucket(root, storage, marked)
        return
    for _ in range(_DEPTH):
        yield FolderPortion(start=start, loose=below, marked=marked)
        start += 1
        names = list(storage.folders(f"{root}/{below}".rstrip("/")))
        if len(names) != 1:
            break
        below += f"{names[0]}/"
    else:
        names, below = [below.rstrip("/")], ""
    step = -(-len(names) // _PORTIONS) or 1
    for first in range(0, len(names), step):
        beginnings = sorted(f"{below}{name}/" for name in names[first : first + step])
        yield FolderPortion(start=start + first, beginnings=tuple(beginnings), marked=marked)


def _portions_of_bucket(root: str, storage: Storage, marked: bool) -> Iterator[FolderPortion]:
    """Yield a bucket's folder in portions of about a thousand objects or one folder: listing them costs no more."""
    below = ""
    for start in range(_DEPTH):
        levels = storage.levels(f"{root}/{below}".rstrip("/"))
        names, loose = next(levels, _NOTHING)
        more, also_loose = next(levels, _NOTHING)
        if len(names) != 1 or more:
            break
        if loose or also_loose:
            yield FolderPortion(start=start, loose=below, marked=marked)
        below += f"{names[0]}/"
    else:
        names = ()
    if not names:  # loose files, as many as a request lists, or one folder in another in another
        yield FolderPortion(start=_DEPTH, beginnings=(below,), marked=marked)
        return
    for number, (found, has_loose) in enumerate(chain([(names, loose), (more, also_loose)], levels), _DEPTH + 1):
        loose = loose or has_loose
        if found:
            yield FolderPortion(start=number, span=(below, found[0], found[-1]), marked=marked)
    if loose:
        yield FolderPortion(start=_DEPTH, loose=below, marked=marked)


def _is_known(stat: Stat) -> bool:
    return posixpath.splitext(stat.uri)[1].lower() in MODALITY_OF_ENDING
