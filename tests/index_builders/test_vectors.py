"""Nothing unsound gets into an index, and the training sample is a function of the rows alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from tests.index_builders.corpus import SPACE, tables, unit, vector_table
from trichord.index_builders.vectors import stratified_sample, vector_matrix
from trichord.infra.digest import generator
from trichord.infra.errors import FingerprintMismatch, StorageError


def _with(table: pa.Table, column: str, row: int, value: object) -> pa.Table:
    values = table.column(column).to_pylist()
    values[row] = value
    place = table.schema.get_field_index(column)
    return table.set_column(place, column, pa.array(values, table.schema.field(column).type))


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        ([float("nan")] + [0.0] * 7, "NaN or infinity"),
        ([float("inf")] + [0.0] * 7, "NaN or infinity"),
        ([3e38] * 8, "a norm other than 1"),
        ([0.0] * 8, "only zeros"),
        ([1.01] + [0.0] * 7, "a norm other than 1"),
        ([1.0] + [0.0] * 6, "has 7 values, expected 8"),
        ([], "has 0 values, expected 8"),
        (None, "has 0 values, expected 8"),
        ([None] + [1.0] * 7, "NaN or infinity"),
    ],
)
def test_an_unsound_vector_is_refused_by_the_name_of_its_key(vector, said):
    table = vector_table(unit(12, 8, "rows"), "photos/1")
    columns = {name: table.column(name) for name in table.column_names}
    vectors = table.column("vector").to_pylist()
    vectors[5] = vector
    columns["vector"] = pa.array(vectors, pa.list_(pa.float32()))
    with pytest.raises(StorageError, match="photos/1-00005") as caught:
        vector_matrix(pa.table(columns), dimension=8, fingerprint=SPACE)
    assert said in str(caught.value)


def test_a_vector_of_another_space_is_refused_by_the_name_of_its_key():
    table = _with(vector_table(unit(12, 8, "rows"), "photos/1"), "fingerprint", 7, "space-b")
    with pytest.raises(FingerprintMismatch, match=r"photos/1-00007.*space-b.*space-a"):
        vector_matrix(table, dimension=8, fingerprint=SPACE)


def test_sound_vectors_come_through_unchanged_also_from_chunks_and_slices():
    vectors = unit(30, 8, "rows")
    table = vector_table(vectors, "photos/1")
    chunked = pa.concat_tables([table.slice(0, 7), table.slice(7, 0), table.slice(7)])
    np.testing.assert_array_equal(vector_matrix(chunked, dimension=8, fingerprint=SPACE), vectors)
    np.testing.assert_array_equal(vector_matrix(table.slice(11, 5), dimension=8, fingerprint=SPACE), vectors[11:16])
    assert vector_matrix(table.slice(0, 0), dimension=8, fingerprint=SPACE).shape == (0, 8)


def _sample(parts: list[pa.Table], wanted: int, floor: int = 64) -> np.ndarray:
    rows = sum(part.num_rows for part in parts)
    return stratified_sample(parts, rows=rows, wanted=wanted, dimension=8, fingerprint=SPACE, floor=floor)


def test_the_sample_is_the_same_for_the_same_rows_in_any_order_and_division():
    parts = list(tables(6, 300, 8, views=("text", "image")).values())
    sample = _sample(parts, 500)
    assert 200 <= len(sample) <= 600
    whole = pa.concat_tables(parts)
    shuffled = whole.take(generator("shuffle").permutation(whole.num_rows))
    for other in (parts[::-1], [whole], [shuffled.slice(start, 111) for start in range(0, whole.num_rows, 111)]):
        np.testing.assert_array_equal(_sample(other, 500), sample)


def test_every_source_and_view_gives_its_share_and_a_small_one_its_floor():
    large = vector_table(unit(6_000, 8, "large"), "large/0", views=("text", "image", "fused"))
    small = vector_table(unit(100, 8, "small"), "small/0", views=("text", "audio"))
    named = {row.tobytes(): label for part in (large, small) for row, label in _labelled(part)}
    counts = Counter(named[row.tobytes()] for row in _sample([large, small], 1_000, floor=30))
    assert {stratum: count for stratum, count in counts.items() if stratum[0] == "small"} == {
        ("small", "text"): 30,
        ("small", "audio"): 30,
    }
    for view in ("text", "image", "fused"):
        assert 180 <= counts["large", view] <= 330  # 2,000 rows of each at a share of 1/8
    assert len(_sample([small], 1_000)) == 100  # all there are


def _labelled(table: pa.Table) -> list[tuple[np.ndarray, tuple[str, str]]]:
    matrix = vector_matrix(table, dimension=8, fingerprint=SPACE)
    strata = zip(table.column("source").to_pylist(), table.column("view").to_pylist(), strict=True)
    return list(zip(matrix, strata, strict=True))


def test_an_added_row_seldom_changes_the_sample():
    parts = list(tables(4, 1_000, 8).values())
    before, changed = _sample(parts, 600), 0
    for number in range(40):
        extra = vector_table(unit(1, 8, "extra", number), f"source0/extra{number}")
        after = stratified_sample([*parts, extra], rows=4_001, wanted=600, dimension=8, fingerprint=SPACE)
        changed += not np.array_equal(after, before)
    assert changed <= 12  # a share of 1/8
