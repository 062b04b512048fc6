"""Lake tables: one commit shows all or nothing, racing writers conflict, old versions stay."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import deltalake
import pyarrow as pa
import pytest

from tests.conftest import Place
from trichord.infra.config import StorageConfig
from trichord.infra.digest import address
from trichord.infra.errors import CommitConflict, StorageError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.publication import Check, Publication, RowCounts, Verdict
from trichord.infra.lake.publications import Publications
from trichord.infra.lake.schema import PUBLICATIONS, SIGNATURES
from trichord.infra.lake.shard import ShardRef, ShardWriter, read_shard
from trichord.infra.lake.storage import Storage
from trichord.infra.lake.table import LakeTable


def make_shard(place: Place, number: int, rows: int = 2, content: str = "") -> ShardRef:
    with ShardWriter(place.lake, "signatures", address("shard", number), SIGNATURES) as writer:
        writer.write(pa.table({name: [f"{name}{number}{content}"] * rows for name in SIGNATURES.names}))
        return writer.finish({"rows_in": rows, "rows_kept": rows, "rows_rejected": 0})


def reconcile(table: LakeTable, wanted: list[ShardRef], run: str = "run") -> int:
    return table.reconcile(wanted, schema=SIGNATURES, run=run, recipe="recipe")


def table_of(place: Place) -> LakeTable:
    return LakeTable(place.lake, "signatures")


def by_address(refs: list[ShardRef]) -> dict[str, ShardRef]:
    return {ref.address: ref for ref in refs}


@pytest.fixture
def local(tmp_path: Path) -> Place:
    return Place(Storage(StorageConfig()), str(tmp_path / "lake"))


def test_a_table_holds_exactly_what_was_wanted_last_and_every_version_stays_readable(place: Place) -> None:
    table = table_of(place)
    assert table.version() is None
    assert table.shards() == {}
    refs = [make_shard(place, number) for number in range(4)]
    wanted = [[refs[step % 4], refs[(step + 1) % 4]] for step in range(24)]  # past two checkpoints
    for step, shards in enumerate(wanted):
        assert reconcile(table, shards) == step
        assert table.shards() == by_address(shards)
    assert place.storage.exists(place.storage.join(place.uri, "signatures/_delta_log/_last_checkpoint"))
    for step, shards in enumerate(wanted):
        assert table_of(place).shards(step) == by_address(shards)
    ref = table.shards(3)[refs[3].address]
    assert read_shard(place.lake, ref)["key"].to_pylist() == ["key3", "key3"]


def test_nothing_to_change_makes_no_commit(place: Place) -> None:
    table = table_of(place)
    assert reconcile(table, []) == 0
    assert reconcile(table, []) == 0
    refs = [make_shard(place, number) for number in range(3)]
    assert reconcile(table, refs) == 1
    assert reconcile(table, [*reversed(refs), refs[0]]) == 1
    assert table.version() == 1


class Delayed(LakeTable):
    """Waits for the other writers between reading the table and committing."""

    barrier: threading.Barrier

    def _commit(self, *arguments: Any) -> int:
        self.barrier.wait()
        return super()._commit(*arguments)


@pytest.mark.parametrize("existing", [False, True])
def test_of_racing_writers_one_commits_and_the_others_hear_of_it(place: Place, existing: bool) -> None:
    refs = [make_shard(place, number) for number in range(5)]
    base = 0
    if existing:
        base = reconcile(table_of(place), refs[4:]) + 1
    barrier = threading.Barrier(4)

    def race(number: int) -> int | CommitConflict:
        table = Delayed(place.lake, "signatures")
        table.barrier = barrier
        try:
            return reconcile(table, [refs[number]], run=f"run {number}")
        except CommitConflict as conflict:
            return conflict

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(race, range(4)))
    winners = [number for number, outcome in enumerate(outcomes) if outcome == base]
    assert len(winners) == 1
    assert sum(isinstance(outcome, CommitConflict) for outcome in outcomes) == 3
    assert table_of(place).version() == base
    assert table_of(place).shards() == by_address([refs[winners[0]]])
    assert reconcile(table_of(place), [refs[3], refs[4]]) in (base, base + 1)  # a retry goes through
    assert table_of(place).shards() == by_address([refs[3], refs[4]])


@pytest.mark.parametrize("existing", [False, True])
def test_of_racing_additions_none_is_lost_and_all_but_one_hear_of_it(place: Place, existing: bool) -> None:
    refs = [make_shard(place, number) for number in range(4)]
    if existing:
        reconcile(table_of(place), refs[:1])
    writers = refs[1:]
    barrier = threading.Barrier(len(writers))

    def add(ref: ShardRef) -> int | CommitConflict:
        table = Delayed(place.lake, "signatures")
        table.barrier = barrier
        try:
            return table.add(ref, schema=SIGNATURES, run="run", recipe="recipe")
        except CommitConflict as error:
            return error

    with ThreadPoolExecutor(len(writers)) as pool:
        outcomes = list(pool.map(add, writers))
    added = [ref for ref, outcome in zip(writers, outcomes, strict=True) if isinstance(outcome, int)]
    assert len(added) == 1
    assert table_of(place).shards() == by_address([*(refs[:1] if existing else []), *added])
    for ref in writers:  # again, those that were not added and the one that was
        table_of(place).add(ref, schema=SIGNATURES, run="run", recipe="recipe")
    assert table_of(place).shards() == by_address(refs if existing else writers)


def test_a_commit_names_its_run_and_recipe(local: Place) -> None:
    reconcile(table_of(local), [make_shard(local, 1)], run="run 7")
    entry = deltalake.DeltaTable(f"{local.uri}/signatures").history(1)[0]
    assert (entry["run"], entry["recipe"]) == ("run 7", "recipe")


def test_another_content_under_a_committed_address_is_an_error(local: Place) -> None:
    table = table_of(local)
    reconcile(table, [make_shard(local, 1)])
    with pytest.raises(StorageError, match="One address has two contents"):
        reconcile(table, [make_shard(local, 1, content="changed")])
    with pytest.raises(StorageError, match="One address has two contents"):
        reconcile(table, [make_shard(local, 2), make_shard(local, 2, content="changed")])
    assert table.version() == 0


def test_shards_of_another_table_or_schema_are_refused(local: Place) -> None:
    table = table_of(local)
    refs = [make_shard(local, 1), make_shard(local, 2)]
    with pytest.raises(ValueError, match="not one of table records"):
        LakeTable(Lake(local.storage, local.uri), "records").reconcile(refs, schema=SIGNATURES, run="", recipe="")
    reconcile(table, refs[:1])
    with pytest.raises(StorageError, match="other columns"):
        table.reconcile(refs, schema=PUBLICATIONS, run="", recipe="")
    assert table.version() == 0


def test_a_version_that_is_not_there_or_a_damaged_log_is_a_storage_error(local: Place) -> None:
    table = table_of(local)
    reconcile(table, [make_shard(local, 1)])
    with pytest.raises(StorageError, match="signatures"):
        table.shards(99)
    Path(local.uri, "signatures/_delta_log/00000000000000000000.json").write_text("{not json")
    with pytest.raises(StorageError, match="signatures"):
        table.version()


def row(sequence: int, kind: Literal["publish", "rollback"] = "publish") -> Publication:
    check = Check(name="keys_unique", passed=True, value=0, threshold=0)
    return Publication(
        id=f"id {sequence}",
        sequence=sequence,
        kind=kind,
        manifest=f"index/{sequence}.json",
        manifest_digest=f"digest {sequence}",
        inputs_digest=f"inputs {sequence}",
        model=f"models/{sequence}",
        fingerprint=f"fingerprint {sequence}",
        table_versions={"records": sequence},
        counts=RowCounts(rows_in=sequence, rows_kept=sequence),
        recipe={"prepare": "p", "model": "m"},
        verdict=Verdict(against=None, passed=True, checks=(check,), evaluation={"records": sequence}),
        created_at="2025-01-02T03:04:05+00:00",
    )


def test_the_last_publication_is_live_and_the_earlier_are_kept(place: Place) -> None:
    publications = Publications(place.lake)
    assert publications.live() is None
    assert publications.rows() == []
    for sequence in range(1, 13):
        assert publications.append(row(sequence)) == sequence - 1
        reader = Publications(place.lake)
        assert reader.live() == row(sequence)
    assert reader.rows() == [row(sequence) for sequence in range(1, 13)]
    assert reader.rows(4) == [row(sequence) for sequence in range(1, 6)]


@pytest.mark.parametrize("before", [0, 1])
def test_a_publication_on_top_of_an_outdated_reading_conflicts(place: Place, before: int) -> None:
    first, second = Publications(place.lake), Publications(place.lake)
    if before:
        first.append(row(1))
    assert first.live() == second.live()
    first.append(row(before + 1, kind="publish"))
    with pytest.raises(CommitConflict, match="another writer was first"):
        second.append(row(before + 1, kind="rollback"))
    live = second.live()
    assert live is not None
    assert live.kind == "publish"
    second.append(row(before + 2))
    assert first.rows()[-1] == row(before + 2)


def test_a_publication_with_a_wrong_sequence_is_the_callers_mistake(local: Place) -> None:
    publications = Publications(Lake(local.storage, local.uri))
    publications.append(row(3))
    with pytest.raises(ValueError, match="does not come after 3"):
        publications.append(row(3))
    assert publications.rows() == [row(3)]


def test_a_publications_row_holds_the_columns_of_its_table_and_gives_it_back() -> None:
    assert set(row(1).to_row()) == set(PUBLICATIONS.names)
    assert Publication.from_row(row(1).to_row()) == row(1)


def test_a_damaged_publications_shard_is_refused(local: Place) -> None:
    publications = Publications(Lake(local.storage, local.uri))
    publications.append(row(1))
    (file,) = Path(local.uri, "publications").rglob("*.parquet")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        publications.live()
