"""The plan of a source of loose files, in parts: files with a row group a partition, which do not grow with the source.

A part is the largest node of the trie that is small enough, named by the ids and versions of its partitions. So a
changed row rewrites one part, the others are kept, and opening a partition costs the same in any source.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

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
from trichord.infra.lazy import arrow_compute as pc
from trichord.infra.plain_arrow import numbers, values_of
from trichord.infra.scratch import scratch_folder
from trichord.infra.web import is_web
from trichord.transforms.collect.media_root import MediaRoot
from trichord.transforms.collect.partitions import (
    DIGEST_BYTES,
    PLAN,
    Partition,
    PlannedLine,
    PlannedRow,
    RowsPerPartition,
    least,
    limit_of_rows,
    trie,
    version_of,
)
from trichord.transforms.collect.plan_rows import BUCKET_BITS, Run, Runs, RunWriter, open_runs
from trichord.transforms.collect.workers import Workers
from trichord.transforms.media import MediaError

PARTS_FORMAT = 2
MAX_GROUPS = 256  # of a part: opening it costs as much as it has
MAX_ROWS = 16_384  # of a part with several partitions: this many rows are written again where one has changed
MAX_BYTES = 64 << 20  # of rows in memory, unless one partition has more
_ROWS_A_TIME = 1_024
_IDS = b"trichord.partitions"


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A partition: its bits, id and version, and the bytes of its rows."""

    bits: str
    id: str
    version: str
    rows: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRows:
    """The rows of a part on their way to a worker that writes it.

    Attributes:
        uri: of the part.
        ids: of its partitions.
        leaves: of each partition, its least hash and its rows.
        rows: of all, as an Arrow stream.
    """

    uri: str
    ids: tuple[str, ...]
    leaves: tuple[tuple[int, int], ...]
    rows: bytes


@dataclass(frozen=True, slots=True)
class WritePart:
    """The task of a worker that writes parts."""

    storage: Storage

    def __call__(self, part: PartRows) -> None:
        """Write a part. Raise StorageError if that fails."""
        rows = pa.ipc.open_stream(pa.py_buffer(part.rows)).read_all()
        write_groups(_split(rows, part.leaves), self.storage, part.uri, part.ids)


def write_plan(
    rows: Iterable[PlannedRow | bytes],
    source: str,
    lake: Lake,
    rows_per_partition: RowsPerPartition,
    workers: Workers | None = None,
) -> list[Partition]:
    """Bucket rows, or runs of them, into partitions, and write their parts to `<lake>/_plans` unless they are there.

    Rows pass through files on disk: memory does not grow with them. Where there are many, `workers` write the parts.
    """
    with scratch_folder("plan") as folder:
        writer = RunWriter(folder)
        for row in rows:
            if isinstance(row, bytes):
                writer.add_run(row)
            else:
                writer.add(row)
        writer.flush()
        return write_parts(writer.runs, source, lake, rows_per_partition, workers)


def write_parts(
    runs: Sequence[Run],
    source: str,
    lake: Lake,
    rows_per_partition: RowsPerPartition,
    workers: Workers | None = None,
) -> list[Partition]:
    """Do as `write_plan` with rows in runs."""
    found: list[Partition] = []
    with open_runs(runs) as opened:
        limit = limit_of_rows(rows_per_partition, int(opened.counts.sum()))
        nodes = cut(opened.counts, limit)
        if workers is None or not workers.lazy or opened.counts.sum() < workers.least_rows:
            for node in nodes:
                found += write_node(opened, node, source, lake, limit)
            return found

        def missing() -> Iterator[PartRows]:
            for node in nodes:
                for part in _parts_of(opened, node, source, limit):
                    found.extend(part.partitions(source))
                    if not has_seal(lake.storage, lake.uri(part.locator)):
                        if part.size <= MAX_BYTES:
                            yield part.rows_of(opened, lake)
                        else:
                            part.write(opened, lake)

        for _ in workers.run(WritePart(lake.storage), missing()):
            pass
    return found


