"""Rows of a collection, as the client takes and returns them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trichord.infra.json_values import JsonObject, parse_object

READ_BACK = ("key", "row_digest", "meta", "vector")


class Row(TypedDict):
    """A row to be stored; `vector` is float32 (D,)."""

    id: str
    key: str
    view: str
    source: str
    partition: str
    row_digest: str
    meta: JsonObject
    vector: np.ndarray


class StoredRow(TypedDict, total=False):
    """The fields of a row that a query asked for."""

    id: str
    key: str
    view: str
    source: str
    partition: str
    row_digest: str
    meta: JsonObject
    vector: Sequence[float]


class FoundRow(TypedDict):
    """A row that a search found, with its inner product and the labels asked for."""

    distance: float
    entity: dict[str, str]


def import_batches(file: BinaryIO, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of an opened import file, this many at a time."""
    parquet = pq.ParquetFile(file, page_checksum_verification=True)
    yield from parquet.iter_batches(batch_size=rows, use_threads=False)


def parse_rows(batch: pa.RecordBatch) -> list[Row]:
    """Return the rows of a batch of an import file."""
    vectors = batch.column("vector").flatten().to_numpy(zero_copy_only=False).reshape(batch.num_rows, -1)
    labels = batch.drop_columns(["vector"]).to_pylist()
    return [
        Row(
            id=row["id"],
            key=row["key"],
            view=row["view"],
            source=row["source"],
            partition=row["partition"],
            row_digest=row["row_digest"],
            meta=parse_object(row["meta"]),
            vector=vector,
        )
        for row, vector in zip(labels, vectors, strict=True)
    ]


def reads_back(row: Row, stored: StoredRow | None) -> bool:
    """Return True where a stored row, fetched with the fields `READ_BACK`, is the one that was written."""
    if stored is None:
        return False
    labels = (stored["key"], stored["row_digest"], stored["meta"])
    return labels == (row["key"], row["row_digest"], row["meta"]) and np.array_equal(
        np.asarray(stored["vector"], np.float32), row["vector"]
    )
