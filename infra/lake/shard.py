"""Shards: content-addressed Parquet files, the only form in which rows travel between jobs.

A shard's name is `<table>/<aa>/<address>.<sha256>.parquet`: the address says what made it, the SHA-256 what it
holds. Its bytes follow from address, schema and rows: zstd but for media and hashes, page checksums, fixed row-group
cuts, no time or host.
The footer carries the address and the conservation counts: rows_in + fan_out = rows_kept + rows_rejected.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trichord.infra.digest import canonical_json, sha256_hex
from trichord.infra.errors import StorageError
from trichord.infra.json_values import parse_object
from trichord.infra.lake import layout
from trichord.infra.lake.checked_parquet import REMEDY, arrow_failures, check_columns, open_sealed, open_writer
from trichord.infra.lake.footers import FEW, Footers
from trichord.infra.lake.footers import ShardRef as ShardRef
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.seal import seal
from trichord.infra.lake.stores import Stat, temporary_name
from trichord.infra.lazy import arrow_compute as pc
from trichord.infra.scratch import scratch_folder

ROW_GROUP_BYTES = 16 << 20
MEDIA_GROUP_ROWS, PLAIN_GROUP_ROWS = 256, 16_384
MAX_PREFIX_LISTINGS = 16

_NAME = re.compile(r"(?P<address>[0-9a-f]{32})\.(?P<sha256>[0-9a-f]{64})\.parquet")
_ADDRESS_KEY, _COUNTS_KEY = "trichord.address", "trichord.counts"


def parse_shard_path(path: str) -> tuple[str, str] | None:
    """Return (address, sha256) of a shard's path or URI; None for another file."""
    match = _NAME.fullmatch(path.rsplit("/", 1)[-1])
    return (match["address"], match["sha256"]) if match else None


