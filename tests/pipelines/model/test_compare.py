"""A comparison trains every cell once, each by one worker, and measures all of them on the same records."""

from __future__ import annotations

from pathlib import Path

from tests.pipelines.lakes import workspace_of
from trichord.infra.config import Project, TrainConfig
from trichord.pipelines.model.compare import MEASURES, VIEWS, Cell, Grid, compare

LOSSES = ("infonce", "mixed_gallery_infonce")


def test_every_cell_is_trained_once_and_a_second_run_trains_nothing(lake_copy: Path) -> None:
    workspace = workspace_of(lake_copy, "train.epochs=1", "train.workers=2", "engine.workers=2")
    grid = Grid(fusions=("gated_attention",), losses=LOSSES, seeds=1)
    first = compare(workspace, grid).to_dict()
    assert [(run["loss"], run["seconds"] is None) for run in first["runs"]] == [(loss, False) for loss in LOSSES]
    assert len({run["model"] for run in first["runs"]}) == 2
    assert [(row["loss"], row["view"]) for row in first["rows"]] == [(loss, view) for loss in LOSSES for view in VIEWS]
    found = {row["view"]: [name for name in MEASURES if row[name] is None] for row in first["rows"]}
    assert found == {view: ["ndcg_at_10"] if view == "all_views" else [] for view in VIEWS}
    second = compare(workspace, grid).to_dict()
    assert [run["seconds"] for run in second["runs"]] == [None, None]
    assert second["rows"] == first["rows"]
    assert [run["model"] for run in second["runs"]] == [run["model"] for run in first["runs"]]


def test_a_cell_is_trained_by_one_worker_whatever_the_project_says() -> None:
    source = {"kind": "manifest", "name": "a", "path": "a"}
    base = Project.model_validate({"lake": "lake", "sources": (source,), "train": TrainConfig(workers=4)})
    cell = Cell(fusion="gated_attention", loss="infonce", share=1.0, seed=2)
    project = cell.project(base)
    assert (project.train.workers, project.train.seed, project.train.loss) == (1, 2, "infonce")