def part_rows(limit: int) -> int:
    """Return the most rows of a part whose partitions have at most `limit` rows."""
    return max(MAX_ROWS, limit)


def cut(counts: npt.NDArray[np.int64], limit: int) -> list[str]:
    """Return the nodes of the trie that can be planned on their own, in order: no part or partition reaches beyond one.

    Args:
        counts: rows by their first `BUCKET_BITS` bits.
        limit: the most rows of a partition.
    """
    if limit < 1:
        raise ValueError(f"a partition must be allowed at least one row, not {limit}")
    nodes: list[str] = []
    open_nodes = [("", 0, len(counts))]
    while open_nodes:
        bits, start, stop = open_nodes.pop()
        rows = int(counts[start:stop].sum())
        if rows > part_rows(limit) and len(bits) < BUCKET_BITS:
            middle = (start + stop) // 2
            open_nodes += [(bits + "1", middle, stop), (bits + "0", start, middle)]
        elif rows:
            nodes.append(bits)
    return nodes


@dataclass(frozen=True, slots=True)
class _Part:
    """Some leaves that are one file."""

    leaves: Sequence[_Leaf]
    locator: str

    @property
    def size(self) -> int:
        return sum(leaf.size for leaf in self.leaves)

    def partitions(self, source: str) -> Iterator[Partition]:
        for number, leaf in enumerate(self.leaves):
            yield Partition(
                source=source, id=leaf.id, version=leaf.version, rows=leaf.rows, locator=self.locator, row_group=number
            )

    def write(self, runs: Runs, lake: Lake) -> None:
        ids = [leaf.id for leaf in self.leaves]
        write_groups(_read_leaves(runs, self.leaves), lake.storage, lake.uri(self.locator), ids)

    def rows_of(self, runs: Runs, lake: Lake) -> PartRows:
        """Return the rows for a worker."""
        sink, rows = pa.BufferOutputStream(), _read_range(runs, self.leaves)
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows)
        return PartRows(
            uri=lake.uri(self.locator),
            ids=tuple(leaf.id for leaf in self.leaves),
            leaves=tuple((least(leaf.bits), leaf.rows) for leaf in self.leaves),
            rows=sink.getvalue().to_pybytes(),
        )


def write_node(runs: Runs, node: str, source: str, lake: Lake, limit: int) -> Iterator[Partition]:
    """Write the parts of a node, and yield its partitions in order."""
    for part in _parts_of(runs, node, source, limit):
        if not has_seal(lake.storage, lake.uri(part.locator)):
            part.write(runs, lake)
        yield from part.partitions(source)


def _parts_of(runs: Runs, node: str, source: str, limit: int) -> Iterator[_Part]:
    """Yield the parts of a node in order."""
    known = runs.read(*range_of(node), ["hash", "digest", "size"])
    hashes_N = values_of(known["hash"], np.uint64)
    order_N = np.argsort(hashes_N, kind="stable")
    hashes_N, sizes_N = hashes_N[order_N], values_of(known["size"], np.int64)[order_N]
    digests = values_of(known["digest"], f"V{DIGEST_BYTES}")[order_N].tolist()
    leaves = [
        _Leaf(
            bits,
            f"{source}/{bits or 'all'}",
            version_of(digests[start:stop]),
            stop - start,
            int(sizes_N[start:stop].sum()),
        )
        for bits, start, stop in trie(hashes_N, limit, node)
    ]
    for part in _divide(leaves, node, limit):
        ids, versions = [leaf.id for leaf in part], [leaf.version for leaf in part]
        yield _Part(part, layout.plan_path(digest.address("plan", PARTS_FORMAT, ids, versions)))


def range_of(bits: str) -> tuple[int, int]:
    """Return the least hash below a node, and the least one above it."""
    return least(bits), least(bits) + (1 << 64 - len(bits))


