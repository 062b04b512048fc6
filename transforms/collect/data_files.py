"""Data files with many rows (Parquet, tar): which exist, and whether one changed since planning."""

from __future__ import annotations

import itertools
import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from trichord.infra.config import Source, VersionBy
from trichord.infra.endings import count_ending
from trichord.infra.errors import SourceError, TrichordError
from trichord.infra.lake.listing import Listing
from trichord.infra.lake.storage import Changed, NotRegular, Stat, Storage, VersionCache, is_remote
from trichord.transforms.collect.folder import MODALITY_OF_ENDING
from trichord.transforms.collect.partitions import Part
from trichord.transforms.collect.row_versions import ROWS

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
PARQUET_ENDINGS = (".parquet", ".pq", ".parq")
MAX_FILES_OF_A_PATTERN = 100_000

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_HASHED = VersionCache()  # a process that reads several partitions of a file hashes it once


def root_of(path: str, endings: tuple[str, ...]) -> str:
    """Return the root of a source's data files: the folder itself, or the folder of a file or pattern."""
    head, brace, _ = path.partition("{")
    return posixpath.dirname(head) if brace or path.lower().endswith(endings) else path.rstrip("/")


def data_files(
    source: Source, storage: Storage, endings: tuple[str, ...], others: Counter[str] | None = None
) -> list[Stat]:
    """List the files that a path means: one file, a folder's visible files, or a pattern `a-{000..013}.tar`.

    Args:
        source: its path.
        storage: where they are.
        endings: of the files.
        others: counts a folder's files with other endings, but media, which rows may name.

    Raises:
        SourceError: there is no file, or one of the pattern is missing.
    """
    path = source.path
    if not path.lower().endswith(endings):
        root, found = path.rstrip("/"), []
        for stat in storage.list(root):
            if any(part.startswith((".", "_")) for part in stat.uri[len(root) + 1 :].split("/")):
                continue
            ending = posixpath.splitext(stat.uri)[1].lower()
            if stat.uri.lower().endswith(endings):
                found.append(stat)
            elif others is not None and ending not in MODALITY_OF_ENDING:
                count_ending(others, stat.uri)
        if not found:
            if storage.exists(path):
                ending = posixpath.splitext(path)[1]
                raise SourceError(
                    f"{path}: a {source.kind} source does not read {ending or 'such'} files; it reads "
                    f"{', '.join(endings)}.\nNext: convert or unpack the file, or choose another `kind`."
                )
            raise SourceError(f"{path}: there is no {endings[0]} file. Fix `path` of source {source.name!r}")
        return found
    uris = _expand(source)
    listed = Listing(storage, root_of(path, endings), len(uris)).look_up(uris) if is_remote(path) else {}
    try:
        return [listed.get(uri) or storage.stat(uri) for uri in uris]
    except FileNotFoundError as error:
        raise SourceError(f"{error.filename}: there is no such file. Fix `path` of source {source.name!r}") from error


def _expand(source: Source) -> list[str]:
    pieces = RANGE.split(source.path)
    ranges = [(first, last) for first, last in zip(pieces[1::3], pieces[2::3], strict=True)]
    count = 1
    for first, last in ranges:
        count *= max(0, int(last) - int(first) + 1)
    if not 0 < count <= MAX_FILES_OF_A_PATTERN:
        raise SourceError(
            f"{source.path} means {count} files; allowed are 1 to {MAX_FILES_OF_A_PATTERN}. Fix `path` of "
            f"source {source.name!r}"
        )
    numbers = [[f"{n:0{len(first)}d}" for n in range(int(first), int(last) + 1)] for first, last in ranges]
    texts = pieces[::3]
    return [
        texts[0] + "".join(number + text for number, text in zip(chosen, texts[1:], strict=True))
        for chosen in itertools.product(*numbers)
    ]


@contextmanager
def require_unchanged(storage: Storage, uri: str, part: Part, by: VersionBy) -> Iterator[Stat]:
    """Check before and after the block that the file is what was planned; yield its stat.

    Raises:
        Changed: the file changed since planning.
    """
    try:
        before = storage.stat(uri)
        if not part.version.startswith(ROWS) and (  # rows that have a version are compared as they are read
            before.size != part.size or (part.version and storage.version(before, by, _HASHED) != part.version)
        ):
            raise Changed.of(uri)
    except (FileNotFoundError, NotRegular) as error:
        raise Changed.of(uri) from error
    with require_same(storage, before):
        yield before


@contextmanager
def require_same(storage: Storage, before: Stat) -> Iterator[None]:
    """Check after the block that a file is the one that was there before; damage may be how a change shows.

    Raises:
        Changed: the file changed.
    """
    try:
        yield
    except (TrichordError, FileNotFoundError) as error:
        if is_same(storage, before):
            raise
        raise Changed.of(before.uri) from error
    if not is_same(storage, before):
        raise Changed.of(before.uri)


def is_same(storage: Storage, before: Stat) -> bool:
    """Return True if the file is still the one that was there before."""
    try:
        return storage.stat(before.uri) == before
    except FileNotFoundError:
        return False
