"""Data files that hold many rows (Parquet, tar): which there are, and whether one is still what was planned."""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager

from trichord.infra.config import SourceBase, VersionBy
from trichord.infra.errors import SourceError
from trichord.infra.lake.storage import Stat, Storage, VersionCache
from trichord.transforms.collect.partitions import Part

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz")
PARQUET_ENDINGS = (".parquet", ".pq", ".parq")
MAX_FILES_OF_A_PATTERN = 100_000

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_HASHED = VersionCache()  # a process that reads several partitions of one file hashes it once


def root_of(path: str, endings: tuple[str, ...]) -> str:
    """The folder that a source's data files are below: of a folder itself, of a file or pattern its folder."""
    head, brace, _ = path.partition("{")
    return posixpath.dirname(head) if brace or path.lower().endswith(endings) else path.rstrip("/")


def data_files(source: SourceBase, storage: Storage, endings: tuple[str, ...]) -> list[Stat]:
    """The files a path means: one file, all of a folder (hidden ones left out), or a pattern `a-{000..013}.tar`.

    Raises:
        SourceError: there is none, or one of the pattern is missing.
    """
    path = source.path
    if not path.lower().endswith(endings):
        root = path.rstrip("/")
        found = [
            stat
            for stat in storage.list(root)
            if stat.uri.lower().endswith(endings)
            and not any(part.startswith((".", "_")) for part in stat.uri[len(root) + 1 :].split("/"))
        ]
        if not found:
            raise SourceError(f"{path}: there is no {endings[0]} file. Mend `path` of source {source.name!r}")
        return found
    try:
        return [storage.stat(uri) for uri in _expanded(source)]
    except FileNotFoundError as error:
        raise SourceError(f"{error.filename}: there is no such file. Mend `path` of source {source.name!r}") from error


def _expanded(source: SourceBase) -> list[str]:
    pieces = RANGE.split(source.path)
    ranges = [(first, last) for first, last in zip(pieces[1::3], pieces[2::3], strict=True)]
    count = 1
    for first, last in ranges:
        count *= max(0, int(last) - int(first) + 1)
    if not 0 < count <= MAX_FILES_OF_A_PATTERN:
        raise SourceError(
            f"{source.path} means {count} files; from 1 to {MAX_FILES_OF_A_PATTERN} can be read. Mend `path` of "
            f"source {source.name!r}"
        )
    numbers = [[f"{n:0{len(first)}d}" for n in range(int(first), int(last) + 1)] for first, last in ranges]
    texts = pieces[::3]
    return [
        texts[0] + "".join(number + text for number, text in zip(chosen, texts[1:], strict=True))
        for chosen in itertools.product(*numbers)
    ]


def changed(uri: str) -> SourceError:
    """The error of a file that is no longer what was planned."""
    return SourceError(f"{uri} changed while it was being read. Run it again: it resumes")


@contextmanager
def unchanged(storage: Storage, uri: str, part: Part, by: VersionBy) -> Iterator[Stat]:
    """The file's stat; within the block it is what was planned, or an error is raised at its end.

    Raises:
        SourceError: the file is not what was planned.
    """
    try:
        before = storage.stat(uri)
        if before.size != part.size or (part.version and storage.version(before, by, _HASHED) != part.version):
            raise changed(uri)
        yield before
        if storage.stat(uri) != before:
            raise changed(uri)
    except FileNotFoundError as error:
        raise changed(uri) from error
