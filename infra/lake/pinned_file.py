"""A file that a publication pins, with its size and SHA-256, and the checks of many such files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from trichord.infra.digest import sha256_hex
from trichord.infra.errors import StorageError
from trichord.infra.lake.lake import Lake

HASHERS = 8  # threads at most; hashing and reading release the interpreter


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedFile:
    """A file and what it must hold.

    Attributes:
        path: lake-relative.
        size: in bytes; None if that is not pinned.
        sha256: of its bytes; None if that is not pinned.
        searched: True if a search reads it.
        cached: True if it only saves work, so that a publication without it is whole.
        content: its bytes, where they follow from what else is pinned, so that it can be written again.
    """

    path: str
    size: int | None = None
    sha256: str | None = None
    searched: bool = False
    cached: bool = False
    content: bytes | None = None

    @classmethod
    def of_content(cls, path: str, content: bytes) -> PinnedFile:
        """Return a file whose bytes are known."""
        return cls(path=path, size=len(content), sha256=sha256_hex(content), content=content)

    @classmethod
    def sealed(cls, path: str, seal: str | None, *, searched: bool = False) -> PinnedFile:
        """Return the file of a seal: '<bytes>:<SHA-256>'; nothing but its path is pinned where there is no seal."""
        size, _, sha256 = (seal or "").partition(":")
        return cls(path=path, size=int(size) if size else None, sha256=sha256 or None, searched=searched)


def seal(lake: Lake, path: str) -> str:
    """Return the seal of a file as it is now.

    Raises:
        StorageError: it is missing.
    """
    try:
        data = lake.read(path)
    except FileNotFoundError as missing:
        raise StorageError(f"{lake.uri(path)} is missing. Run the same command again") from missing
    return f"{len(data)}:{sha256_hex(data)}"


def check_sizes(lake: Lake, files: Iterable[PinnedFile]) -> dict[str, str]:
    """Return what is wrong with each file that is missing or has another size, by path; no file is read."""
    wanted = {file.path: file for file in files}
    found = {
        lake.relative(stat.uri): stat.size
        for top in sorted({path.split("/", 1)[0] for path in wanted})
        for stat in lake.list(top)
    }
    problems: dict[str, str] = {}
    for path, file in wanted.items():
        if path not in found:
            problems[path] = "is missing"
        elif file.size not in (None, found[path]):
            problems[path] = f"is damaged: {found[path]:,} bytes, expected {file.size:,}"
    return dict(sorted(problems.items()))


def check_bytes(lake: Lake, files: Iterable[PinnedFile]) -> dict[str, str]:
    """Return what is wrong with each file that is missing or holds other bytes, by path. Every file is read once."""
    wanted = {file.path: file for file in files}
    with ThreadPoolExecutor(min(HASHERS, max(2, os.cpu_count() or 1))) as pool:
        found = dict(zip(wanted, pool.map(lambda file: _check(lake, file), wanted.values()), strict=True))
    return {path: problem for path, problem in sorted(found.items()) if problem is not None}


def _check(lake: Lake, file: PinnedFile) -> str | None:
    uri = lake.uri(file.path)
    try:
        size = lake.storage.stat(uri).size
        if file.size not in (None, size):
            return f"is damaged: {size:,} bytes, expected {file.size:,}"
        if file.sha256 is None:
            return None
        found = sha256_hex(lake.storage.chunks(uri))
    except FileNotFoundError:
        return "is missing"
    return None if found == file.sha256 else f"is damaged: its SHA-256 is {found}"
