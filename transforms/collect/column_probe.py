"""Find out what is in a column of a Parquet file without reading the file: whether it is filled, and its marks.

Whether any row fills a column takes reading up to the first value: nulls cost nothing. Marks are few words in long
runs, so statistics or dictionaries mostly show them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from trichord.infra.errors import SourceError
from trichord.infra.lazy import arrow_compute as pc
from trichord.transforms.collect.arrow_rows import records, type_at
from trichord.transforms.collect.field_map import get
from trichord.transforms.collect.naming import show
from trichord.transforms.collect.tally import Tally, is_filled

MAX_FILES_OF_A_DEFAULT = 16  # files that are looked into for a field that the project does not name
MAX_MARK_ROWS = 4_000_000  # of a source, whose marks planning reads; `reindex` counts those of all rows
_MARK_ROWS = 65_536  # at a time
EXACT_CHARS = 32  # longer words may be cut in statistics
_BYTES_AT_A_TIME = 16 << 20
_MOST_ROWS, _LEAST_ROWS = 4_096, 8


def see_schema(tally: Tally, schema: pa.Schema, where: str) -> None:
    """Take note of the columns of a schema, which is that of `where`, nested ones by their path.

    Raises:
        SourceError: two columns have one name.
    """
    repeated = next((name for name, times in Counter(schema.names).items() if times > 1), None)
    if repeated is not None:
        raise SourceError(f"{where}: several columns have the name {show(repeated)}. Rename or remove all but one")
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


def count_marks(tally: Tally, file: pq.ParquetFile, constants: Mapping[str, object] | None = None) -> None:
    """Add the train/test marks of a file's rows to `tally.marks`."""
    column, rows = dict(tally.map).get("subset"), file.metadata.num_rows
    if column is None:
        return
    if constants is not None and column in constants:
        tally.see_mark(constants[column], rows)
        return
    if type_at(file.schema_arrow, column) is None:
        return
    for group in range(file.metadata.num_row_groups):
        one = _only_value(file.metadata.row_group(group), column)
        if one is not None:
            tally.see_mark(one, file.metadata.row_group(group).num_rows)
            continue
        tally.marks_read += file.metadata.row_group(group).num_rows
        if tally.marks_read > MAX_MARK_ROWS:
            return
        for batch in file.iter_batches(_MARK_ROWS, row_groups=[group], columns=[column], use_threads=False):
            for value, count in _count_values(batch, column):
                tally.see_mark(value, count)


def _only_value(group: pq.RowGroupMetaData, column: str) -> str | None:
    """Return the value of all rows of a row group, if its statistics say that they have the same word."""
    for place in range(group.num_columns):
        chunk = group.column(place)
        if chunk.path_in_schema == column:
            found = chunk.statistics if chunk.is_stats_set else None
            if found is None or not found.has_min_max or not found.has_null_count or found.null_count:
                return None
            same = isinstance(found.min, str) and found.min == found.max and len(found.min) < EXACT_CHARS
            return found.min if same else None
    return None


def _count_values(batch: pa.RecordBatch, column: str) -> list[tuple[object, int]]:
    values = batch.column(0)
    try:
        for name in column.split(".")[1:] if column not in batch.schema.names else ():
            values = pc.struct_field(values, name)
        counted = pc.value_counts(values).to_pylist()
    except (pa.ArrowException, ValueError, OverflowError):  # lists, times out of range: no names, so rejects
        return []
    return [(one["values"], one["counts"]) for one in counted]


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
