"""Small sealed Parquet files of the lake: caches that are read and written as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from trichord.infra.lake.lake import Lake
from trichord.infra.lake.seal import require_seal, seal_bytes


def read_sealed(lake: Lake, path: str, columns: Sequence[str] | None = None) -> pa.Table | None:
    """Return a file's table, or some columns; None if it is missing or damaged."""
    try:
        data = lake.read(path)
        require_seal(data)
        with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
            return file.read(columns, use_threads=False)
    except (FileNotFoundError, pa.ArrowException, OSError, ValueError):
        return None


def sealed(table: pa.Table) -> bytes:
    """Return the bytes of a sealed file that holds a table."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return seal_bytes(sink.getvalue().to_pybytes())


def write_sealed(lake: Lake, path: str, table: pa.Table) -> None:
    """Write a table to a file, unless it holds it already."""
    data = sealed(table)
    try:
        if lake.read(path) == data:
            return
    except FileNotFoundError:
        pass
    lake.write(path, data)
