"""maintain: logs are shortened, and what is kept is as whole, as searchable and as easy to repair as before."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import DeltaTable

from tests.faults.damage import damage
from tests.pipelines.lakes import copy_of, result_of, trichord, workspace_of
from trichord.infra.errors import StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.schema import RECORDS
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.publish.maintain import maintain
from trichord.pipelines.publish.pinned import candidate_bytes, read_candidate
from trichord.pipelines.publish.recover import recover
from trichord.pipelines.publish.verify import verify

NOW = ("gc_grace_s=0",)
COMMITS = 14


def _commit_often(workspace: Workspace) -> None:
    """Give `records` and `publications` 14 commits each; the last of `records` holds what the first does."""
    table = workspace.table("records")
    shards = [*table.shards().values()]
    live, stored = workspace.publications.require_live(), read_candidate(workspace)
    assert stored is not None
    for number in range(1, COMMITS):
        wanted = shards[number % 2 :]
        version = table.reconcile(wanted, schema=RECORDS, run="run", recipe="recipe")
        pins = {**live.table_versions, "records": version - version % 2}
        row = replace(live, id=f"{live.id}-{number}", sequence=live.sequence + number, table_versions=pins)
        workspace.publications.append(row)
    table.reconcile(shards, schema=RECORDS, run="run", recipe="recipe")
    candidate = replace(stored[0], table_versions=workspace.publications.require_live().table_versions)
    workspace.lake.write(layout.CANDIDATE, candidate_bytes(candidate, stored[1]))


@pytest.fixture(scope="module")
def maintained(indexed: tuple[Path, dict], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A lake whose logs were shortened, and the result. Read only."""
    project = copy_of(indexed[0].parent, tmp_path_factory.mktemp("maintained"))
    _commit_often(workspace_of(project))
    return project, result_of(trichord("maintain", "--project", str(project), "--set", *NOW, "--json"))


def _copy(project: Path, folder: Path) -> Path:
    return shutil.copytree(project.parent, folder, copy_function=os.link) / project.name


def _hits(project: Path) -> list[dict]:
    done = trichord("search", "--text", "three red circles", "-k", "3", "--json", "--project", str(project))
    return [{**hit, "publication": ""} for hit in result_of(done)["hits"]]


def test_logs_are_shortened_and_the_lake_is_whole_and_searched_as_before(indexed, maintained) -> None:
    project, result = maintained
    assert result["commits"] == {"publications": 9, "records": 9}
    assert result["collected"]["removed"]
    assert result["advice"] == []
    workspace = workspace_of(project)
    verify(workspace)
    assert recover(workspace, yes=False).steps == ()
    assert _hits(project) == _hits(indexed[0])
    for name, version in workspace.publications.require_live().table_versions.items():
        uris = DeltaTable(workspace.lake.uri(name), version=version).file_uris()  # as any reader of Delta sees it
        assert set(uris) == {workspace.lake.uri(ref.path) for ref in workspace.table(name).shards(version).values()}
    assert len(workspace.publications.rows()) == COMMITS


def test_commits_of_the_last_day_stay(lake_copy) -> None:
    _commit_often(workspace_of(lake_copy))
    assert maintain(workspace_of(lake_copy)).commits == {}
    done = trichord("maintain", "--project", str(lake_copy), "--set", *NOW)
    assert "Removed old commits: records 9, publications 9." in done.stdout


def test_a_version_that_is_no_longer_kept_is_said_so(maintained) -> None:
    with pytest.raises(StorageError, match="no longer kept: its log begins with version 9"):
        workspace_of(maintained[0]).table("records").shards(0)


def _log_files(project: Path) -> Iterator[str]:
    lake = project.parent / "lake"
    for name in ("records", "publications"):
        for folder in (layout.LOG, layout.COPIES):
            yield from sorted(path.relative_to(lake).as_posix() for path in (lake / name / folder).iterdir())


def _require_recovered(project: Path, rows: list) -> None:
    workspace = workspace_of(project)
    with pytest.raises(StorageError, match="trichord recover"):
        verify(workspace)
    done = recover(workspace, yes=True)
    assert (done.searchable, done.next, done.given_up) == (True, "", ())
    verify(workspace)
    assert recover(workspace, yes=False).steps == ()
    assert workspace.publications.rows() == rows


@pytest.mark.parametrize("way", ["flip", "remove"])
@pytest.mark.parametrize("table", ["records", "publications"])
def test_a_damaged_base_is_written_again(maintained, tmp_path, table, way) -> None:
    project = _copy(maintained[0], tmp_path / "copy")
    path = project.parent / "lake" / layout.base_path(table, 9)
    before = path.read_bytes()
    damage(path, way)
    _require_recovered(project, workspace_of(maintained[0]).publications.rows())
    assert path.read_bytes() == before


@pytest.mark.full
@pytest.mark.parametrize("way", ["flip", "cut", "remove", "empty"])
def test_each_file_of_a_shortened_log_is_repaired(maintained, tmp_path, way) -> None:
    rows, hits = workspace_of(maintained[0]).publications.rows(), _hits(maintained[0])
    for number, path in enumerate(_log_files(maintained[0])):
        project = _copy(maintained[0], tmp_path / str(number))
        damage(project.parent / "lake" / path, way)
        _require_recovered(project, rows)
        if number % 10 == 0:
            assert _hits(project) == hits


def test_publications_come_back_from_the_base_where_their_shard_is_lost(maintained, tmp_path) -> None:
    project = _copy(maintained[0], tmp_path / "copy")
    for path in (project.parent / "lake" / "publications").glob("??/*.parquet"):
        path.unlink()
    _require_recovered(project, workspace_of(maintained[0]).publications.rows())


def test_sources_of_many_small_partitions_are_named(maintained, tmp_path, monkeypatch) -> None:
    project = _copy(maintained[0], tmp_path / "copy")
    monkeypatch.setattr("trichord.pipelines.prepare.plan.MANY_PARTITIONS", 2)
    (advice,) = maintain(workspace_of(project)).advice
    assert advice.startswith("Source demo has 10 partitions with 16.0 rows on average.")
    assert "`prepare.rows_per_partition`" in advice
