"""The parts of a plan: none grows with the source, equal ones are kept, and how rows arrive makes no difference."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trichord.infra import digest
from trichord.infra.config import StorageConfig
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms.collect import plan_parts, plan_rows
from trichord.transforms.collect.partitions import Columns, Medium, PlannedLine, PlannedRow, digest_of, table_of
from trichord.transforms.collect.plan_parts import (
    cut,
    read_ids,
    read_lines,
    read_plan,
    write_groups,
    write_plan,
)
from trichord.transforms.collect.read import mark_repeats
from trichord.transforms.collect.workers import Workers

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")
STORAGE = Storage(StorageConfig())


def row(number: int, text: str = "") -> PlannedRow:
    media = {"image": Medium(path=f"{number}.jpg", size=number, version=f"sha256:{number}")}
    return PlannedRow(key=f"k{number}", line={"text": text or f"text {number}"}, media=media)


def parts_of(lake: Lake) -> dict[str, bytes]:
    folder = Path(lake.root) / layout.PLANS
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))}


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake whose parts have at most 32 partitions, so that few rows make several parts."""
    assert plan_parts.MAX_GROUPS <= 256
    monkeypatch.setattr(plan_parts, "MAX_GROUPS", 32)
    return Lake(STORAGE, str(tmp_path / "lake"))


def test_opening_a_partition_costs_the_same_in_a_large_source(lake: Lake) -> None:
    rows = [row(i) for i in range(300)]
    planned = write_plan(rows, "s", lake, 1)
    assert len(planned) == 300
    assert len(parts_of(lake)) >= 5
    groups = defaultdict(list)
    for partition in planned:
        groups[partition.locator].append(partition.row_group)
    for locator, numbers in groups.items():
        file = pq.ParquetFile(lake.uri(locator))
        assert numbers == list(range(file.num_row_groups))
        assert len(numbers) <= plan_parts.MAX_GROUPS
        assert read_ids(lake, locator) == [one.id for one in planned if one.locator == locator]
    for partition in planned[::50]:
        (found,) = read_plan(partition, lake)
        assert f"{digest.hash64(found.key):064b}".startswith(partition.id.removeprefix("s/"))
    assert sorted(found.key for one in planned for found in read_plan(one, lake)) == sorted(r.key for r in rows)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6
)
LINES = st.dictionaries(st.sampled_from(["text", "captions", "meta", "group", "others_count"]), VALUES)


@given(line=LINES, key=st.text(), path=st.text(), reason=st.none() | st.text(), detail=st.text())
def test_columns_and_digests_are_those_of_canonical_json(
    line: Any, key: str, path: str, reason: str | None, detail: str
) -> None:
    media = {"image": Medium(path=path, size=3, version="v"), "audio": Medium(path="é\n", size=0, version=path)}
    found = PlannedRow(key=key, line=line, media=media, reason=reason, detail=detail).columns()
    listed = {name: [medium.path, medium.size, medium.version] for name, medium in media.items()}
    assert found == (
        key,
        digest.canonical_json(line).decode(),
        digest.canonical_json(listed).decode(),
        reason,
        detail,
    )
    assert digest_of(found).hex() == digest.address(*found)


def test_a_version_is_the_digest_of_the_rows_digests(lake: Lake) -> None:
    rows = [row(i) for i in range(40)]
    for partition in write_plan(rows, "s", lake, 8):
        found = read_plan(partition, lake)
        assert found == sorted(found, key=lambda one: one.key)
        assert partition.rows == len(found)
        assert partition.version == digest.address(sorted(digest.address(*one.columns()) for one in found))


@pytest.mark.parametrize("limit", [1, 3])
def test_a_changed_row_rewrites_one_part_and_an_unchanged_plan_none(limit: int, lake: Lake) -> None:
    rows = [row(i) for i in range(300)]
    before, files = write_plan(rows, "s", lake, limit), parts_of(lake)
    assert len(files) > 1
    stamp = {name: os.stat(Path(lake.root) / layout.PLANS / name).st_mtime_ns for name in files}
    assert write_plan(reversed(rows), "s", lake, limit) == before
    after = write_plan([*rows[:7], row(7, "changed"), *rows[8:]], "s", lake, limit)
    assert len(parts_of(lake).keys() - files.keys()) == 1
    assert stamp == {name: os.stat(Path(lake.root) / layout.PLANS / name).st_mtime_ns for name in files}
    assert sum(one.version != old.version for one, old in zip(after, before, strict=True)) == 1
    moved = {one.id for one, old in zip(after, before, strict=True) if one != old}
    (part,) = [one.locator for one, old in zip(after, before, strict=True) if one.version != old.version]
    assert moved == {one.id for one in after if one.locator == part}


def test_an_added_and_a_deleted_row_rewrite_few_parts(lake: Lake) -> None:
    rows = [row(i) for i in range(300)]
    write_plan(rows, "s", lake, 2)
    files = parts_of(lake)
    write_plan([*rows, row(301)], "s", lake, 2)
    more = parts_of(lake)
    assert 1 <= len(more.keys() - files.keys()) <= 2  # a part that is full is divided
    write_plan(rows[1:], "s", lake, 2)
    assert 1 <= len(parts_of(lake).keys() - more.keys()) <= 2


