"""What is in a folder, looked at level by level and only up to a bound."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from dataclasses import dataclass
from itertools import islice

from trichord.transforms.bounded_text import normal_form
from trichord.transforms.collect.data_files import PARQUET_ENDINGS, TAR_ENDINGS
from trichord.transforms.collect.folder import MODALITY_OF_ENDING

MAX_FILES = 50_000
MAX_FOLDERS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Paths of files below a folder, sorted, hidden ones left out; `whole` where that is all of them."""

    folder: str
    paths: tuple[str, ...]
    whole: bool

    def ending_with(self, endings: tuple[str, ...]) -> list[str]:
        """The files with one of these endings."""
        return [path for path in self.paths if path.lower().endswith(endings)]

    def of(self, modality: str) -> list[str]:
        """The files of a modality, by their endings."""
        return [path for path in self.paths if _modality(path) == modality]

    def stems(self) -> dict[str, set[str]]:
        """Modalities by stem (path without ending, in NFC as the reader joins them) of the files that have one."""
        found: dict[str, set[str]] = {}
        for path in self.paths:
            if modality := _modality(path):
                found.setdefault(normal_form("NFC", posixpath.splitext(path)[0]), set()).add(modality)
        return found

    def told(self) -> str:
        """In words: how many files of which endings."""
        counts = Counter(posixpath.splitext(path)[1].lower() or "no ending" for path in self.paths)
        most = ", ".join(f"{count} {ending}" for ending, count in counts.most_common(8))
        return f"{'' if self.whole else 'the first '}{len(self.paths)} files: {most or 'none'}"


def listing_of(folder: str) -> Listing:
    """The files of a folder and of the folders below it, nearest first, up to a bound. Linked folders are not entered.

    Raises:
        OSError: the folder itself cannot be listed.
    """
    paths: list[str] = []
    level, folders, whole = [""], 0, True
    while level:
        following: list[str] = []
        for below in level:
            try:
                with os.scandir(os.path.join(folder, below)) as found:
                    entries = sorted(islice(found, MAX_FILES + MAX_FOLDERS), key=lambda entry: entry.name)
            except OSError:
                if not below:
                    raise
                whole = False
                continue
            whole = whole and len(entries) < MAX_FILES + MAX_FOLDERS
            for entry in entries:
                path = f"{below}/{entry.name}" if below else entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders += 1
                    if folders <= MAX_FOLDERS:
                        following.append(path)
                elif not _is_file(entry):
                    continue
                elif len(paths) < MAX_FILES:
                    paths.append(path)
                else:
                    whole = False
        level = following
    return Listing(folder=folder, paths=tuple(sorted(paths)), whole=whole and folders <= MAX_FOLDERS)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Return False for a link that leads nowhere or to a folder, and for a pipe: opening a pipe would wait for ever."""
    try:
        return entry.is_file()
    except OSError:  # a circle of links
        return False


def _modality(path: str) -> str | None:
    return MODALITY_OF_ENDING.get(posixpath.splitext(path)[1].lower())


def tars_of(listing: Listing) -> list[str]:
    """The tar files."""
    return listing.ending_with(TAR_ENDINGS)


def parquet_of(listing: Listing) -> list[str]:
    """The Parquet files, as a Parquet source would read them."""
    found = listing.ending_with(PARQUET_ENDINGS)
    return [path for path in found if not any(part.startswith("_") for part in path.split("/"))]
