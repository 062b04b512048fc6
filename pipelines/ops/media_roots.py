"""The folder that the media paths of a table are relative to, found by looking where the files are."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_MAX_FOLDERS = 300
_MAX_DEPTH = 3
_TRIED = 40  # paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A folder, and how many of the paths that were tried are files below it."""

    folder: str
    found: int
    tried: int


def media_root_of(paths: Sequence[str], default: str) -> Root:
    """The folder below which most of the paths are files; the default wins where it is as good as any.

    Looked at are the default and the folders below it; if nothing is there, its parent and the folders beside it, of
    which one counts only if it holds all. Of each a bounded number.
    """
    local = [path.removeprefix("file://") for path in paths if not _is_uri(path)]
    step = max(1, len(local) // _TRIED)
    tried = local[::step][:_TRIED]
    best = _found(default, tried)
    if best.found == len(tried) or not tried:
        return best
    if all(map(os.path.isabs, tried)):
        return max(best, _found(os.path.commonpath([os.path.dirname(path) for path in tried]), tried), key=_hits)
    for folder in _below(default, _MAX_DEPTH):
        if best.found == len(tried):
            return best
        best = max(best, _found(folder, tried), key=_hits)
    if best.found:
        return best
    beside = (_found(folder, tried) for folder in _beside(default))
    return next((root for root in beside if root.found == len(tried)), best)


def _is_uri(path: str) -> bool:
    return "://" in path and not path.startswith("file://")


def _hits(root: Root) -> int:
    return root.found


def _found(folder: str, paths: Sequence[str]) -> Root:
    """How many paths are files in a folder and do not lead out of it."""
    inside = [posixpath.normpath(posixpath.join(folder, path)) for path in paths if "\0" not in path]
    count = sum(path.startswith(folder.rstrip("/") + "/") and os.path.isfile(path) for path in inside)
    return Root(folder=folder, found=count, tried=len(paths))


def _beside(default: str) -> Iterator[str]:
    """The parent, and the folders beside the default and below those; nearest first."""
    parent = os.path.dirname(default)
    if parent not in (default, "/"):
        yield parent
        yield from _below(parent, 2)


def _below(folder: str, depth: int) -> Iterator[str]:
    level, seen = [folder], 0
    for _ in range(depth):
        following: list[str] = []
        for here in level:
            try:
                with os.scandir(here) as entries:
                    folders = [
                        e.path for e in entries if not e.name.startswith(".") and e.is_dir(follow_symlinks=False)
                    ]
            except OSError:  # a folder that may not be listed holds nothing that could be read
                continue
            for found in sorted(folders):
                seen += 1
                if seen > _MAX_FOLDERS:
                    return
                yield found
                following.append(found)
        level = following
