"""Shards: same rows same bytes, damage refused, nothing half-written, conservation counts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Place
from trichord.infra.config import StorageConfig
from trichord.infra.errors import StorageError
from trichord.infra.lake import layout, shard
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.schema import RECORDS, vectors_schema
from trichord.infra.lake.shard import (
    ShardRef,
    ShardWriter,
    find_finished,
    iter_shard,
    read_shard,
    take_rows,
    verify_shard,
)
from trichord.infra.lake.storage import Storage

ADDRESS = "0123456789abcdef" * 2
OTHER = "fedcba9876543210" * 2


def records(rows: int, media_bytes: int = 40, seed: int = 0) -> pa.Table:
    draw = np.random.Generator(np.random.Philox(seed))
    columns = {
        "key": [f"k{row:04}" for row in range(rows)],
        "source": ["s"] * rows,
        "partition": ["s/0"] * rows,
        "group": ["g"] * rows,
        "subset": [""] * rows,
        "content_digest": [f"{row:032x}" for row in range(rows)],
        "row_digest": [f"{row:032x}" for row in range(rows)],
        "captions": [["one", "two"][: row % 3] for row in range(rows)],
        "meta": ["{}"] * rows,
        "scores": [[("a", 0.5), ("b", float(row))] for row in range(rows)],
        "labels": [[("l", "x")]] * rows,
        "changes": [[]] * rows,
        "segments": [[{"start_s": 0.0, "end_s": 1.0, "text": "w", "score": 1.0}]] * rows,
        "parent": [""] * rows,
        "span": [None] * rows,
        "box": [None] * rows,
        "text": [None if row % 3 else "t" * row for row in range(rows)],
        "image": [draw.bytes(media_bytes) for _ in range(rows)],
        "audio": [None] * rows,
    }
    return pa.table(columns, schema=RECORDS)


def write(place: Place, table: pa.Table, cuts: Sequence[int] = (), address: str = ADDRESS) -> ShardRef:
    edges = [0, *sorted(cut for cut in cuts if cut <= len(table)), len(table)]
    with ShardWriter(place.lake, "records", address, RECORDS) as writer:
        for start, end in pairwise(edges):
            writer.write(table.slice(start, end - start))
        return writer.finish({"rows_in": len(table), "rows_kept": len(table), "rows_rejected": 0})


@pytest.fixture
def local(tmp_path: Path) -> Place:
    return Place(Storage(StorageConfig()), str(tmp_path / "lake"))


def files_of(place: Place) -> list[str]:
    return [str(path) for path in Path(place.uri).rglob("*") if path.is_file()]


def test_a_shard_is_read_as_it_was_written(place: Place) -> None:
    table = records(100, media_bytes=5000)
    ref = write(place, table)
    assert ref.path == f"records/01/{ADDRESS}.{ref.sha256}.parquet"
    assert ref.rows == 100
    assert ref.bytes == place.storage.stat(place.storage.join(place.uri, ref.path)).size
    for verify in (False, True):
        found = read_shard(place.lake, ref, verify=verify)
        assert found.equals(table)
        assert found.schema == RECORDS
    assert read_shard(place.lake, ref.path, ["text", "key"]).to_pydict() == {
        "text": table["text"].to_pylist(),
        "key": table["key"].to_pylist(),
    }
    batches = list(iter_shard(place.lake, ref, batch_rows=7))
    assert max(len(batch) for batch in batches) <= 7
    assert pa.Table.from_batches(batches).equals(table)
    assert find_finished(place.lake, "records", [ADDRESS, OTHER], verify=True) == {ADDRESS: ref}
    assert dict(find_finished(place.lake, "records", [ADDRESS])[ADDRESS].counts) == dict(ref.counts)
    verify_shard(place.lake, ref)


def test_a_shard_without_rows_is_a_shard(place: Place) -> None:
    ref = write(place, records(0))
    assert read_shard(place.lake, ref).equals(RECORDS.empty_table())
    assert find_finished(place.lake, "records", [ADDRESS]) == {ADDRESS: ref}


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 400), max_size=12), group_bytes=st.sampled_from([1, 3_000, 60_000, 16 << 20]))
def test_same_rows_same_bytes_however_they_came(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], group_bytes: int
) -> None:
    table = records(400)
    place = Place(Storage(StorageConfig()), str(tmp_path_factory.mktemp("lake")))
    with pytest.MonkeyPatch.context() as groups:
        groups.setattr(shard, "ROW_GROUP_BYTES", group_bytes)
        whole = write(place, table)
        assert write(place, table, cuts) == whole
        metadata = pq.read_metadata(f"{place.uri}/{whole.path}")
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    assert sum(sizes) == 400
    assert max(sizes) <= 256
    assert read_shard(place.lake, whole).equals(table)


def test_other_processes_write_the_same_bytes(local: Place, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom tests.infra.test_shard import *\n"
        "place = Place(Storage(StorageConfig()), sys.argv[1])\nprint(write(place, records(300), [17]).sha256)"
    )
    other = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "elsewhere")],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == write(local, records(300)).sha256


@given(places=st.lists(st.integers(0, 599), max_size=9))
@settings(max_examples=20, deadline=None)
def test_rows_by_place_are_the_shards_rows_in_its_order(
    tmp_path_factory: pytest.TempPathFactory, places: list[int]
) -> None:
    place = Place(Storage(StorageConfig()), str(tmp_path_factory.mktemp("lake")))
    table = records(600)
    ref = write(place, table)  # three row groups of 256, 256 and 88 rows
    found = take_rows(place.lake, ref, places)
    assert found.equals(table.take(pa.array(sorted(set(places)), pa.int64())))
    names = take_rows(place.lake, ref.path, places, ["row_digest", "key"])
    assert names.column_names == ["row_digest", "key"]
    for beyond in ([600], [-1, 3]):
        with pytest.raises(ValueError, match="of a shard of 600 rows"):
            take_rows(place.lake, ref, beyond)


def test_row_groups_stay_small_so_media_is_read_in_bounded_memory(local: Place) -> None:
    ref = write(local, records(60, media_bytes=1 << 20))
    metadata = pq.read_metadata(f"{local.uri}/{ref.path}")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [15, 15, 15, 15]


def test_plain_parquet_readers_read_a_sealed_shard(local: Place) -> None:
    table = records(20)
    path = f"{local.uri}/{write(local, table).path}"
    assert pq.read_table(path).equals(table)  # noqa: TID251 (what a user writes)


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.full)])
def test_any_flipped_bit_is_refused_or_without_effect(local: Place, every: int) -> None:
    table = records(5, media_bytes=200)
    ref = write(local, table)
    path = Path(local.uri, ref.path)
    good = path.read_bytes()
    refused = 0
    for position in range(0, len(good), every):
        path.write_bytes(
            good[:position] + bytes([good[position] ^ (1 << position // every % 8)]) + good[position + 1 :]
        )
        try:
            assert read_shard(Lake(local.storage, local.uri), ref).equals(table)
        except StorageError as error:
            refused += 1
            assert ref.path in str(error)  # noqa: PT017
        if position % 50 == 0:
            for check in (verify_shard, lambda *shard: read_shard(*shard, verify=True)):
                with pytest.raises(StorageError, match="sha256"):
                    check(Lake(local.storage, local.uri), ref)
            assert find_finished(Lake(local.storage, local.uri), "records", [ADDRESS], verify=True) == {}
    assert refused > 0.9 * len(good) / every


def test_a_truncated_or_padded_shard_is_refused_and_counts_as_not_finished(local: Place) -> None:
    ref = write(local, records(5))
    path = Path(local.uri, ref.path)
    good = path.read_bytes()
    middle = len(good) // 2
    damaged = [good[:length] for length in (0, 1, 8, 100, middle, len(good) - 9, len(good) - 1)]
    for content in [*damaged, good + b"\0", good + good, good[:middle] + good[middle + 1 :]]:
        path.write_bytes(content)
        with pytest.raises(StorageError):
            read_shard(Lake(local.storage, local.uri), ref)
        assert find_finished(Lake(local.storage, local.uri), "records", [ADDRESS]) == {}
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_shard(Lake(local.storage, local.uri), ref)


def test_a_shard_under_another_shards_name_is_refused(local: Place) -> None:
    ref = write(local, records(5))
    moved = layout.shard_path("records", OTHER, ref.sha256)
    local.storage.write(local.storage.join(local.uri, moved), Path(local.uri, ref.path).read_bytes())
    assert find_finished(Lake(local.storage, local.uri), "records", [OTHER]) == {}
    with pytest.raises(StorageError, match="address"):
        verify_shard(Lake(local.storage, local.uri), replace(ref, address=OTHER, path=moved))


def test_two_contents_of_one_address_are_an_error(local: Place) -> None:
    first, second = write(local, records(5)), write(local, records(5, seed=1))
    with pytest.raises(StorageError, match="One address has two contents") as caught:
        find_finished(Lake(local.storage, local.uri), "records", [ADDRESS])
    assert first.sha256 in str(caught.value)
    assert second.sha256 in str(caught.value)


def test_counts_that_lose_a_row_are_refused_at_writing_and_at_verifying(
    local: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = {"rows_in": 6, "rows_kept": 4, "rows_rejected": 1}
    with ShardWriter(Lake(local.storage, local.uri), "records", ADDRESS, RECORDS) as writer:
        writer.write(records(4))
        with pytest.raises(ValueError, match=r"6 rows in .* but 5 kept or rejected"):
            writer.finish(lost)
    assert files_of(local) == []
    with monkeypatch.context() as unchecked, ShardWriter(*_arguments(local)) as writer:
        unchecked.setattr(shard, "_imbalance", lambda counts: None)
        writer.write(records(4))
        ref = writer.finish(lost)
    with pytest.raises(StorageError, match=r"6 rows in .* but 5 kept or rejected"):
        verify_shard(Lake(local.storage, local.uri), ref)
    with pytest.raises(StorageError, match="not what the lake says"):
        verify_shard(Lake(local.storage, local.uri), replace(ref, rows=5))


def _arguments(place: Place) -> tuple[Lake, str, str, pa.Schema]:
    return place.lake, "records", ADDRESS, RECORDS


def test_a_writer_left_early_leaves_nothing(local: Place) -> None:
    with pytest.raises(RuntimeError), ShardWriter(*_arguments(local)) as writer:  # noqa: PT012
        writer.write(records(300))
        raise RuntimeError("the task failed")
    assert files_of(local) == []


def test_rows_that_do_not_fit_the_schema_are_the_callers_mistake(local: Place) -> None:
    good = records(3)
    with ShardWriter(*_arguments(local)) as writer:
        with pytest.raises(ValueError, match="lack the columns \\['meta'\\]"):
            writer.write(good.drop_columns(["meta"]))
        with pytest.raises(ValueError, match="non-nullable"):
            writer.write(good.set_column(0, "key", pa.array([None, "a", "b"])))
        writer.write(good.select(sorted(good.column_names)))  # columns are taken by name
        ref = writer.finish({})
    assert read_shard(Lake(local.storage, local.uri), ref).equals(good)
    with pytest.raises(ValueError, match="no columns \\['nope'\\]"):
        read_shard(Lake(local.storage, local.uri), ref, ["nope"])
    with pytest.raises(ValueError, match="32 hex"):
        ShardWriter(Lake(local.storage, local.uri), "records", "../../etc", RECORDS)


def test_vectors_and_plain_tables_are_kept_bit_by_bit(local: Place) -> None:
    schema = vectors_schema(3)
    values = np.array([1.0, -0.0, np.pi, 1e-45, 3e38, 2.0], np.float32)
    vectors = pa.ListArray.from_arrays(pa.array([0, 3, 6], pa.int32()), pa.array(values))
    table = pa.table({**{name: ["a", "b"] for name in schema.names[:-1]}, "vector": vectors})
    with ShardWriter(Lake(local.storage, local.uri), "vectors", ADDRESS, schema) as writer:
        writer.write(table)
        ref = writer.finish({"rows_in": 2, "rows_kept": 2, "rows_rejected": 0})
    found = read_shard(Lake(local.storage, local.uri), ref)["vector"].combine_chunks().flatten().to_numpy()
    assert found.tobytes() == values.tobytes()


def test_other_files_in_the_folder_are_not_taken_for_shards(local: Place) -> None:
    ref = write(local, records(5))
    for name in ("x.parquet", f"{ADDRESS}.parquet", f"{ADDRESS}.{'0' * 63}.parquet", f"{ADDRESS}.{'g' * 64}.parquet"):
        local.storage.write(local.storage.join(local.uri, "records/01", name), b"PAR1")
    many = [f"{number:032x}" for number in range(1 << 120, (1 << 125), 1 << 119)]  # over many folders
    assert find_finished(Lake(local.storage, local.uri), "records", [ADDRESS, *many]) == {ADDRESS: ref}
    assert find_finished(Lake(local.storage, local.uri), "records", []) == {}