def test_how_rows_come_in_files_and_nodes_changes_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(i) for i in range(900)] + [row(3), replace(row(4), reason="row_empty", detail="why", key="k5")]
    monkeypatch.setattr(plan_parts, "MAX_ROWS", 120)
    planned, files = write_plan(rows, "s", lake, 16), parts_of(lake)
    assert len(files) >= 8
    monkeypatch.setattr(plan_rows, "RUN_ROWS", 100)
    monkeypatch.setattr(plan_rows, "_BATCH_ROWS", 64)
    monkeypatch.setattr(plan_parts, "MAX_BYTES", 1_000)
    for name in files:
        STORAGE.delete(lake.uri(layout.PLANS, name))
    order = digest.generator("order").permutation(len(rows))
    assert write_plan([rows[i] for i in order], "s", lake, 16) == planned
    assert parts_of(lake) == files


def test_nodes_are_cut_where_no_part_and_no_partition_reaches_beyond_one() -> None:
    counts_N = np.full(4_096, 100)
    nodes = cut(counts_N, 256)
    assert {len(bits) for bits in nodes} == {5}  # 12,800 rows; twice as many are too many
    assert nodes == sorted(nodes)
    assert cut(counts_N, 10**6) == [""]
    assert cut(np.zeros(4_096, np.int64), 8) == []
    assert len(cut(counts_N * 1_000, 8)) == 4_096
    with pytest.raises(ValueError, match="at least one row"):
        cut(counts_N, 0)


def test_rows_with_one_key_are_one_partition_however_many(lake: Lake) -> None:
    rows = [row(0, f"text {i}") for i in range(200)] + [row(1)]
    planned = write_plan(rows, "s", lake, 4)
    assert sorted(one.rows for one in planned) == [1, 200]
    (large,) = [one for one in planned if one.rows == 200]
    assert sorted(str(found.line["text"]) for found in read_plan(large, lake)) == sorted(
        f"text {i}" for i in range(200)
    )


def test_no_rows_are_no_partitions(lake: Lake) -> None:
    assert write_plan([], "s", lake, 4) == []


def test_a_plan_of_an_earlier_release_names_no_partitions(lake: Lake) -> None:
    (partition,) = write_plan([row(1)], "s", lake, 4)
    write_groups([table_of([row(1)])], STORAGE, lake.uri("_plans/old.parquet"))
    assert read_ids(lake, partition.locator) == ["s/all"]
    assert read_ids(lake, "_plans/old.parquet") == []
    assert read_plan(replace(partition, locator="_plans/old.parquet"), lake) == [row(1)]


def test_many_runs_are_merged_into_few_and_the_plan_is_the_same(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(i) for i in range(700)]
    planned, files = write_plan(rows, "s", lake, 16), parts_of(lake)
    monkeypatch.setattr(plan_rows, "RUN_ROWS", 5)  # 140 runs
    monkeypatch.setattr(plan_rows, "RUNS_TO_MERGE", 4)
    monkeypatch.setattr(plan_rows, "_BATCH_ROWS", 3)
    most, opened = 0, plan_rows.open_runs

    def counting(runs: Sequence[plan_rows.Run]) -> AbstractContextManager[plan_rows.Runs]:
        nonlocal most
        most = max(most, len(runs))
        return opened(runs)

    monkeypatch.setattr(plan_rows, "open_runs", counting)
    monkeypatch.setattr(plan_parts, "open_runs", counting)
    merged = Lake(STORAGE, f"{lake.root}-merged")
    assert write_plan(rows, "s", merged, 16) == planned
    assert parts_of(merged) == files
    assert 4 <= most <= 12, "at most three of each size"


def test_parts_that_workers_write_are_those_of_one_process(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, sent = [row(i, "x" * (i % 50)) for i in range(900)], list[object]()

    def elsewhere(task: Callable[[I], R], items: Iterable[I]) -> Iterator[R]:
        for item in items:
            sent.append(item)
            yield deepcopy(task)(item)

    workers = Workers(run=elsewhere, least_bytes=0)
    planned, files = write_plan(rows, "s", lake, 4), parts_of(lake)
    divided = Lake(STORAGE, f"{lake.root}-divided")
    assert write_plan(rows, "s", divided, 4, workers) == planned
    assert parts_of(divided) == files
    assert len(sent) == len(files)
    assert write_plan(rows, "s", divided, 4, workers) == planned
    assert len(sent) == len(files), "what is there is not sent"
    changed = [*rows[:7], row(7, "changed"), *rows[8:]]
    assert write_plan(changed, "s", divided, 4, workers) == write_plan(changed, "s", lake, 4)
    assert len(sent) == len(files) + 1
    monkeypatch.setattr(plan_parts, "MAX_BYTES", 1_000)
    large = Lake(STORAGE, f"{lake.root}-large")
    assert write_plan(rows, "s", large, 4, workers) == planned
    assert parts_of(large) == files
    assert len(sent) == len(files) + 1, "what is too large to be sent is written here"


def test_rows_of_one_key_are_one_partition_that_is_read_a_few_at_a_time(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_parts, "_ROWS_A_TIME", 10)
    [partition] = write_plan([row(1)] * 100, "s", lake, 8)
    made, of = list[PlannedLine](), PlannedLine.of

    def counted(columns: Columns) -> PlannedLine:
        made.append(of(columns))
        return made[-1]

    monkeypatch.setattr(PlannedLine, "of", counted)
    lines = mark_repeats(read_lines(partition, lake))
    assert [next(lines).reason for _ in range(3)] == [None, "key_repeated", "key_repeated"]
    assert len(made) == 3
    assert sum(1 for _ in lines) == 97
