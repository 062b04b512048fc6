"""Parquet files of a source: opened with their footers checked, and read in bounded memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from trichord.infra.errors import SourceError
from trichord.infra.lake.storage import Storage
from trichord.infra.lake.stores import require_unchanged
from trichord.infra.lazy import arrow_compute as pc

_READ_BYTES = 1 << 20  # of a column at a time
_MAX_SMALL_ROWS_BYTES = 32 << 20  # of rows as they are read, whatever the footer says
MAX_ROWS_PER_BYTE = 4  # rows of two bits have no content
_MAX_SMALL_BYTES, _MAX_RATIO = 256 << 20, 200  # a file that exceeds both when unpacked is a bomb


@contextmanager
def open_parquet(storage: Storage, uri: str, *, shown: str | None = None) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file whose footer is checked; its pages are checked if they have checksums.

    Args:
        storage: where it is.
        uri: of the file.
        shown: what messages name, where `uri` is that of a copy.

    Raises:
        SourceError: it is damaged or not a Parquet file, even if that only shows while the block reads it.
    """
    try:
        with storage.open(uri) as raw, require_unchanged(raw, uri):
            size = raw.seek(0, io.SEEK_END)
            raw.seek(0)
            with pq.ParquetFile(
                raw,
                pre_buffer=False,
                buffer_size=_READ_BYTES,
                page_checksum_verification=True,
                thrift_string_size_limit=64 << 20,
                thrift_container_size_limit=1 << 20,
            ) as file:
                _check(file.metadata, size)
                yield file
    except FileNotFoundError as error:
        raise SourceError(f"{shown or uri}: there is no such file. Run the command again") from error
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        detail = " ".join(str(error).splitlines()[:1])
        raise SourceError(
            f"{shown or uri} is damaged or not a Parquet file ({detail[:300]}). Fix or remove it"
        ) from error


def refuse_bomb(size: int, unpacked: int, small: int) -> None:
    """Raise ValueError if a file of `size` bytes unpacks to far more; as many bytes as are `small` may come of any."""
    if unpacked > small and unpacked > _MAX_RATIO * size:
        raise ValueError(f"{size} bytes that unpack to {unpacked} or more")


def _check(metadata: pq.FileMetaData, size: int) -> None:
    """Refuse footers that contradict the file, and files that unpack to far more than their size.

    Column chunks are not checked: with damaged metadata, pyarrow would end the process here; its reader does not.
    """
    if metadata.num_rows > size * MAX_ROWS_PER_BYTE:
        raise ValueError(f"{metadata.num_rows} rows in {size} bytes")
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    if any(group.num_rows < 0 for group in groups) or sum(group.num_rows for group in groups) != metadata.num_rows:
        raise ValueError("its row groups do not add up to its rows")
    refuse_bomb(size, sum(max(0, group.total_byte_size) for group in groups), _MAX_SMALL_BYTES)


def bounded(batches: Iterator[pa.RecordBatch], size: int) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a file of `size` bytes, unless they unpack to far more.

    The footer does not say it: with a dictionary, a value that all rows share is counted once.
    """
    unpacked = 0
    for batch in batches:
        unpacked += batch.nbytes + sum(map(_shared_bytes, batch.columns))
        refuse_bomb(size, unpacked, _MAX_SMALL_ROWS_BYTES)
        yield batch


def _shared_bytes(column: pa.Array) -> int:
    """Return the bytes of a column's values where its rows share them; 0 for other columns."""
    if not isinstance(column, pa.DictionaryArray):
        return 0
    try:
        lengths = pc.binary_length(column.dictionary)
    except pa.ArrowNotImplementedError:  # numbers: small
        return 0
    return int(pc.sum(lengths.take(column.indices).cast(pa.int64())).as_py() or 0)
