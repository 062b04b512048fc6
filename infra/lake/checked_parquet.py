"""Sealed Parquet: our settings of the format, and a reader that refuses damage instead of passing it on.

Parquet's checksums cover pages but not the footer, and one flipped footer bit can abort the process inside the reader
(measured). So the 32 bytes before the footer hold its SHA-256, which is checked before Parquet sees the file. Other
Parquet readers do not look there. Damage of any kind is a StorageError.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import pyarrow as pa
import pyarrow.parquet as pq

from trichord.infra.errors import StorageError
from trichord.infra.lake.seal import check_seal
from trichord.infra.lake.storage import Storage, is_remote
from trichord.infra.system_errors import as_storage_error

REMEDY = "Run `trichord recover`"


def open_writer(path: str, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a writer whose bytes follow from schema, rows and row-group cuts alone. `seal` the closed file."""
    media = {field.name for field in schema if pa.types.is_binary(field.type)}
    return pq.ParquetWriter(
        path,
        schema,
        # pictures, sounds and hashes cannot be packed any further: trying costs more than all other columns
        compression={leaf: "none" if leaf in media else "zstd" for leaf in _leaves(schema)},
        compression_level={leaf: 1 for leaf in _leaves(schema) if leaf not in media},
        write_page_checksum=True,
        use_dictionary=[field.name for field in schema if pa.types.is_string(field.type)],
        write_statistics=[field.name for field in schema if field.name not in media],
    )


@lru_cache(maxsize=16)
def _leaves(schema: pa.Schema) -> tuple[str, ...]:
    """Return the columns as Parquet divides them: `captions` is `captions.list.element` there."""
    sink = pa.BufferOutputStream()
    pq.write_metadata(schema, sink)
    with pq.ParquetFile(pa.BufferReader(sink.getvalue())) as file:
        return tuple(file.schema.column(i).path for i in range(len(file.schema)))


def has_seal(storage: Storage, uri: str) -> bool:
    """Return True if there is such a file and its footer and length are whole; its pages are not read."""
    try:
        with open_sealed(storage, uri):
            return True
    except (FileNotFoundError, StorageError):
        return False


def is_whole(storage: Storage, uri: str) -> bool:
    """Return True if there is such a file, and its footer, length and every page are whole."""
    try:
        with open_sealed(storage, uri) as file:
            for group in range(file.num_row_groups):
                file.read_row_group(group, use_threads=False)
            return True
    except (FileNotFoundError, StorageError):
        return False


@contextmanager
def open_sealed(storage: Storage, uri: str) -> Iterator[pq.ParquetFile]:
    """Open the file: its footer and length are checked, and its pages as they are read.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: it is damaged.
    """
    with storage.open(uri) as raw, arrow_failures(uri, "is damaged"):
        check_seal(raw)
        with pq.ParquetFile(raw, page_checksum_verification=True, pre_buffer=is_remote(uri)) as file:
            _require_whole(file.metadata, raw.seek(0, os.SEEK_END))
            yield file


@contextmanager
def arrow_failures(uri: str, what: str) -> Iterator[None]:
    """Translate what Arrow and the file system raise to a StorageError that says `what` happened to the shard."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        known = as_storage_error(error, f"shard {uri} {what}")
        if known is not None:
            raise known from error
        raise StorageError(f"shard {uri} {what}: {' '.join(str(error).splitlines()[:1])}. {REMEDY}") from error


def check_columns(file: pq.ParquetFile, columns: Sequence[str] | None) -> list[str] | None:
    """Return the columns to read; ValueError for an unknown one, which pyarrow would leave out silently."""
    if columns is None:
        return None
    unknown = set(columns) - set(file.schema_arrow.names)
    if unknown:
        raise ValueError(f"no columns {sorted(unknown)}; there are {file.schema_arrow.names}")
    return list(columns)


def _require_whole(metadata: pq.FileMetaData, size: int) -> None:
    """Raise ArrowInvalid unless column chunks, seal and footer fill the file exactly."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    pages = sum(group.column(index).total_compressed_size for group in groups for index in range(metadata.num_columns))
    expected = 4 + pages + 32 + metadata.serialized_size + 8
    if expected != size:
        raise pa.ArrowInvalid(f"its parts make {expected} bytes, the file has {size}")
