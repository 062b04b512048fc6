"""nightly: one reindex, whatever was missed, then maintenance; one exit code."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path

import pytest

from tests.pipelines.lakes import copy_of, result_of, trichord
from trichord.pipelines.api import open_workspace
from trichord.pipelines.core import runs


def _note_a_night(project: Path, ago: datetime.timedelta, exit_code: int = 0) -> None:
    lake = open_workspace(project).lake
    started = datetime.datetime.now(datetime.UTC) - ago
    with runs.recorded(lake, "reindex", "nightly") as note:
        note.id, note.started_at = f"{started:%y%m%d%H%M%S}-00", started.isoformat(timespec="seconds")
        note.publication = None
    if exit_code:
        path = project.parent / "lake" / "_runs" / f"{note.id}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"exit_code": exit_code}), encoding="utf-8")


def test_a_night_reindexes_and_removes_what_nothing_needs(lake_copy):
    left = lake_copy.parent / "lake" / "vectors" / "aa" / f"{'a' * 32}.{'b' * 64}.parquet"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"left behind")
    os.utime(left, (0, 0))
    night = result_of(trichord("nightly", "--project", str(lake_copy), "--json"))
    assert night["run"]["unchanged"]
    assert (night["exit_code"], night["error"], night["missed"]) == (0, "", 0)
    assert night["maintained"]["collected"]["removed"]
    assert not left.exists()
    [run, *_] = result_of(trichord("runs", "--project", str(lake_copy), "--json"))["runs"]
    assert (run["verb"], run["trigger"]) == ("reindex", "nightly")


def test_a_refused_index_ends_with_its_code_and_the_lake_is_maintained(lake_copy):
    failed = trichord(
        "nightly", "--project", str(lake_copy), "--set", "gate.least={mixed.ndcg_at_10: 1.5}",
        "--set", "index.rows_per_shard=40", "--json", check=3,
    )  # fmt: skip
    night = json.loads(failed.stdout.splitlines()[-1])
    assert night["exit_code"] == 3
    assert night["error"].startswith("GateFailed: ")
    assert night["maintained"]["collected"]["removed"]


def test_a_source_that_is_gone_ends_with_its_code_and_a_wrong_setting_touches_nothing(lake_copy):
    gone = trichord("nightly", "--project", str(lake_copy), "--set", "sources.0.path=/no/such.jsonl", "--json", check=7)
    assert json.loads(gone.stdout.splitlines()[-1])["maintained"] is not None
    before = sorted((lake_copy.parent / "lake" / "_runs").iterdir())
    trichord("nightly", "--project", str(lake_copy), "--wait", "--skip", check=2)
    assert sorted((lake_copy.parent / "lake" / "_runs").iterdir()) == before


@pytest.mark.parametrize(("hours", "missed"), [(24, 0), (30, 0), (49, 1), (24 * 5, 4)])
def test_missed_nights_are_counted_from_the_last_one_that_ended_well(indexed, tmp_path, hours, missed):
    project = copy_of(indexed[0].parent, tmp_path / "copy")
    _note_a_night(project, datetime.timedelta(hours=hours))
    _note_a_night(project, datetime.timedelta(hours=1), exit_code=7)
    night = open_workspace(project).nightly()
    assert night.missed == missed
    assert open_workspace(project).nightly().missed == 0
