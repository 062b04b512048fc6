"""Versions of parts of a data file by what its rows hold: a file that is written again keeps those that did not change.

Only where a file's version is its SHA-256 anyhow, so that planning reads it once more when it changes, and no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from trichord.infra import digest
from trichord.infra.config import VersionBy
from trichord.infra.lake.storage import Stat, Storage, VersionCache
from trichord.transforms.collect.arrow_rows import Record, to_json

ROWS = "rows:"  # before such a version


def has_row_versions(stat: Stat, by: VersionBy) -> bool:
    """Return True if a listed file is hashed to know its version."""
    return by == "sha256" or (by == "auto" and stat.etag is None)


class RowDigest:
    """Digest of rows, in order: of what a reader sees of each cell, whatever the file's layout. `types` are its own."""

    def __init__(self, types: str) -> None:
        self._hash = hashlib.sha256(types.encode("utf-8", "surrogatepass"))

    def add(self, record: Mapping[str, object]) -> None:
        """Add a row; its media count by their own digest."""
        self._hash.update(digest.canonical_json({name: to_json(value) for name, value in record.items()}))

    def watch(self, rows: Iterable[Record]) -> Iterator[Record]:
        """Yield rows, each of which is added."""
        for row in rows:
            self.add(row)
            yield row

    def hex(self) -> str:
        """Return the digest of all rows that were added."""
        return self._hash.hexdigest()


def digest_parts(rows: Iterable[Record], types: str, counts: Sequence[int]) -> list[str]:
    """Return the digests of consecutive parts with this many rows each. Raise ValueError if there are fewer rows."""
    found, waiting = list[str](), iter(rows)
    for count in counts:
        part = RowDigest(types)
        for number in range(count):
            record = next(waiting, None)
            if record is None:
                raise ValueError(f"{count - number} rows are missing")
            part.add(record)
        found.append(part.hex())
    return found


def known_digests(cache: VersionCache | None, stat: Stat, names: Sequence[str]) -> list[str] | None:
    """Return the digests that a file's parts had when it was read at this very time and size; None without all."""
    found = [cache.get(_entry(stat, name)) for name in names] if cache is not None else [None]
    whole = [one for one in found if one is not None]
    return whole if len(whole) == len(names) else None


def keep_digests(
    storage: Storage, cache: VersionCache | None, stat: Stat, names: Sequence[str], found: Sequence[str]
) -> None:
    """Remember digests, if the file that was read is still the one that was listed."""
    if cache is not None and storage.stat(stat.uri) == stat:
        for name, one in zip(names, found, strict=True):
            cache.put(_entry(stat, name), one)


def _entry(stat: Stat, name: str) -> Stat:
    return replace(stat, uri=f"{stat.uri}#{name}")
