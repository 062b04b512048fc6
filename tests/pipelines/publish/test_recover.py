"""A damaged lake: what recover shows, what it does, and that it can be killed at any step."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.faults.damage import damage
from tests.pipelines.lakes import result_of, trichord, workspace_of
from trichord.infra.errors import StorageError
from trichord.infra.lake import layout
from trichord.pipelines.core.commits import keep_copies
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.publish.publish import publish_candidate
from trichord.pipelines.publish.recover import plan_recovery, recover
from trichord.pipelines.publish.verify import verify


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and layout.DAMAGED not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _one(lake: Path, pattern: str) -> Path:
    return sorted(lake.glob(pattern))[0]


def _damage_much(lake: Path) -> None:
    """Damage files that recover can write again itself, in every way, and a cache."""
    damage(_one(lake, "publications/??/*.parquet"), "flip")
    damage(_one(lake, "publications/_commits/*.copy"), "cut")
    damage(_one(lake, "records/_delta_log/*.json"), "remove")
    damage(_one(lake, "vectors/_delta_log/*.json"), "empty")
    damage(_one(lake, "index/manifests/*.partitions.json"), "flip")
    damage(_one(lake, "index/??/*.json"), "cut")


def test_recover_shows_first_and_then_restores_every_byte(lake_copy):
    lake, run = lake_copy.parent / "lake", ("--project", str(lake_copy))
    before = _files(lake)
    _damage_much(lake)
    damaged = _files(lake)
    refused = trichord("search", "--text", "a red circle", *run, check=6)
    assert "trichord recover" in refused.stderr
    assert "6 problems" in trichord("verify", *run, check=6).stderr
    shown = result_of(trichord("recover", "--json", *run))
    assert (shown["done"], shown["next"], len(shown["steps"])) == (False, "trichord recover --yes", 6)
    assert _files(lake) == damaged
    assert "Next: trichord recover --yes" in trichord("recover", *run).stdout
    done = result_of(trichord("recover", "--yes", "--json", *run))
    assert (done["done"], done["searchable"], done["next"]) == (True, True, "")
    assert done["live"] == done["live_before"]
    assert _files(lake) == before
    assert "Intact" in trichord("recover", *run).stdout


def test_recover_that_is_killed_after_any_step_is_completed_by_the_next(lake_copy, tmp_path):
    lake = lake_copy.parent / "lake"
    before = _files(lake)
    _damage_much(lake)
    shutil.rmtree(lake / "_features")
    steps = len(plan_recovery(workspace_of(lake_copy))[1])
    for kept in range(1, steps):
        project = shutil.copytree(lake_copy.parent, tmp_path / str(kept), copy_function=os.link) / "trichord.yaml"
        workspace = workspace_of(project)
        for step in plan_recovery(workspace)[1][:kept]:
            assert step.apply is not None
            step.apply()
        recover(workspace, yes=True)
        after = _files(project.parent / "lake")
        assert after == {path: data for path, data in before.items() if not path.startswith("_features/")}
        verify(workspace)


@pytest.mark.parametrize("lost", ["publications", "records"])
def test_a_log_that_is_lost_with_its_copies_is_made_again(lake_copy, lost):
    lake, workspace = lake_copy.parent / "lake", workspace_of(lake_copy)
    live = workspace.publications.require_live()
    for path in [*lake.glob(f"{lost}/_delta_log/*"), *lake.glob(f"{lost}/_commits/*")]:
        path.write_bytes(b"")
    with pytest.raises(StorageError, match="trichord recover"):
        verify(workspace)
    done = recover(workspace, yes=True)
    assert (done.searchable, done.next) == (True, "")
    assert workspace.publications.rows() == [live]
    assert verify(workspace).publications == 1


def test_a_lake_of_an_earlier_version_gets_its_copies(lake_copy):
    lake, workspace = lake_copy.parent / "lake", workspace_of(lake_copy)
    for folder in lake.glob("*/_commits"):
        shutil.rmtree(folder)
    assert workspace.publications.live() is not None
    keep_copies(workspace)
    assert verify(workspace).publications == 1


def test_damaged_caches_are_said_to_be_caches_and_nothing_else(lake_copy):
    lake, run = lake_copy.parent / "lake", ("--project", str(lake_copy))
    caches = [_one(lake, pattern) for pattern in ("_features/*/*", "_dedup/*/*", "_plans/*", "_truth/*")]
    for path in caches:
        damage(path, "flip")
    found = result_of(trichord("verify", "--json", *run))
    assert found["notes"] == sorted(path.relative_to(lake).as_posix() for path in caches)
    assert "caches are damaged" in trichord("verify", *run).stdout
    trichord("recover", "--yes", *run)
    assert not [path for path in caches if path.exists()]
    assert result_of(trichord("verify", "--json", *run))["damaged_caches"] == 0


@pytest.mark.parametrize("way", ["flip", "cut", "empty"])
def test_no_verb_fails_where_all_caches_are_damaged(lake_copy, way):
    lake, run = lake_copy.parent / "lake", ("--project", str(lake_copy))
    paths = [path for path in lake.rglob("*") if path.is_file()]
    caches = [path for path in paths if layout.kind_of(path.relative_to(lake).as_posix()) is layout.Kind.CACHE]
    assert lake / layout.PLAN_VERSIONS in caches
    for path in caches:
        damage(path, way)
    for verb in (
        "gc",
        "status",
        "doctor",
        "verify",
        "rejects ls",
        "duplicates ls",
        "search --text red",
        "plan",
        "prepare",
    ):
        trichord(*verb.split(), *run)
    assert result_of(trichord("reindex", "--json", *run))["unchanged"]
    trichord("gc", "--delete", "--set", "gc_grace_s=0", *run)
    trichord("evaluate", *run)


@pytest.mark.parametrize("way", ["flip", "cut", "empty"])
def test_a_damaged_candidate_is_not_published_and_the_advice_works(lake_copy, way):
    lake, workspace = lake_copy.parent / "lake", workspace_of(lake_copy)
    damage(lake / layout.CANDIDATE, way)
    with pytest.raises(StorageError, match="trichord recover"):
        publish_candidate(workspace)
    assert trichord("status", "--project", str(lake_copy)).returncode == 0
    recover(workspace, yes=True)
    assert not (lake / layout.CANDIDATE).exists()
    verify(workspace)


def _training_log(workspace: Workspace) -> str:
    return f"{workspace.publications.require_live().model}/training.json"


def test_a_damaged_training_log_is_noticed_though_no_search_needs_it(lake_copy):
    lake, workspace = lake_copy.parent / "lake", workspace_of(lake_copy)
    damage(lake / _training_log(workspace), "flip")
    with pytest.raises(StorageError, match=r"training\.json is damaged"):
        verify(workspace)
    assert recover(workspace, yes=False).searchable


@pytest.mark.parametrize("way", ["remove", "cut"])
def test_a_lost_recipe_is_written_again_by_the_command_that_recover_names(lake_copy, way):
    run = ("--project", str(lake_copy))
    damage(_one(lake_copy.parent / "lake", "_recipes/*.json"), way)
    assert "_recipes/" in trichord("verify", *run, check=6).stderr
    done = result_of(trichord("recover", "--yes", "--json", *run))
    assert (done["searchable"], done["next"]) == (True, "trichord reindex")
    trichord(*done["next"].split()[1:], *run)
    assert result_of(trichord("recover", "--json", *run))["steps"] == []
    verify(workspace_of(lake_copy))


def test_a_commit_that_names_another_shard_and_has_no_copy_is_not_taken_for_whole(lake_copy):
    lake, run = lake_copy.parent / "lake", ("--project", str(lake_copy))
    _one(lake, "matches/_commits/*.copy").unlink()
    commit = _one(lake, "matches/_delta_log/*.json")
    text = commit.read_text()
    place = text.index('.parquet"') - 1  # the last digit of a shard's SHA-256
    commit.write_text(text[:place] + ("1" if text[place] == "0" else "0") + text[place + 1 :])
    done = result_of(trichord("recover", "--yes", "--json", *run))
    assert (done["searchable"], done["next"]) == (True, "trichord reindex")
    assert "names other shards" in str(done["steps"])
    trichord("reindex", *run)
    verify(workspace_of(lake_copy))
    assert result_of(trichord("recover", "--json", *run))["steps"] == []
