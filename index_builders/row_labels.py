"""The keys file of an index shard: what the row numbers of its index mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from trichord.index_builders.base import Scalar, meta_column, scalar_text
from trichord.index_builders.hashed_files import REMEDY, FileRef, open_verified, put_hashed
from trichord.index_builders.manifest import IndexShard
from trichord.infra.errors import StorageError
from trichord.infra.json_values import parse_object
from trichord.infra.lake.lake import Lake
from trichord.infra.lazy import arrow_compute as pc
from trichord.infra.plain_arrow import strings

KEYS = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("key", "view", "source", "row_digest", "partition")]
)


def keys_schema(fields: Sequence[str]) -> pa.Schema:
    """Return `KEYS` and a column for each of these fields of the metadata (`base.meta_column`), null where absent."""
    return pa.schema([*KEYS, *(pa.field(meta_column(name), pa.string()) for name in fields)])


def label_rows(vectors: pa.Table, fields: Sequence[str]) -> pa.Table:
    """Return the keys of a table of vectors (`keys_schema`)."""
    columns = {name: vectors[name] for name in KEYS.names}
    if fields:
        given, which = read_distinct_scalars(vectors["meta"], fields)
        for name in fields:
            texts = [scalar_text(values[name]) if name in values else None for values in given]
            columns[meta_column(name)] = pa.array(texts, pa.string()).take(which)
    return pa.table(columns).cast(keys_schema(fields))


def read_distinct_scalars(meta: pa.ChunkedArray, fields: Sequence[str]) -> tuple[list[dict[str, Scalar]], pa.Array]:
    """Return `scalars` of every different text of a column `meta`, and which of them each row has."""
    coded = meta.combine_chunks().dictionary_encode()
    return [scalars(text, fields) for text in coded.dictionary.to_pylist()], coded.indices


def scalars(meta: str, fields: Sequence[str]) -> dict[str, Scalar]:
    """Return those of the fields of a record's metadata (JSON) that are words, numbers, true or false."""
    given = parse_object(meta)
    return {name: value for name in fields if isinstance(value := given.get(name), str | int | float)}


def write_keys(lake: Lake, address: str, keys: pa.Table) -> FileRef:
    """Write a keys table (`keys_schema`, in row order) under its content address."""
    sink = pa.BufferOutputStream()
    pq.write_table(keys, sink, compression="zstd", write_page_checksum=True, row_group_size=65_536)
    return put_hashed(lake, address, "keys.parquet", lambda write: write(sink.getvalue().to_pybytes()))


def read_keys(lake: Lake, shard: IndexShard) -> pa.Table:
    """Return a shard's verified keys table: row number -> key, view, source, row_digest, partition, metadata fields.

    Raises:
        StorageError: the file is missing or damaged, or holds another number of rows than the shard.
    """
    with open_verified(lake, shard.keys) as file:
        return parse_keys(file, shard)


def parse_keys(file: BinaryIO, shard: IndexShard) -> pa.Table:
    """Read an opened keys file. Raise StorageError if it holds another number of rows than the shard."""
    table = pq.ParquetFile(file, page_checksum_verification=True).read(use_threads=False)
    if table.num_rows != shard.rows:
        raise StorageError(f"{shard.keys.path} names {table.num_rows} rows; the index holds {shard.rows}. {REMEDY}")
    return table


def count_keys(keys: pa.Table) -> dict[str, int]:
    """Count the rows by `view:<view>` and by `source:<source>`."""
    counted = {
        f"{name}:{found['values']}": found["counts"]
        for name in ("view", "source")
        for found in pc.value_counts(keys.column(name)).to_pylist()
    }
    return dict(sorted(counted.items()))


def check_keys(keys: pa.Table, views: Sequence[str]) -> None:
    """Refuse rows of another view, and a (key, view) that is there twice. Raise StorageError."""
    foreign = pc.invert(pc.is_in(keys["view"], value_set=pa.array(views, pa.string())))
    joined = pc.binary_join_element_wise(keys["key"], keys["view"], "\x1f")
    if pc.any(foreign).as_py():
        row, fault = keys.filter(foreign).slice(0, 1), f"is of none of the views {views}"
    elif len(pc.unique(joined)) < keys.num_rows:
        counted = pc.value_counts(joined)
        repeated = counted.filter(pc.greater(counted.field("counts"), 1))[0]["values"].as_py()
        row, fault = keys.filter(pc.equal(joined, repeated)).slice(0, 1), "is in the vectors twice"
    else:
        return
    key, view = row["key"][0].as_py(), row["view"][0].as_py()
    raise StorageError(f"Key {key!r}, view {view!r} {fault}. Run `trichord reindex`.")


def find_partitions(labels: Iterable[pa.Table], keys: Iterable[str]) -> dict[str, str]:
    """Return the partition of each of these keys that is in one of the keys tables."""
    wanted = strings(sorted(set(keys)))
    partitions: dict[str, str] = {}
    for table in labels:
        rows = table.filter(pc.is_in(table.column("key"), value_set=wanted))
        partitions |= dict(zip(rows.column("key").to_pylist(), rows.column("partition").to_pylist(), strict=True))
    return partitions