class ShardWriter:
    """Writes one shard in bounded memory; a context manager. Left without `finish`, nothing of it remains.

    Row groups are cut by the rows alone (at most 16 MiB, 256 rows with binary columns, 16,384 without), so the
    bytes do not depend on how the rows came in batches.
    """

    def __init__(self, lake: Lake, table: str, address: str, schema: pa.Schema) -> None:
        if not re.fullmatch(r"[0-9a-f]{32}", address):
            raise ValueError(f"a shard's address is 32 hex characters, not {address!r}")
        self._lake, self._table, self._address = lake, table, address
        self._schema = schema.remove_metadata()
        media = any(pa.types.is_binary(field.type) for field in schema)
        self._group_rows = MEDIA_GROUP_ROWS if media else PLAIN_GROUP_ROWS
        self._held: list[pa.Table] = []
        self._held_sizes_N: list[np.ndarray] = []
        self._rows = 0
        with ExitStack() as opened:
            if lake.remote:
                folder = opened.enter_context(scratch_folder("shard"))
            else:
                folder = lake.uri(layout.shard_folder(table, address))
            self._temporary = os.path.join(folder, temporary_name())
            opened.callback(_remove, self._temporary)
            with arrow_failures(self._temporary, "could not be written"):
                os.makedirs(folder, exist_ok=True)
                self._writer = open_writer(self._temporary, self._schema)
            self._opened = opened.pop_all()

    def write(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Add rows; columns are taken by name and cast to the shard's schema.

        Raises:
            ValueError: a column is missing, or null where the schema forbids it (pa.ArrowInvalid is a ValueError).
        """
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        missing = set(self._schema.names) - set(table.column_names)
        if missing:
            raise ValueError(f"rows for table {self._table} lack the columns {sorted(missing)}")
        table = table.select(self._schema.names).cast(self._schema)
        self._rows += len(table)
        self._held.append(table)
        self._held_sizes_N.append(_row_bytes(table))
        self._cut_groups(final=False)

    def finish(self, counts: Mapping[str, int]) -> ShardRef:
        """Close the file, put it in its place and say what it is.

        Raises:
            ValueError: the counts do not balance.
            StorageError: it could not be stored.
        """
        if (unbalanced := _imbalance(counts)) is not None:
            raise ValueError(f"shard {self._table}/{self._address}: {unbalanced}")
        self._cut_groups(final=True)
        self._writer.add_key_value_metadata(
            {_ADDRESS_KEY: self._address, _COUNTS_KEY: canonical_json(dict(counts)).decode()}
        )
        with arrow_failures(self._temporary, "could not be written"):
            self._writer.close()
            with open(self._temporary, "r+b") as file:
                seal(file)
                file.seek(0)
                sha256 = sha256_hex(iter(lambda: file.read(1 << 20), b""))
                size = file.tell()
        path = layout.shard_path(self._table, self._address, sha256)
        self._lake.storage.put_file(self._temporary, self._lake.uri(path))
        return ShardRef(
            address=self._address,
            table=self._table,
            path=path,
            rows=self._rows,
            bytes=size,
            sha256=sha256,
            counts=dict(counts),
        )

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._opened, arrow_failures(self._temporary, "could not be written"):
            self._writer.close()

    def _cut_groups(self, *, final: bool) -> None:
        """Write every row group whose end is known: the next row would pass the bytes or the row count."""
        sizes_N = np.concatenate(self._held_sizes_N) if self._held_sizes_N else np.zeros(0, np.int64)
        if not final and len(sizes_N) <= self._group_rows and sizes_N.sum() <= ROW_GROUP_BYTES:
            return
        held = pa.concat_tables(self._held) if self._held else self._schema.empty_table()
        start = 0
        while start < len(sizes_N):
            filled_N = np.cumsum(sizes_N[start : start + self._group_rows + 1])
            rows = max(1, min(int(np.searchsorted(filled_N, ROW_GROUP_BYTES, side="right")), self._group_rows))
            if start + rows >= len(sizes_N) and not final:
                break
            with arrow_failures(self._temporary, "could not be written"):
                self._writer.write_table(held.slice(start, rows).combine_chunks(), row_group_size=rows)
            start += rows
        self._held, self._held_sizes_N = [held.slice(start)], [sizes_N[start:]]


def read_shard(
    lake: Lake, ref: ShardRef | str, columns: Sequence[str] | None = None, *, verify: bool = False
) -> pa.Table:
    """Return the shard's rows, or some columns; `verify` re-hashes the file before. `ref` may be a lake-relative path.

    Raises:
        FileNotFoundError: there is no such shard.
        StorageError: it is damaged.
        ValueError: a column is unknown.
    """
    with _opened(lake, ref, verify=verify) as file:
        return file.read(columns=check_columns(file, columns), use_threads=False)


def iter_shard(
    lake: Lake,
    ref: ShardRef | str,
    columns: Sequence[str] | None = None,
    batch_rows: int = 64,
    *,
    verify: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Yield the shard's rows in batches, one row group (about 16 MiB) in memory at a time. Raise as `read_shard`."""
    with _opened(lake, ref, verify=verify) as file:
        yield from file.iter_batches(batch_size=batch_rows, columns=check_columns(file, columns), use_threads=False)


def take_rows(lake: Lake, ref: ShardRef | str, places: Sequence[int], columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows at some places, in the shard's order; only the row groups that hold them are read.

    Raises:
        FileNotFoundError, StorageError: as `read_shard`.
        ValueError: a column is unknown, or a place is not in the shard.
    """
    with _opened(lake, ref, verify=False) as file:
        names, wanted = check_columns(file, columns), np.unique(np.asarray(places, dtype=np.int64))
        ends = np.cumsum([file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)])
        if len(wanted) and (wanted[0] < 0 or wanted[-1] >= file.metadata.num_rows):
            raise ValueError(f"places {wanted[0]} to {wanted[-1]} of a shard of {file.metadata.num_rows} rows")
        groups = np.searchsorted(ends, wanted, side="right")
        found = [file.schema_arrow.empty_table().select(names or file.schema_arrow.names)]
        for group in np.unique(groups).tolist():
            start = int(ends[group - 1]) if group else 0
            part = file.read_row_group(group, columns=names, use_threads=False)
            found.append(part.take(pa.array(wanted[groups == group] - start)))
        return pa.concat_tables(found)


class ShardGroups:
    """The row groups of a shard, each read when it is asked for. `starts` has their first rows, and the end."""

    def __init__(self, lake: Lake, ref: ShardRef) -> None:
        """Raises: as `read_shard`."""
        self._lake, self._ref = lake, ref
        with _opened(lake, ref, verify=False) as file:
            rows = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        self.starts: list[int] = [0, *np.cumsum(rows, dtype=np.int64).tolist()]

    def find(self, row: int) -> tuple[int, int]:
        """Return the group that holds a row, and its place there."""
        group = bisect_right(self.starts, row) - 1
        return group, row - self.starts[group]

    def read(self, group: int) -> pa.Table:
        """Return the rows of a group. Raises as `read_shard`."""
        with _opened(self._lake, self._ref, verify=False) as file:
            return file.read_row_group(group, use_threads=False)


def find_finished(lake: Lake, table: str, wanted: Collection[str], *, verify: bool = False) -> dict[str, ShardRef]:
    """Return the wanted addresses that are finished already, by any run, committed or not.

    A truncated or wrong-sized file counts as not finished (with `verify`, so does one whose bytes changed). Files that
    are as they were when they were committed are not opened, unless `verify`.

    Raises:
        StorageError: two files of one address differ.
    """
    wanted = set(wanted)
    folders = sorted({address[:2] for address in wanted})
    if len(folders) > MAX_PREFIX_LISTINGS:
        folders = [""]  # one listing of all is cheaper than many small ones
    candidates = [
        (stat, *name)
        for folder in folders
        for stat in lake.list(table, folder)
        if (name := parse_shard_path(stat.uri)) is not None and name[0] in wanted
    ]

    known = Footers({}) if verify or len(candidates) <= FEW else Footers.load(lake, table)

    def examine(candidate: tuple[Stat, str, str]) -> ShardRef | None:
        stat, address, sha256 = candidate
        path = layout.shard_path(table, address, sha256)
        ref = known.find(path, stat)
        if ref is not None:
            return ref
        try:
            with _opened(lake, path, verify=verify) as file:
                return _ref_of(file.metadata, table, path, stat.size)
        except (StorageError, FileNotFoundError):
            return None

    finished: dict[str, ShardRef] = {}
    with ThreadPoolExecutor(max_workers=8) as pool:
        for ref in pool.map(examine, candidates):
            if ref is not None:
                require_same_bytes(finished.setdefault(ref.address, ref), ref)
    return finished


def verify_shard(lake: Lake, ref: ShardRef, *, hashed: bool = True) -> None:
    """Re-hash the file and check its footer: address, row count and conservation counts.

    Args:
        lake: holds the shard.
        ref: what the file must be.
        hashed: if False, the footer alone is checked.

    Raises:
        FileNotFoundError: it is gone.
        StorageError: anything does not fit.
    """
    with _opened(lake, ref, verify=hashed) as file:
        found = _ref_of(file.metadata, ref.table, ref.path, lake.storage.stat(lake.uri(ref.path)).size)
    if found != ref:
        raise StorageError(f"shard {ref.path} is not what the lake says: {found} instead of {ref}. {REMEDY}")
    if (unbalanced := _imbalance(found.counts)) is not None:
        raise StorageError(f"shard {ref.path}: {unbalanced}. {REMEDY}")


def require_same_bytes(one: ShardRef, other: ShardRef) -> None:
    """Raise StorageError when two shards of one address hold different bytes."""
    if one.sha256 != other.sha256:
        raise StorageError(
            f"One address has two contents: {one.address} in table {one.table}, sha256 {one.sha256} and "
            f"{other.sha256}. An op or model changed without a new version; find which, then delete the stray file"
        )


@contextmanager
def _opened(lake: Lake, ref: ShardRef | str, *, verify: bool) -> Iterator[pq.ParquetFile]:
    path = ref if isinstance(ref, str) else ref.path
    uri = lake.uri(path)
    if verify:
        name = parse_shard_path(path)
        found = sha256_hex(lake.storage.chunks(uri))
        if name is None or found != name[1]:
            raise StorageError(f"shard {uri} is damaged: its bytes have sha256 {found}. {REMEDY}")
    with open_sealed(lake.storage, uri) as file:
        yield file


def _ref_of(metadata: pq.FileMetaData, table: str, path: str, size: int) -> ShardRef:
    address, sha256 = parse_shard_path(path) or ("", "")
    footer = metadata.metadata or {}
    if footer.get(_ADDRESS_KEY.encode()) != address.encode():
        raise StorageError(f"shard {path} says in its footer that its address is another. {REMEDY}")
    counts = cast(Mapping[str, int], parse_object(footer[_COUNTS_KEY.encode()]))
    return ShardRef(
        address=address, table=table, path=path, rows=metadata.num_rows, bytes=size, sha256=sha256, counts=counts
    )


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _imbalance(counts: Mapping[str, int]) -> str | None:
    """Return what is wrong with conservation counts; None when they balance or are not of that kind."""
    if "rows_in" not in counts:
        return None
    entered = counts["rows_in"] + counts.get("fan_out", 0)
    left = counts["rows_kept"] + counts["rows_rejected"]
    return None if entered == left else f"{entered} rows in (fan-out included), but {left} kept or rejected"


def _row_bytes(table: pa.Table) -> np.ndarray:
    """Return approximate bytes of each row, int64 (N,): content of strings, binaries and lists, 8 for anything else."""
    total_N = np.zeros(len(table), np.int64)
    for column in table.columns:
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            sizes = pc.binary_length(column)
        elif pa.types.is_list(column.type):
            sizes = pc.multiply(pc.list_value_length(column), 8)
        else:
            total_N += 8
            continue
        total_N += pc.fill_null(sizes, 0).to_numpy().astype(np.int64)
    return total_N
