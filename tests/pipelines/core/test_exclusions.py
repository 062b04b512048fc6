"""Exclusions are what duplicates and further rows drop, each once, whatever the order they come in."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trichord.infra.config import StorageConfig
from trichord.infra.digest import address
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.layout import EXCLUSIONS
from trichord.infra.lake.schema import DUPLICATES
from trichord.infra.lake.shard import ShardRef, ShardWriter
from trichord.infra.lake.storage import Storage
from trichord.pipelines.core.exclusions import NOTHING, Exclusions, Row

ROWS = st.lists(st.tuples(st.sampled_from(["a/0", "a/1", "b/0"]), st.sampled_from("pqrstuvwxyz")), max_size=30)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return Lake(Storage(StorageConfig()), str(tmp_path_factory.mktemp("lake")))


def duplicates(lake: Lake, name: str, rows: list[Row]) -> ShardRef:
    """A shard of duplicates that drops these rows."""
    plain = dict.fromkeys(DUPLICATES.names, "")
    with ShardWriter(lake, "duplicates", address(name, rows), DUPLICATES) as writer:
        table = [plain | {"partition": partition, "row_digest": row} for partition, row in rows]
        writer.write(pa.Table.from_pylist(table, schema=DUPLICATES))
        return writer.finish({})


def excluded(exclusions: Exclusions) -> set[Row]:
    return {
        (partition, row)
        for partition, one in exclusions.by_partition.items()
        for row in one.mask(exclusions.lake).row_digests.to_pylist()
    }


@settings(max_examples=25, deadline=None)
@given(first=ROWS, second=ROWS, further=ROWS)
def test_they_are_the_rows_of_all_duplicates_and_the_further_ones(
    lake: Lake, first: list[Row], second: list[Row], further: list[Row]
) -> None:
    shards = [duplicates(lake, "first", first), duplicates(lake, "second", second)]
    gathered = Exclusions.gather(lake, shards, further)
    assert excluded(gathered) == {*first, *second, *further}
    assert sum(one.rows for one in gathered.by_partition.values()) == len({*first, *second, *further})
    again = Exclusions.gather(lake, shards[::-1], further[::-1])
    assert again.by_partition == gathered.by_partition
    assert Exclusions.gather(lake, shards).with_rows(further).by_partition == gathered.by_partition
    for partition in ("a/0", "a/1", "b/0"):
        same = {row for name, row in {*first, *second, *further} if name == partition}
        other = Exclusions.gather(lake, [], [(partition, row) for row in same]).of(partition)
        assert other.digest == gathered.of(partition).digest  # whatever else is excluded elsewhere


def test_a_mask_keeps_what_is_not_excluded_from_its_partition(lake: Lake) -> None:
    exclusions = Exclusions.gather(lake, [], [("a/0", "q"), ("a/1", "p")])
    rows = pa.table({"row_digest": ["p", "q", "r"]})
    assert exclusions.of("a/0").mask(lake).keeps(rows).tolist() == [True, False, True]
    assert exclusions.of("a/1").mask(lake).keeps(rows).tolist() == [False, True, True]
    assert exclusions.of("elsewhere") == NOTHING
    assert NOTHING.mask(lake).keeps(rows).all()


def test_the_driver_holds_an_entry_a_partition_and_workers_read_their_own_rows(lake: Lake) -> None:
    many = [(f"s/{number % 7}", f"{number:06d}") for number in range(40_000)]
    exclusions = Exclusions.gather(lake, [], many)
    assert len(exclusions.by_partition) == 7
    one = exclusions.of("s/3")
    assert one.path.startswith(EXCLUSIONS)
    wanted = np.array([row for partition, row in many if partition == "s/3"])
    assert one.mask(lake).row_digests.to_pylist() == sorted(wanted.tolist())
