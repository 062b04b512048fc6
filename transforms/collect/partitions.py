"""Partitions: the smallest parts of a source that can be read again on their own, and the rows planned in them.

A partition is a leaf of a hash trie over the rows' keys. Its rows depend only on the rows, not on their order or the
files' place, and one row more or less changes one leaf.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trichord.infra import digest
from trichord.infra.digest import quote
from trichord.infra.json_values import parse_json
from trichord.transforms.collect.line import Line

PLAN_FORMAT = 1  # raised when a row's columns change: it is part of the version of every tar
PLAN = pa.schema([(name, pa.string()) for name in ("key", "line", "media", "reason", "detail")])

RowsPerPartition: TypeAlias = int | Literal["auto"]
Columns: TypeAlias = tuple[str, str, str, str | None, str]  # of a row, in the order of PLAN

DIGEST_BYTES = digest.ADDRESS_CHARS // 2

MAX_PARTITIONS = 20_000  # of a source: the driver holds an entry for each, and each is a task and three files
LEAST_LIMIT = 256

_BITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The part of a data file (Parquet, tar) that is a partition."""

    path: str  # below the source's folder
    size: int  # of the file, in bytes
    version: str  # of the file; "" if its table guarantees that it never changes
    groups: tuple[int, int] = (0, 0)  # Parquet: the first row group and the one after the last
    constants: tuple[tuple[str, object], ...] = ()  # columns that are not in the file, with their one value (JSON)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A part of a source that can be read again. Equal versions have equal rows with equal media."""

    source: str
    id: str  # '<source>/<bits of hash64(key)>' or '<source>/all'; of a part of a file '<source>/<its path>'
    version: str  # digest of its rows' versions, free of order; of a part of a file, of that file's version
    rows: int  # rows in, rejects of reading included
    locator: str  # lake-relative path of the plan file, "" without one
    row_group: int  # of the plan file
    part: Part | None = None  # where the media are in a data file


@dataclass(frozen=True, slots=True, kw_only=True)
class Medium:
    """A file that a row names: path below the media root, size and content version."""

    path: str
    size: int
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRow:
    """A row of a source, its media looked up but unread. A row with a `reason` is bad and becomes a reject."""

    key: str
    line: Line
    media: Mapping[str, Medium] = field(default_factory=dict)  # by image, audio, text, segments, image:0, image:1 ...
    reason: str | None = None
    detail: str = ""
    digest: str = field(default="", compare=False)  # as a `PlannedLine` has it; '' before the row is in a plan

    def columns(self) -> Columns:
        """Return the row as PLAN columns: its line and media as canonical JSON."""
        media = ",".join(
            [
                f"{quote(name)}:[{quote(medium.path)},{medium.size},{quote(medium.version)}]"
                for name, medium in sorted(self.media.items())
            ]
        )
        line = ",".join([f"{quote(name)}:{_encode(value)}" for name, value in sorted(self.line.items())])
        return self.key, f"{{{line}}}", f"{{{media}}}", self.reason, self.detail

    @classmethod
    def of(cls, key: str, line: str, media: str, reason: str | None, detail: str) -> PlannedRow:
        """Return the row that `columns` wrote."""
        return cls(key=key, line=line_of(line), media=media_of(media), reason=reason, detail=detail)


@dataclass(frozen=True, slots=True)
class PlannedLine:
    """A planned row as PLAN has it: `line` and `media` are JSON. `digest` names its values and media (hex)."""

    digest: str
    key: str
    line: str
    media: str
    reason: str | None
    detail: str

    @classmethod
    def of(cls, columns: Columns) -> PlannedLine:
        """Return the row of these columns."""
        return cls(digest_of(columns).hex(), *columns)

    def parse(self) -> PlannedRow:
        """Return the row."""
        return replace(PlannedRow.of(self.key, self.line, self.media, self.reason, self.detail), digest=self.digest)


def line_of(column: str) -> Line:
    """Read the PLAN column `line`."""
    return cast("Line", parse_json(column))


def media_of(column: str) -> dict[str, Medium]:
    """Read the PLAN column `media`."""
    found = cast("dict[str, tuple[str, int, str]]", parse_json(column))
    return {name: Medium(path=path, size=size, version=version) for name, (path, size, version) in found.items()}


def table_of(rows: Sequence[PlannedRow]) -> pa.Table:
    """Return rows as a table of PLAN."""
    columns = zip(*(row.columns() for row in rows), strict=True)
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=PLAN)


def _encode(value: object) -> str:
    """Return a value as canonical JSON; what most rows have is encoded without the general encoder."""
    if isinstance(value, str):
        return quote(value)
    if value is None:
        return "null"
    if not value and isinstance(value, list | dict):
        return "[]" if isinstance(value, list) else "{}"
    return digest.canonical_json(value).decode("utf-8", "surrogatepass")


def digest_of(columns: Columns) -> bytes:
    """Return the digest of a row: the bytes of `digest.address` of its columns."""
    encoded = ",".join("null" if column is None else quote(column) for column in columns)
    return hashlib.sha256(f"[{encoded}]".encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]


def trie(ordered_N: npt.NDArray[np.uint64], limit: int, root: str = "") -> list[tuple[str, int, int]]:
    """Return the leaves of a hash trie: a leaf with more than `limit` rows is split by the next bit, highest first.

    Args:
        ordered_N: sorted hashes.
        limit: the most rows of a leaf.
        root: leading bits that all hashes have; nothing above this node is looked at.

    Returns:
        (bits, first row, row after the last) of each leaf that is not empty, in order of bits. Equal hashes share a
        leaf even if they are more than `limit`.

    Raises:
        ValueError: the limit is below one.
    """
    if limit < 1:
        raise ValueError(f"a leaf must be allowed at least one row, not {limit}")
    leaves: list[tuple[str, int, int]] = []
    open_nodes = [(root, 0, len(ordered_N))]
    while open_nodes:
        bits, start, stop = open_nodes.pop()
        if stop - start > limit and len(bits) < _BITS:
            middle = start + int(np.searchsorted(ordered_N[start:stop], np.uint64(least(bits + "1"))))
            open_nodes += [(bits + "1", middle, stop), (bits + "0", start, middle)]
        elif stop > start:
            leaves.append((bits, start, stop))
    return leaves


def limit_of_rows(rows_per_partition: RowsPerPartition, rows: int) -> int:
    """Return the most rows of a partition in a source of this many rows."""
    if rows_per_partition != "auto":
        return rows_per_partition
    limit = LEAST_LIMIT
    while rows * 2 > limit * MAX_PARTITIONS:  # a leaf holds half of the limit at least, but for the rarest
        limit *= 2
    return limit


def least(bits: str) -> int:
    """Return the least hash that has these leading bits."""
    return int(bits, 2) << (_BITS - len(bits)) if bits else 0


def version_of(digests: Iterable[bytes]) -> str:
    """Return the version of a partition whose rows have these digests (`digest_of`)."""
    return digest.address(sorted(one.hex() for one in digests))
