"""Plan and apply: a plan in a file is carried out as long as nothing has moved on; what it costs is estimated."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.pipelines.lakes import result_of, trichord
from trichord.infra.config import EngineConfig, RatesConfig
from trichord.infra.errors import ConfigError
from trichord.pipelines.api import open_workspace
from trichord.pipelines.core.cost import Hours
from trichord.pipelines.core.estimate import bytes_of, estimate_stages, outside_stages
from trichord.pipelines.core.planned import read_basis
from trichord.pipelines.core.runs import RunNote, StageTime, last_runs

SHARDS = ("--set", "index.rows_per_shard=40")


def test_a_plan_is_carried_out_and_refused_once_the_lake_has_moved_on(lake_copy, tmp_path):
    plan, project = tmp_path / "plan.json", ("--project", str(lake_copy))
    trichord("plan", *project, *SHARDS, "--out", str(plan))
    assert result_of(trichord("reindex", *project, *SHARDS, "--plan", str(plan), "--json"))["publication"]
    refused = trichord("reindex", *project, *SHARDS, "--plan", str(plan), check=2)
    assert "another publication is live" in refused.stderr
    assert "Nothing was made" in refused.stderr


def test_other_settings_and_other_sources_are_refused(lake_copy, tmp_path):
    plan = tmp_path / "plan.json"
    trichord("plan", "--project", str(lake_copy), "--out", str(plan))
    basis = read_basis(plan)
    with pytest.raises(ConfigError, match="settings have changed"):
        open_workspace(lake_copy, "prepare.text.min_chars=2").reindex(planned=basis)
    manifest = lake_copy.parent / "corpus" / "manifest.jsonl"
    manifest.write_text(manifest.read_text() + '{"id": "new", "text": "a green circle, all new"}\n', encoding="utf-8")
    workspace = open_workspace(lake_copy)
    with pytest.raises(ConfigError, match="the sources or the settings"):
        workspace.reindex(planned=basis)
    planned = workspace.plan()
    assert workspace.reindex(planned=planned).publication


def test_a_file_that_is_no_plan_is_refused(lake_copy, tmp_path):
    for content in (b"", b"[]", b'{"format": 1}', b'{"format": 2, "plan": {"basis": {}}}', b"[" * 100_000):
        (tmp_path / "plan.json").write_bytes(content)
        with pytest.raises(ConfigError, match="not a plan"):
            read_basis(tmp_path / "plan.json")
    trichord("reindex", "--project", str(lake_copy), "--plan", str(tmp_path / "none"), check=2)
    trichord("reindex", "--project", str(lake_copy), "--plan", str(tmp_path), "--source", "x", check=2)


def note(made: int, seconds: float, cpu_s: float = 0.0, bytes_written: int = 0) -> RunNote:
    return RunNote(
        id="", verb="reindex", trigger="command", started_at="", host="", version="",
        stages={"records": StageTime(made=made, seconds=seconds, cpu_s=cpu_s), "model": StageTime(made=0, seconds=0.5)},
        seconds=seconds + 2.5, bytes_written=bytes_written,
    )  # fmt: skip


def test_runs_of_about_the_same_size_tell_what_the_next_one_takes():
    nights, backfill = [note(1, 1.0), note(2, 2.4), note(1, 1.2)], note(100, 500.0, 900.0, bytes_written=1_000_000)
    runs = [*nights, backfill, note(90, 440.0)]
    found = estimate_stages(runs, {"records": 100, "model": 0})
    assert found["records"] is not None
    assert found["records"].seconds == pytest.approx(100 * (5.0 + 440 / 90) / 2)
    assert found["model"] is not None
    assert found["model"].seconds == 0.5
    one = estimate_stages(runs, {"records": 1})["records"]
    assert one is not None
    assert one.seconds == pytest.approx(1.2)
    assert bytes_of(runs, 100) == 1_000_000
    assert outside_stages(runs, 1) == pytest.approx(2.0)
    assert estimate_stages(runs, {"index": 3}) == {"index": None}


def test_money_is_said_where_there_is_a_rate_for_all_that_is_used():
    stages = {"records": StageTime(made=1, seconds=3_600, cpu_s=7_200), "vectors": StageTime(made=1, seconds=1_800)}
    local = Hours.of(stages, EngineConfig(workers=2), 4)
    assert (local.cores, local.gpus) == (2.0, 2.0)
    assert local.price(RatesConfig(core_hour=0.05)) is None
    assert local.price(RatesConfig(core_hour=0.05, gpu_hour=2, thousand_requests=0.5), 2_000) == pytest.approx(5.1)
    cluster = Hours.of(stages, EngineConfig(kind="ray", workers=8), 0)
    assert cluster.cores == 12.0  # reserved for as long as the stages take


def test_a_run_notes_what_it_cost(lake_copy):
    workspace = open_workspace(lake_copy, "rates={core_hour: 3600}", "index.rows_per_shard=40")
    workspace.reindex()
    [run, *_] = last_runs(workspace.lake)
    assert run.cost == pytest.approx(sum(one.cpu_s for one in run.stages.values()), rel=1e-3)
    assert "cost" in trichord("runs", "--project", str(lake_copy)).stdout


@pytest.mark.full
def test_a_second_backfill_makes_what_its_plan_says(indexed: tuple[Path, dict], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(indexed[0].parent, folder)
    open_workspace(folder / "trichord.yaml", "prepare.text.min_chars=2").backfill()
    workspace = open_workspace(folder / "trichord.yaml", "prepare.text.min_chars=3")
    plan = workspace.plan()
    done = workspace.backfill()
    assert done.switch is not None
    assert plan.by_name["records"].to_make == plan.sources[0].partitions == done.partitions
    assert plan.by_name["records"].rows == done.switch.counts.rows_in
    assert plan.seconds is not None  # how near it comes: tests/bench/plan_fact.py
