"""A preparation planned on paper: what it says of partitions is what planning makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.lakes import result_of, trichord
from trichord.infra.config import Project, StorageConfig
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.pipelines.core.runs import RunNote, StageTime
from trichord.pipelines.prepare.estimate import prepare_on_paper
from trichord.pipelines.stages.on_paper import run_on_paper
from trichord.transforms.collect.partitions import PlannedRow
from trichord.transforms.collect.plan_parts import write_plan


def project_of(**more: object) -> Project:
    source = {"kind": "manifest", "name": "none", "path": "/none.jsonl"}
    return Project.model_validate({"lake": "/lake", "sources": [source], "engine": {"workers": 4}, **more})


@pytest.mark.parametrize(("rows", "limit"), [(100, 256), (1_500, 16), (3_000, 7)])
def test_the_partitions_foretold_are_those_of_a_plan(rows: int, limit: int, tmp_path: Path) -> None:
    lake = Lake(Storage(StorageConfig()), str(tmp_path))
    planned = write_plan((PlannedRow(key=f"k{i}", line={"text": "a"}) for i in range(rows)), "s", lake, limit)
    foretold = prepare_on_paper(project_of(prepare={"rows_per_partition": limit}), rows)["partitions"]
    assert 0.9 * len(planned) <= foretold <= 1.1 * len(planned)


def test_a_billion_rows_are_estimated_without_a_row() -> None:
    some, many = (prepare_on_paper(project_of(), rows, cores=100) for rows in (10**8, 10**9))
    assert many["modalities"] == ["text", "image", "audio"]
    assert many["prepare_hours"] == pytest.approx(10 * some["prepare_hours"], rel=1e-3)
    assert many["prepare_core_hours"] == pytest.approx(100 * many["prepare_hours"], rel=1e-3)
    assert many["requests"]["list"] == 2 * 10**6
    assert many["requests"]["get"] > 2 * 10**9
    assert "set it to auto" in many["advice"]

    assert 0.9 * many["plan_core_hours"] / 100 < many["plan_hours"] < many["plan_core_hours"] / 5
    tars = [{"kind": "webdataset", "name": "w", "path": "/tars"}]
    alone = prepare_on_paper(project_of(sources=tars), 10**9, cores=100)
    assert alone["plan_hours"] == alone["plan_core_hours"], "the driver plans it"

    auto = prepare_on_paper(project_of(prepare={"rows_per_partition": "auto"}), 10**9)
    assert auto["partitions"] <= 20_000
    assert auto["advice"] == ""
    assert auto["driver_memory_bytes"] < many["driver_memory_bytes"] / 10
    assert auto["worker_memory_bytes"] == many["worker_memory_bytes"] / 25
    texts = prepare_on_paper(project_of(index={"views": ["text"]}), 10**9)
    assert texts["prepare_core_hours"] < many["prepare_core_hours"] / 10
    assert texts["requests"]["list"] == 0


def past_run(rows: int, records_s: float) -> RunNote:
    stages = {
        "records": StageTime(made=4, seconds=records_s, cpu_s=2 * records_s),
        "model": StageTime(made=1, seconds=30.0, cpu_s=45.0),
        "gate": StageTime(made=1, seconds=2.0, cpu_s=3.0),
    }
    return RunNote(id="1", verb="reindex", trigger="", started_at="", host="", version="", stages=stages, whole=rows)


def test_stages_are_scaled_from_the_largest_first_run_of_the_lake() -> None:
    runs = [past_run(999, 1e6), past_run(10_000, 36.0), past_run(5_000, 1e6), past_run(0, 1e6)]
    found = run_on_paper(project_of(index={"views": ["text", "image"]}), runs, 10**6, cores=8)
    costs = {one["stage"]: (one["core_hours"], one["hours"], one["measured"]) for one in found["stages"]}
    core_hours, hours, _ = costs["records"]
    assert 1.85 < core_hours < 2.0, "a hundred times the CPU time, but workers start once"
    assert hours == pytest.approx(core_hours / 8, rel=1e-3), "divided among the cores"
    assert costs["model"] == (1.25, 0.8333, True), "one process, so by its own clock"
    assert costs["gate"][0] == pytest.approx(3 / 3_600, rel=0.1), "it measures a sample"
    assert costs["features"] == (None, None, True), "that run had none"
    assert costs["index"] == (found["core_hours"], found["build_hours"], False)
    assert (found["measured_rows"], found["vectors"]) == (10_000, 2 * 10**6)


def test_without_such_a_run_nothing_is_said_of_what_nobody_knows() -> None:
    found = run_on_paper(project_of(), [past_run(999, 1.0)], 10**6)
    known = [one["stage"] for one in found["stages"] if one["core_hours"] is not None]
    assert known == ["plan", "records", "index"]
    assert not any(one["measured"] for one in found["stages"])


def test_the_command_prints_all_estimates(tmp_path: Path) -> None:
    project = tmp_path / "trichord.yaml"
    project.write_text("lake: lake\nsources: [{kind: manifest, name: none, path: none.jsonl}]\n")
    asked = ("plan", "--rows", "1e9", "--dimension", "64", "--cores", "64", "--project", str(project))
    found = result_of(trichord(*asked, "--json"))
    assert found["preparation"]["partitions"] > 10**6
    shown = trichord(*asked).stdout
    assert "Estimate for a first run of 1,000,000,000 rows" in " ".join(shown.split())
    assert "Estimate for preparing 1,000,000,000 rows with text, image, audio" in " ".join(shown.split())
    assert "Estimate for an index of 1,000,000,000 vectors" in " ".join(shown.split())
