"""What `Engine.group` does to rows, the same on every engine: route by key, merge and sort, give back in order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

import numpy as np

from trichord.infra.digest import hash64
from trichord.infra.engines.base import Done, Failed, I, R
from trichord.infra.engines.failure import Failure
from trichord.infra.errors import TrichordError

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_KEY = "group_key"


def partition(table: pa.Table, buckets: int) -> dict[int, pa.Table]:
    """Return the table's rows by bucket, `hash64(group_key) % buckets`; only buckets that have rows.

    Raises:
        ValueError: there is no string column `group_key`, or it has nulls.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if GROUP_KEY not in table.column_names or not pa.types.is_string(table[GROUP_KEY].type):
        raise ValueError(f"a grouped table needs a string column {GROUP_KEY!r}; it has {table.schema.names}")
    if table[GROUP_KEY].null_count:
        raise ValueError(f"{GROUP_KEY!r} is null in {table[GROUP_KEY].null_count} rows")
    if len(table) == 0:
        return {}
    keys = pc.dictionary_encode(table[GROUP_KEY]).combine_chunks()
    bucket_of_key = np.array([hash64(key) % buckets for key in keys.dictionary.to_pylist()], np.int64)
    bucket_of_row_N = bucket_of_key[keys.indices.to_numpy()]
    order_N = np.argsort(bucket_of_row_N, kind="stable")
    present, starts = np.unique(bucket_of_row_N[order_N], return_index=True)
    ends = [*starts[1:], len(order_N)]
    ordered = table.combine_chunks().take(pa.array(order_N))
    return {
        int(bucket): ordered.slice(start, end - start) for bucket, start, end in zip(present, starts, ends, strict=True)
    }


def merge(tables: Iterable[pa.Table]) -> pa.Table:
    """Return a bucket's rows as one table, sorted by `group_key`, then the other columns: it depends on them alone."""
    import pyarrow as pa

    table = pa.concat_tables(tables)
    columns = [GROUP_KEY, *(name for name in table.column_names if name != GROUP_KEY)]
    return table.sort_by([(name, "ascending") for name in columns]).combine_chunks()


def results_in_order(outcomes: Generator[Done[tuple[int, I], R] | Failed[tuple[int, I]], None, None]) -> Iterator[R]:
    """Yield results of items (position, ...) in the order of positions 0, 1, 2, ...

    However it ends, `outcomes` is closed: no worker still writes to what the caller then removes.

    Raises:
        TrichordError: the error of ours that one of them met; PartialRun for any other failure.
    """
    held: dict[int, R] = {}
    position = 0
    with closing(outcomes):
        for outcome in outcomes:
            if isinstance(outcome, Failed):
                raise group_failed(outcome.item[1], outcome.failure)
            held[outcome.item[0]] = outcome.result
            while position in held:
                yield held.pop(position)
                position += 1


def group_failed(item: object, failure: Failure) -> TrichordError:
    """Return the error of a group of which one item or bucket failed."""
    return failure.error(f"grouping failed at {item!r} ({failure.kind}): {failure}")


def require_buckets(items: Sequence[object], buckets: int) -> None:
    """Raise ValueError unless there is at least one bucket."""
    if buckets < 1:
        raise ValueError(f"group needs at least one bucket, not {buckets} (for {len(items)} items)")


@dataclass(frozen=True, slots=True)
class EmitStreams(Generic[I]):
    """What an item emits, as one Arrow stream a bucket."""

    emit: Callable[[I], pa.Table]
    buckets: int

    def __call__(self, item: I) -> dict[int, bytes]:
        import pyarrow as pa

        streams: dict[int, bytes] = {}
        for bucket, rows in partition(self.emit(item), self.buckets).items():
            out = pa.BufferOutputStream()
            with pa.ipc.new_stream(out, rows.schema) as writer:
                writer.write_table(rows)
            streams[bucket] = out.getvalue().to_pybytes()
        return streams


@dataclass(frozen=True, slots=True)
class ReduceStreams(Generic[R]):
    """Reduces one bucket's streams."""

    reduce: Callable[[pa.Table], R]

    def __call__(self, streams: Sequence[bytes]) -> R:
        import pyarrow as pa

        return self.reduce(merge(pa.ipc.open_stream(stream).read_all() for stream in streams))