def _divide(leaves: Sequence[_Leaf], node: str, limit: int) -> list[Sequence[_Leaf]]:
    """Divide the leaves below a node into parts."""
    rows = sum(leaf.rows for leaf in leaves)
    if len(leaves) <= 1 or (len(leaves) <= MAX_GROUPS and rows <= part_rows(limit)):
        return [leaves] if leaves else []
    left = [leaf for leaf in leaves if leaf.bits.startswith(node + "0")]
    return _divide(left, node + "0", limit) + _divide(leaves[len(left) :], node + "1", limit)


def _read_leaves(runs: Runs, part: Sequence[_Leaf]) -> Iterator[pa.Table]:
    """Yield the rows of each leaf, ordered by key, then digest; leaves are read together as far as memory allows."""
    start = 0
    while start < len(part):
        stop, size = start + 1, part[start].size
        while stop < len(part) and size + part[stop].size <= MAX_BYTES:
            size += part[stop].size
            stop += 1
        together = part[start:stop]
        yield from _split(_read_range(runs, together), [(least(leaf.bits), leaf.rows) for leaf in together])
        start = stop


def _read_range(runs: Runs, leaves: Sequence[_Leaf]) -> pa.Table:
    """Return the rows of neighbouring leaves, in any order."""
    return runs.read(least(leaves[0].bits), range_of(leaves[-1].bits)[1], ["hash", "digest", *PLAN.names])


def _split(rows: pa.Table, leaves: Sequence[tuple[int, int]]) -> Iterator[pa.Table]:
    """Yield the rows of each leaf, ordered by key, then digest; leaves are a least hash and the number of rows."""
    lows_N = np.array([low for low, _ in leaves], np.uint64)
    leaf_N = np.searchsorted(lows_N, values_of(rows["hash"], np.uint64), side="right")
    keyed = pa.table({"leaf": numbers(leaf_N), "key": rows["key"], "digest": rows["digest"]})
    order = pc.sort_indices(keyed, [(name, "ascending") for name in keyed.column_names])
    rows = rows.select(PLAN.names).take(order).cast(PLAN)
    at = 0
    for _, count in leaves:
        yield rows.slice(at, count)
        at += count


def write_groups(groups: Iterable[pa.Table], storage: Storage, uri: str, ids: Sequence[str] = ()) -> None:
    """Write a plan file: tables of PLAN, one row group each; `ids` are the partitions that they are."""
    with scratch_folder("plan") as folder:
        path = os.path.join(folder, "plan.parquet")
        with pq.ParquetWriter(path, PLAN, compression="zstd", write_page_checksum=True) as writer:
            for rows in groups:
                writer.write_table(rows.combine_chunks(), row_group_size=len(rows))
            if ids:
                writer.add_key_value_metadata({_IDS: digest.canonical_json(list(ids))})
        with open(path, "r+b") as file:
            seal(file)
        storage.put_file(path, uri)


def read_plan(partition: Partition, lake: Lake) -> list[PlannedRow]:
    """Read a partition's rows from its plan. Raises as `read_lines`."""
    return [line.parse() for line in read_lines(partition, lake)]


def read_lines(partition: Partition, lake: Lake) -> Iterator[PlannedLine]:
    """Yield a partition's rows from its plan, unparsed: rows of one key are never divided, so it may have millions.

    Raises:
        StorageError: the plan file is missing or damaged.
    """
    uri = lake.uri(partition.locator)
    try:
        with open_sealed(lake.storage, uri) as plan:
            table = plan.read_row_group(partition.row_group, use_threads=False)
    except FileNotFoundError as error:
        raise StorageError(f"{uri}: the plan is missing. Run `trichord reindex`, which plans again") from error
    return (
        PlannedLine.of(row)
        for batch in table.select(PLAN.names).to_batches(max_chunksize=_ROWS_A_TIME)
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    )


def read_ids(lake: Lake, locator: str) -> list[str]:
    """Return the ids of the partitions of a part, in the order of its row groups; none of another plan file.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: it is damaged.
    """
    with open_sealed(lake.storage, lake.uri(locator)) as plan:
        ids = parse_json((plan.metadata.metadata or {}).get(_IDS, b"[]"))
    return list(map(str, ids)) if isinstance(ids, list) else []


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
