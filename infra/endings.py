"""Files that are not read, counted by their endings: none is left out in silence."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Mapping

MAX_ENDINGS, MAX_CHARS = 1_000, 20  # of those that are counted by themselves
SHOWN = 10
OTHERS, NONE = "others", "none"


def count_ending(endings: Counter[str], name: str) -> None:
    """Count a file that is not read, by its name."""
    add_ending(endings, posixpath.splitext(name)[1].lower() or NONE, 1)


def add_ending(endings: Counter[str], ending: str, files: int) -> None:
    """Count files of an ending; it counts among the others where there are too many endings, or it is a strange one."""
    if ending not in endings and (len(endings) >= MAX_ENDINGS or len(ending) > MAX_CHARS or not ending.isprintable()):
        ending = OTHERS
    endings[ending] += files


def sort_endings(endings: Mapping[str, int]) -> dict[str, int]:
    """Return the counts, the most frequent first."""
    return dict(sorted(endings.items(), key=lambda one: (-one[1], one[0])))


def tell_unread(endings: Mapping[str, int]) -> str:
    """Return a line such as "13 files with endings that are not read (.m4a 12, .doc 1)"; empty if there are none."""
    total, found = sum(endings.values()), list(sort_endings(endings).items())
    if not total:
        return ""
    named = ", ".join(f"{ending} {files:,}" for ending, files in found[:SHOWN])
    rest = sum(files for _, files in found[SHOWN:])
    files = "1 file with an ending that is" if total == 1 else f"{total:,} files with endings that are"
    return f"{files} not read ({named}{f', others {rest:,}' if rest else ''})"
