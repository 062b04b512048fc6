"""The train/test marks of files by names, as datasets are published: `train-00000-of-00002.parquet`, `test/a.jpg`."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from trichord.infra.marks import find_part, find_spelling

_TAR = re.compile(r"(?<=\.tar)\.\w+$", re.IGNORECASE)  # of a compressed tar
_NUMBERS = re.compile(r"[\W_]*\d+(?:[\W_]+(?:of[\W_]+)?\d+)*$")  # of a shard: -00000-of-00002


def find_file_marks(paths: Iterable[str]) -> dict[str, str]:
    """Return the mark of each data file; empty unless the files name two parts, such as `train` and `test`.

    The outermost folder that names a part is the mark (also as `split=test`), else the file's name without the numbers
    of its shard, whether that is known or not.

    Args:
        paths: of all data files of a source, below its folder.
    """
    marks = {path: _mark_of(path) for path in paths}
    parts = {part for mark in marks.values() if (part := find_part(mark)) is not None}
    return marks if len(parts) > 1 else {}


def are_marks(paths: Iterable[str]) -> bool:
    """Return True if the first folders of these files are marks: one is a part's name, or two parts are named."""
    firsts = {path.split("/", 1)[0] for path in paths if "/" in path}
    parts = {part for first in firsts if (part := find_part(first)) is not None}
    return len(parts) > 1 or any(find_spelling(first) for first in firsts)


def _mark_of(path: str) -> str:
    *folders, name = path.split("/")
    stem = posixpath.splitext(_TAR.sub("", name))[0]
    stem = _NUMBERS.sub("", stem) or stem
    words = [*(folder.rpartition("=")[2] for folder in folders), stem]
    return next((word for word in words if word and find_part(word) is not None), stem)
