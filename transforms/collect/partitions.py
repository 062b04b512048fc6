"""Partitions: the smallest parts of a source that can be read again on their own, and the plan that lists them.

A partition is a leaf of a hash trie over the rows' keys. Its rows depend only on the rows, not on their order or the
files' place, and one row more or less changes one leaf.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from trichord.infra import digest
from trichord.infra.errors import StorageError
from trichord.infra.json_values import parse_json
from trichord.infra.lake import layout
from trichord.infra.lake.checked_parquet import has_seal, open_sealed
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.seal import seal
from trichord.infra.lake.storage import Storage
from trichord.infra.scratch import scratch_folder
from trichord.infra.web import is_web
from trichord.transforms.collect.line import Line
from trichord.transforms.collect.media_root import MediaRoot
from trichord.transforms.media import MediaError

PLAN_FORMAT = 1
PLAN = pa.schema([(name, pa.string()) for name in ("key", "line", "media", "reason", "detail")])

Columns: TypeAlias = tuple[str, str, str, str | None, str]  # of a row, in the order of PLAN

_DIGEST_BYTES = 16
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

    def columns(self) -> Columns:
        """Return the row as PLAN columns."""
        media = {name: [medium.path, medium.size, medium.version] for name, medium in self.media.items()}
        return self.key, _json(self.line), _json(media), self.reason, self.detail

    @classmethod
    def of(cls, key: str, line: str, media: str, reason: str | None, detail: str) -> PlannedRow:
        """Return the row that `columns` wrote."""
        return cls(key=key, line=line_of(line), media=media_of(media), reason=reason, detail=detail)


def line_of(column: str) -> Line:
    """Read the PLAN column `line`."""
    return cast("Line", parse_json(column))


def media_of(column: str) -> dict[str, Medium]:
    """Read the PLAN column `media`."""
    found = cast("dict[str, tuple[str, int, str]]", parse_json(column))
    return {name: Medium(path=path, size=size, version=version) for name, (path, size, version) in found.items()}


def _json(value: object) -> str:
    return digest.canonical_json(value).decode()


def trie(hashes_N: npt.NDArray[np.uint64], limit: int) -> list[tuple[str, npt.NDArray[np.intp]]]:
    """Return the leaves of a hash trie: a leaf with more than `limit` rows is split by the next bit, highest first.

    Returns:
        (bits, positions in `hashes_N`) of each leaf that is not empty, in order of bits. Equal hashes share a leaf
        even if they are more than `limit`.

    Raises:
        ValueError: the limit is below one.
    """
    if limit < 1:
        raise ValueError(f"a leaf must be allowed at least one row, not {limit}")
    order = np.argsort(hashes_N, kind="stable")
    ordered = hashes_N[order]
    leaves: list[tuple[str, npt.NDArray[np.intp]]] = []
    open_nodes = [("", 0, len(ordered))]
    while open_nodes:
        bits, start, stop = open_nodes.pop()
        if stop - start > limit and len(bits) < _BITS:
            least_of_right = ((int(bits, 2) if bits else 0) * 2 + 1) << (_BITS - len(bits) - 1)
            middle = start + int(np.searchsorted(ordered[start:stop], np.uint64(least_of_right)))
            open_nodes += [(bits + "1", middle, stop), (bits + "0", start, middle)]
        elif stop > start:
            leaves.append((bits, order[start:stop]))
    return leaves


def write_plan(rows: Iterable[PlannedRow], source: str, lake: Lake, rows_per_partition: int) -> list[Partition]:
    """Bucket rows into partitions and write them to `<lake>/_plans/<digest>.parquet`, one row group a partition.

    Rows pass through a spool on disk; memory holds 32 bytes of each. An existing plan is not written again.
    """
    with tempfile.TemporaryFile() as spool:
        hashes, ends, digests = array("Q"), array("Q", [0]), bytearray()
        for row in rows:
            columns = row.columns()
            encoded = digest.canonical_json(columns)
            spool.write(encoded)
            hashes.append(digest.hash64(row.key))
            ends.append(ends[-1] + len(encoded))
            digests += bytes.fromhex(digest.address(*columns))
        spool.flush()
        digests_N = np.frombuffer(digests, f"V{_DIGEST_BYTES}")
        leaves = trie(np.frombuffer(hashes, np.uint64), rows_per_partition)
        versions = [digest.address(sorted(value.tobytes().hex() for value in digests_N[at])) for _, at in leaves]
        ids = [f"{source}/{bits or 'all'}" for bits, _ in leaves]
        locator = layout.plan_path(digest.address("plan", PLAN_FORMAT, ids, versions))
        uri = lake.uri(locator)
        if leaves and not has_seal(lake.storage, uri):
            groups = (_read_leaf(spool.fileno(), ends, digests_N, at) for _, at in leaves)
            write_groups(groups, lake.storage, uri)
    return [
        Partition(source=source, id=name, version=version, rows=len(at), locator=locator, row_group=i)
        for i, (name, version, (_, at)) in enumerate(zip(ids, versions, leaves, strict=True))
    ]


def _read_leaf(
    spool: int, ends: array[int], digests_N: npt.NDArray[np.void], at: npt.NDArray[np.intp]
) -> list[Columns]:
    """Read a leaf's rows from the spool, ordered by key, then digest."""
    # JSON made lists of the tuples
    rows = [cast("Columns", parse_json(os.pread(spool, ends[i + 1] - ends[i], ends[i]))) for i in at.tolist()]
    keyed = sorted((row[0], digests_N[i].tobytes(), n) for n, (row, i) in enumerate(zip(rows, at, strict=True)))
    return [rows[n] for _, _, n in keyed]


def write_groups(groups: Iterable[Sequence[Columns]], storage: Storage, uri: str) -> None:
    """Write a plan file: rows as `PlannedRow.columns` gives them, one row group a partition."""
    with scratch_folder("plan") as folder:
        path = os.path.join(folder, "plan.parquet")
        with pq.ParquetWriter(path, PLAN, compression="zstd", write_page_checksum=True) as writer:
            for rows in groups:
                columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
                writer.write_table(pa.table(columns, schema=PLAN), row_group_size=len(rows))
        with open(path, "r+b") as file:
            seal(file)
        storage.put_file(path, uri)


def read_plan(partition: Partition, lake: Lake) -> list[PlannedRow]:
    """Read a partition's rows from its plan.

    Raises:
        StorageError: the plan file is missing or damaged.
    """
    uri = lake.uri(partition.locator)
    try:
        with open_sealed(lake.storage, uri) as plan:
            table = plan.read_row_group(partition.row_group, use_threads=False)
    except FileNotFoundError as error:
        raise StorageError(f"{uri}: the plan is missing. Run `trichord reindex`, which plans again") from error
    return [PlannedRow.of(*row.values()) for row in table.to_pylist()]


def planned_media(lake: Lake, path: str, row_group: int, root: MediaRoot) -> dict[str, dict[str, str]]:
    """Return the URIs of the pictures and sounds that a partition's rows name: key -> modality -> URI.

    Raises:
        StorageError: the plan file is missing or damaged.
    """
    partition = Partition(source="", id="", version="", rows=0, locator=path, row_group=row_group)
    found: dict[str, dict[str, str]] = {}
    for row in read_plan(partition, lake):
        named = {name: medium.path for name, medium in row.media.items() if name in ("image", "audio")}
        found[row.key] = {}
        for name, one in named.items():
            with suppress(MediaError):  # a link that now leads out of the root
                found[row.key][name] = one if is_web(one) else root.locate(one)
    return found
