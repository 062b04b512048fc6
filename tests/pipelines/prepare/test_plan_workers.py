"""Planning on an engine's workers: every engine makes the plan that the driver makes alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from trichord.infra.config import EngineConfig, ManifestSource, Project
from trichord.infra.lake import layout
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.plan_workers import open_workers
from trichord.transforms.collect import Plan, plan_source, scan
from trichord.transforms.collect.workers import Workers

ROWS = 600


def planned(source: ManifestSource, lake: Path, engine: EngineConfig) -> tuple[Plan, dict[str, bytes], Workers | None]:
    """The plan, the bytes of its parts, and the workers."""
    workspace = Workspace(Project(lake=str(lake), sources=[source], engine=engine))
    with open_workers(workspace) as workers:
        willing = None if workers is None else replace(workers, least_bytes=0)
        plan = plan_source(source, workspace.lake, rows_per_partition=4, cache=None, workers=willing)
    parts = {path.name: path.read_bytes() for path in sorted((lake / layout.PLANS).iterdir())}
    return plan, parts, workers


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("local", "rows.csv"),
        pytest.param("ray", "rows.jsonl", marks=pytest.mark.full),
        pytest.param("beam", "rows.csv", marks=pytest.mark.full),
    ],
)
def test_every_engine_makes_the_plan_of_one_process(
    kind: str, name: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "ray":
        request.getfixturevalue("ray_cluster")
    monkeypatch.setattr(scan, "PORTION_BYTES", 4_000)
    monkeypatch.setattr(scan, "_HELD", 2)
    if name.endswith("csv"):
        lines = ["id,text", *(f'k{i},"text\n{i}"' for i in range(ROWS))]
    else:
        lines = [json.dumps({"id": f"k{i}", "text": f"text {i}"}) for i in range(ROWS)]
    (tmp_path / name).write_text("\n".join(lines))
    source = ManifestSource(kind="manifest", name="s", path=str(tmp_path / name))

    plan, parts, nobody = planned(source, tmp_path / "alone", EngineConfig(workers=1))
    found, same, workers = planned(source, tmp_path / kind, EngineConfig.model_validate({"kind": kind, "workers": 2}))

    assert nobody is None
    assert workers is not None
    assert workers.lazy == (kind != "beam")
    assert (found, same) == (plan, parts)
    assert plan.rows == ROWS
