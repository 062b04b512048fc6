"""Find out whether any row of a Parquet file fills a column, by reading up to the first value: nulls cost nothing."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from trichord.transforms.collect.arrow_rows import records, type_at
from trichord.transforms.collect.field_map import get
from trichord.transforms.collect.tally import Tally, is_filled

MAX_FILES_OF_A_DEFAULT = 16  # files that are looked into for a field that the project does not name
_BYTES_AT_A_TIME = 16 << 20
_MOST_ROWS, _LEAST_ROWS = 4_096, 8


def see_schema(tally: Tally, schema: pa.Schema) -> None:
    """Take note of a schema's columns, nested ones by their path."""
    tally.see_columns(column_names(schema))
    tally.present.update(name for name, column in tally.map if type_at(schema, column) is not None)


def probe(
    tally: Tally,
    file: pq.ParquetFile,
    named: frozenset[str],
    looked_at: int,
    constants: Mapping[str, object] | None = None,
) -> None:
    """Look for a filled row of every field that no earlier file fills.

    Args:
        named: the fields that the project names; they are looked for in every file, others in the first ones.
        looked_at: how many files were looked into before.
        constants: columns that are not in the file, with their one value.
    """
    schema, rows = file.schema_arrow, file.metadata.num_rows
    for name, column in tally.map:
        found = type_at(schema, column)
        if constants is not None and column in constants:
            tally.found.update([name] if is_filled(constants[column]) else [])
        elif found is None:
            tally.lacking[name] += rows
        elif name in tally.found or not rows:
            continue
        elif name not in named and looked_at >= MAX_FILES_OF_A_DEFAULT:
            tally.open.add(name)
        elif _is_filled(file, column, found):
            tally.found.add(name)


def column_names(schema: pa.Schema) -> list[str]:
    """Return the names of a schema's columns, each followed by those nested in it by their path."""
    return [name for field in schema for name in _names(field, "")]


def _names(field: pa.Field, before: str) -> list[str]:
    name = f"{before}{field.name}"
    if not pt.is_struct(field.type):
        return [name]
    return [name, *(inner for i in range(field.type.num_fields) for inner in _names(field.type.field(i), f"{name}."))]


def _is_filled(file: pq.ParquetFile, column: str, found: pa.DataType) -> bool:
    if pt.is_null(found):
        return False
    if pt.is_struct(found) and found.get_field_index("bytes") >= 0:
        column = f"{column}.bytes"  # of Hugging Face's {bytes, path}: a path alone is not a picture
    metadata = file.metadata
    size = sum(max(0, metadata.row_group(i).total_byte_size) for i in range(metadata.num_row_groups))
    step = max(_LEAST_ROWS, min(_MOST_ROWS, _BYTES_AT_A_TIME * metadata.num_rows // max(1, size)))
    for batch in file.iter_batches(step, columns=[column], use_threads=False):
        if all(part.null_count == len(part) for part in batch.columns):
            continue
        if any(is_filled(get(record, column)) for record in records(batch)):
            return True
    return False
