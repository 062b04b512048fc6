"""What a live publication or prepared rows need cannot go unnoticed, a whole folder least of all."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Place
from tests.infra.test_table import make_shard, reconcile
from tests.pipelines.lakes import result_of, trichord, workspace_of
from trichord.infra.errors import GateFailed, PartialRun, StorageError
from trichord.infra.lake.table import LakeTable
from trichord.pipelines.core.runs import recorded
from trichord.pipelines.publish.lost_tables import PREPARED, check_stored, find_lost_tables
from trichord.pipelines.publish.recover import recover
from trichord.pipelines.publish.verify import verify

NEEDED = {*PREPARED, "vectors", "publications", "index", "models", "_recipes"}


@pytest.mark.parametrize("way", ["delete", "remove files", "truncate files"])
def test_each_needed_folder_is_missed_and_no_cache_is(lake_copy: Path, way: str) -> None:
    lake, workspace, away = lake_copy.parent / "lake", workspace_of(lake_copy), lake_copy.parent / "away"
    folders = {path.name for path in lake.iterdir() if path.is_dir()}
    assert folders > NEEDED
    for name in sorted(folders):
        shutil.copytree(lake / name, away / name)
        if way == "delete":
            shutil.rmtree(lake / name)
        for path in [one for one in (lake / name).rglob("*") if one.is_file()]:
            path.write_bytes(b"") if way == "truncate files" else path.unlink()
        if name in NEEDED:
            with pytest.raises(StorageError, match=rf"{name}[ /:][^\0]*trichord recover"):
                check_stored(workspace)
        else:
            assert "are there" in check_stored(workspace), name
        shutil.rmtree(lake / name, ignore_errors=True)
        shutil.move(away / name, lake / name)
    assert "are there" in check_stored(workspace)


def test_the_doctor_and_recover_see_that_the_table_of_publications_is_gone(lake_copy: Path) -> None:
    workspace, run = workspace_of(lake_copy), ("--project", str(lake_copy))
    live = workspace.publications.require_live()
    shutil.rmtree(lake_copy.parent / "lake" / "publications")
    checks = result_of(trichord("doctor", "--json", *run, check=StorageError.exit_code))["checks"]
    [bad] = [one for one in checks if not one["ok"]]
    assert "publications is missing" in bad["found"]
    assert "trichord recover" in bad["advice"]
    with pytest.raises(StorageError, match="publications/_delta_log is missing"):
        verify(workspace_of(lake_copy))
    assert recover(workspace_of(lake_copy), yes=True).searchable
    found = workspace_of(lake_copy)
    assert found.publications.require_live().manifest_digest == live.manifest_digest
    verify(found)
    check_stored(found)


@pytest.mark.parametrize(
    ("error", "lost"),
    [(None, True), (GateFailed("the rows were committed"), True), (PartialRun("nothing was committed"), False)],
)
def test_a_prepare_that_ended_tells_which_tables_there_were(place: Place, error: Exception | None, lost: bool) -> None:
    assert find_lost_tables(place.lake) == [], "a lake that never had any"
    with suppress(GateFailed, PartialRun), recorded(place.lake, "prepare"):
        if error is not None:
            raise error
    assert [one.path for one in find_lost_tables(place.lake)] == [*PREPARED] * lost
    reconcile(LakeTable(place.lake, "signatures"), [make_shard(place, 1)])
    assert "signatures" not in [one.path for one in find_lost_tables(place.lake)]


def test_a_table_of_a_stage_that_later_runs_lack_is_not_missed(place: Place) -> None:
    for versions in ({"vectors": 1, "augmented": 0}, {"vectors": 2}, {}):
        with recorded(place.lake, "reindex") as note:
            note.versions = versions
    assert [one.path for one in find_lost_tables(place.lake)] == ["vectors"]
