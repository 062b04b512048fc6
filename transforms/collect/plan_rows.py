"""Planned rows on their way to a plan: in files, each sorted by the hash of the key, so that memory holds one of them.

A file of rows ("run") is an Arrow file. It is made by whatever reads a part of a source, and read by whatever writes a
part of the plan: both need only a range of hashes at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trichord.infra import digest
from trichord.infra.lake.stores import temporary_name
from trichord.infra.plain_arrow import numbers, strings, values_of
from trichord.transforms.collect.partitions import DIGEST_BYTES, PLAN, Columns, PlannedRow, digest_of

BUCKET_BITS = 12  # a run knows how many of its rows have which leading bits
RUN_ROWS, RUN_BYTES = 65_536, 64 << 20
RUNS_TO_MERGE = 128  # of one size: each is an open file, and is asked for each range
_BATCH_ROWS = 4_096
_SHIFT = np.uint64(64 - BUCKET_BITS)
_RUN = pa.schema(
    [
        ("hash", pa.uint64()),
        ("digest", pa.binary(DIGEST_BYTES)),
        ("size", pa.int64()),  # bytes of the columns that follow
        *((name, pa.large_string()) for name in PLAN.names),
    ]
)


@dataclass(frozen=True, slots=True)
class Run:
    """A file of rows. `starts` says where the rows of each bucket begin, and ends with their number."""

    path: str
    starts: npt.NDArray[np.int64]
    merges: int = 0  # how often its rows were merged


class RunWriter:
    """Writes planned rows to runs in a folder. Many runs are merged: few are left of any number of rows."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.runs: list[Run] = []
        self._forget()

    def _forget(self) -> None:
        self._hashes: list[int] = []
        self._digests: list[bytes] = []
        self._sizes: list[int] = []
        self._columns: list[Columns] = []
        self._bytes = 0

    def add(self, row: PlannedRow) -> None:
        """Add a row."""
        self.add_columns(row.columns())

    def add_columns(self, columns: Columns) -> None:
        """Add a row by its columns."""
        size = sum(len(column) for column in columns if column is not None)
        self._hashes.append(digest.hash64(columns[0]))
        self._digests.append(digest_of(columns))
        self._sizes.append(size)
        self._columns.append(columns)
        self._bytes += size
        if len(self._hashes) >= RUN_ROWS or self._bytes >= RUN_BYTES:
            self.flush()

    def add_run(self, data: bytes) -> None:
        """Add the bytes of a run that another writer made."""
        path = os.path.join(self._folder, temporary_name())
        with open(path, "wb") as file:
            file.write(data)
        reader = pa.ipc.open_file(pa.BufferReader(data))
        hashes = [values_of(reader.get_batch(i)["hash"], np.uint64) for i in range(reader.num_record_batches)]
        self._append(Run(path, _starts(np.concatenate(hashes))))

    def flush(self) -> None:
        """Write the rows that memory still holds."""
        if not self._hashes:
            return
        hashes_N = np.array(self._hashes, np.uint64)
        order_N = np.argsort(hashes_N, kind="stable")
        hashes_N, order = hashes_N[order_N], order_N.tolist()
        digests = pa.py_buffer(b"".join([self._digests[i] for i in order]))
        arrays = [
            numbers(hashes_N),
            pa.Array.from_buffers(pa.binary(DIGEST_BYTES), len(order), [None, digests]),
            numbers(np.array(self._sizes, np.int64)[order_N]),
        ]
        arrays += [strings(column, large=True) for column in zip(*[self._columns[i] for i in order], strict=True)]
        self._forget()
        path = os.path.join(self._folder, temporary_name())
        with pa.ipc.new_file(path, _RUN) as writer:
            writer.write_table(pa.table(arrays, schema=_RUN), max_chunksize=_BATCH_ROWS)
        self._append(Run(path, _starts(hashes_N)))

    def _append(self, run: Run) -> None:
        self.runs.append(run)
        alike = [one for one in self.runs if one.merges == run.merges]
        if len(alike) >= RUNS_TO_MERGE:
            self.runs = [one for one in self.runs if one.merges != run.merges]
            self._append(self._merge(alike))

    def _merge(self, runs: Sequence[Run]) -> Run:
        """Return one run with the rows of all of these, whose files are removed."""
        path, held = os.path.join(self._folder, temporary_name()), list[pa.Table]()
        with open_runs(runs) as opened, pa.ipc.new_file(path, _RUN) as writer:
            counts = opened.counts
            for low, high in _ranges(counts, RUN_ROWS):
                rows = opened.read(low << int(_SHIFT), high << int(_SHIFT), _RUN.names)
                order_N = np.argsort(values_of(rows["hash"], np.uint64), kind="stable")
                held = [pa.concat_tables([*held, rows.take(numbers(order_N))]).combine_chunks()]
                whole = len(held[0]) // _BATCH_ROWS * _BATCH_ROWS
                writer.write_table(held[0].slice(0, whole), max_chunksize=_BATCH_ROWS)
                held = [held[0].slice(whole)]
            for rest in held:
                writer.write_table(rest, max_chunksize=_BATCH_ROWS)
        for run in runs:
            os.unlink(run.path)
        return Run(path, np.concatenate([[0], np.cumsum(counts)]), runs[0].merges + 1)


def _ranges(counts: npt.NDArray[np.int64], limit: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of buckets with at most `limit` rows together, or one with more."""
    first, held = 0, 0
    for bucket, count in enumerate(counts.tolist()):
        if held and held + count > limit:
            yield first, bucket
            first, held = bucket, 0
        held += count
    if held:
        yield first, len(counts)


def _starts(hashes_N: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return where the rows of each bucket begin in sorted hashes, and how many they are."""
    return np.searchsorted((hashes_N >> _SHIFT).astype(np.int64), np.arange(2**BUCKET_BITS + 1))


class Runs:
    """Reads ranges of hashes from all runs at once."""

    def __init__(self, opened: Sequence[tuple[Run, pa.ipc.RecordBatchFileReader]]) -> None:
        self._opened = opened

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many rows are in each bucket."""
        return sum((np.diff(run.starts) for run, _ in self._opened), np.zeros(2**BUCKET_BITS, np.int64))

    def read(self, low: int, high: int, columns: Sequence[str]) -> pa.Table:
        """Return columns of the rows whose hash is at least `low` and below `high`, run after run."""
        schema = pa.schema([_RUN.field(name) for name in columns])
        found = [pa.Table.from_batches([], schema)]
        for run, reader in self._opened:
            start, stop = run.starts[low >> int(_SHIFT)], run.starts[(high - 1 >> int(_SHIFT)) + 1]
            for number in range(start // _BATCH_ROWS, -(-stop // _BATCH_ROWS)):
                batch = reader.get_batch(number)
                hashes_N = values_of(batch["hash"], np.uint64)
                first = np.searchsorted(hashes_N, np.uint64(low))
                last = np.searchsorted(hashes_N, np.uint64(high - 1), side="right")
                if first < last:
                    found.append(pa.Table.from_batches([batch.select(columns).slice(first, last - first)]))
        return pa.concat_tables(found)


@contextmanager
def open_runs(runs: Sequence[Run]) -> Iterator[Runs]:
    """Open runs for reading."""
    with ExitStack() as stack:
        files = [stack.enter_context(pa.memory_map(run.path)) for run in runs]
        yield Runs([(run, pa.ipc.open_file(file)) for run, file in zip(runs, files, strict=True)])
