"""The first rows of a table that `init` looks at: a bounded number of them, of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from trichord.infra.config import DeltaSource, FieldMap, ManifestSource, ParquetSource
from trichord.infra.lake.storage import Stat, Storage
from trichord.transforms.collect.arrow_rows import records
from trichord.transforms.collect.data_files import PARQUET_ENDINGS, data_files
from trichord.transforms.collect.delta import plan_delta
from trichord.transforms.collect.drafts import Draft
from trichord.transforms.collect.manifest import manifest_records
from trichord.transforms.collect.parquet_file import open_parquet
from trichord.transforms.collect.partitions import Partition

MAX_ROWS = 10_000
MAX_BYTES = 64 << 20
_ROWS_WITH_MEDIA = 32
_AT_A_TIME = 8

Rows = list[dict[str, Any]]


def manifest_rows(source: ManifestSource, storage: Storage) -> tuple[Rows, list[Draft]]:
    """Rows of a JSONL, CSV or TSV file by the manifest's own reader, and what is not a row.

    Raises:
        SourceError: the file cannot be read as a table.
    """
    rows, bad, size = Rows(), list[Draft](), 0
    for found in manifest_records(source, storage):
        if isinstance(found, Draft):
            bad.append(found)
        else:
            rows.append(found[0])
            size += len(found[1])
        if len(rows) + len(bad) >= MAX_ROWS or size > MAX_BYTES:
            break
    return rows, bad


def parquet_rows(source: ParquetSource, storage: Storage) -> tuple[Rows, str]:
    """Rows of the first file, and its URI. Columns with media in bytes are in the first rows only.

    Raises:
        SourceError: there is no file, or it is damaged.
    """
    first = data_files(source, storage, PARQUET_ENDINGS)[0].uri
    return list(_file_rows(storage, first)), first


def delta_rows(source: DeltaSource, storage: Storage) -> Rows:
    """Rows of a Delta table's first data file.

    Raises:
        SourceError: the table cannot be read.
    """
    by_position = FieldMap(key="#row", image=None, audio=None)
    for partition in plan_delta(source.model_copy(update={"fields": by_position}), storage):
        if isinstance(partition, Partition) and partition.part is not None:
            constants = dict(partition.part.constants)
            uri = storage.join(source.path, partition.part.path)
            return [{**row, **constants} for row in _file_rows(storage, uri)]
    return []


def _file_rows(storage: Storage, uri: str) -> Iterator[dict[str, Any]]:
    """The first rows whole; behind them, up to a bound, the columns that are neither nested nor bytes."""
    count = size = 0
    with open_parquet(storage, uri) as file:
        for batch in file.iter_batches(_AT_A_TIME, use_threads=False):
            size += batch.nbytes
            for row in records(batch):
                yield row
                count += 1
            if count >= _ROWS_WITH_MEDIA or size > MAX_BYTES:
                break
        names = [field.name for field in file.schema_arrow if _is_plain(field)]
        if count < _ROWS_WITH_MEDIA or not names:
            return
        seen = 0
        for batch in file.iter_batches(_ROWS_WITH_MEDIA, columns=names, use_threads=False):
            size += batch.nbytes
            seen += batch.num_rows
            if seen > count:
                for row in list(records(batch))[max(0, count - (seen - batch.num_rows)) :]:
                    yield row
            if seen >= MAX_ROWS or size > MAX_BYTES:
                break


def _is_plain(field: pa.Field) -> bool:
    return not field.type.num_fields and "binary" not in str(field.type) and "." not in field.name


class BoundedStorage(Storage):
    """Storage whose listings end after a number of files, so that a look at a huge folder stays short."""

    MAX_FILES = 20_000

    def list(
        self, prefix_uri: str, *, temporary: bool = False, beginnings: Sequence[str] | None = None
    ) -> Iterator[Stat]:
        """The first files below a folder, as `Storage.list` lists them."""
        for number, stat in enumerate(super().list(prefix_uri, temporary=temporary, beginnings=beginnings)):
            if number == self.MAX_FILES:
                return
            yield stat
