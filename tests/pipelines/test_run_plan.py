"""plan says what a reindex then does: rows by key, partitions, model, vectors and index shards, over random edits."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.lakes import copy_of, rows_of, workspace_of, write_rows
from trichord.pipelines.core.runs import last_runs
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.reindex import RunSummary, reindex
from trichord.pipelines.run_plan import RunPlan, plan_run

LOOSE = ("gate.max_row_drop=1", "gate.max_recall_drop=1", "gate.min_over_chance=0", "gate.min_ann_recall=0.5")


@pytest.fixture(scope="module")
def project(indexed: tuple[Path, dict], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that this module changes, edit after edit."""
    return copy_of(indexed[0].parent, tmp_path_factory.mktemp("planned") / "copy")


def loose(project: Path, *settings: str) -> Workspace:
    return workspace_of(project, *LOOSE, *settings)


def made(summary: RunSummary, table: str) -> int:
    return sum(len(one.made) for one in summary.touched if one.table == table)


def removed(summary: RunSummary, table: str) -> int:
    return sum(len(one.removed) for one in summary.touched if one.table == table)


def came_true(plan: RunPlan, summary: RunSummary) -> None:
    """What happened is what the plan said; where it said `at least`, no less."""
    stages = plan.by_name
    assert stages["records"].to_make == made(summary, "records")
    assert stages["records"].removed == removed(summary, "records")
    assert bool(stages["model"].to_make) == (summary.fingerprint != plan_fingerprint(plan))
    for name in ("vectors", "index"):
        if stages[name].at_least:
            assert made(summary, name) >= stages[name].to_make
        elif stages[name].about:  # a group of partitions near the size of a shard may be divided or not
            assert abs(made(summary, name) - stages[name].to_make) <= 2
            assert removed(summary, name) >= stages[name].removed
        else:
            assert made(summary, name) == stages[name].to_make
            assert removed(summary, name) == stages[name].removed


def plan_fingerprint(plan: RunPlan) -> str:
    """The model's fingerprint of the publication that the plan was made against."""
    return FINGERPRINTS[plan.live or ""]


FINGERPRINTS: dict[str, str] = {}


def note_live(workspace: Workspace) -> None:
    live = workspace.publications.live()
    assert live is not None
    FINGERPRINTS[live.id] = live.fingerprint


def test_an_unchanged_lake_has_nothing_to_do(indexed: tuple[Path, dict]) -> None:
    workspace = workspace_of(indexed[0])
    plan = plan_run(workspace)
    assert plan.unchanged
    assert plan.stages == ()
    assert last_runs(workspace.lake)[-1].whole == sum(source.rows for source in plan.sources)
    assert plan.rows.added.count == plan.rows.changed.count == plan.rows.deleted.count == 0


@pytest.mark.parametrize("edits", [3, pytest.param(20, marks=pytest.mark.full)])
def test_rows_are_told_by_key_and_the_run_does_what_the_plan_said(project: Path, edits: int) -> None:
    for number in range(edits):
        workspace = loose(project)
        note_live(workspace)
        changed, deleted, added = edit(project.parent / "corpus", random.Random(f"{edits}/{number}"))
        plan = plan_run(workspace)
        assert (plan.rows.changed.count, plan.rows.deleted.count, plan.rows.added.count) == (
            len(changed), len(deleted), len(added),
        )  # fmt: skip
        for said, wanted in ((plan.rows.changed, changed), (plan.rows.deleted, deleted), (plan.rows.added, added)):
            assert {one.split("/", 1)[1] for one in said.first} <= wanted
        before = plan_run(workspace)
        assert before == plan  # a plan changes nothing
        summary = reindex(workspace)
        came_true(plan, summary)
        assert made(summary, "vectors") >= plan.by_name["vectors"].to_make
        assert plan.seconds is None or plan.seconds > 0


def test_a_changed_dimension_retrains_and_encodes_everything(project: Path) -> None:
    note_live(loose(project))
    workspace = loose(project, "model.dimension=48")
    plan = plan_run(workspace)
    stages = plan.by_name
    assert stages["records"].to_make == 0
    assert stages["model"].to_make == 1
    assert "settings of model" in stages["model"].why
    assert stages["vectors"].to_make == stages["vectors"].kept + stages["vectors"].to_make == len(partitions(workspace))
    assert stages["index"].kept == 0
    summary = reindex(workspace)
    came_true(plan, summary)
    assert plan.seconds is not None  # this lake has a history by now
    assert last_runs(workspace.lake)[0].whole == 0  # and this run kept the records


def test_what_a_run_that_did_not_publish_has_made_is_not_made_again(indexed: tuple[Path, dict], tmp_path: Path) -> None:
    copy = copy_of(indexed[0].parent, tmp_path / "copy")
    workspace = loose(copy, "model.dimension=40")
    first = plan_run(workspace)
    assert (first.by_name["model"].to_make, first.by_name["vectors"].to_make > 0) == (1, True)
    reindex(workspace, publishing=False)
    plan = plan_run(workspace)
    stages = plan.by_name
    assert [stages[name].to_make for name in ("records", "features", "model", "vectors", "index")] == [0] * 5
    assert "did not publish" in stages["model"].why
    summary = reindex(workspace)
    assert [made(summary, name) for name in ("records", "vectors", "index")] == [0, 0, 0]
    assert summary.publication is not None


def test_a_lake_without_a_publication_makes_everything(indexed: tuple[Path, dict], tmp_path: Path) -> None:
    copy = copy_of(indexed[0].parent, tmp_path / "copy")
    shutil.rmtree(copy.parent / "lake")
    plan = plan_run(workspace_of(copy))
    assert plan.live is None
    assert plan.seconds is None
    assert plan.by_name["model"].why == "no model is published yet"
    assert plan.by_name["records"].kept == 0
    assert plan.rows.added.count == sum(source.rows for source in plan.sources)
    json.dumps(plan.to_dict())


def partitions(workspace: Workspace) -> dict[str, Any]:
    return workspace.table("records").shards()


def edit(corpus: Path, draw: random.Random) -> tuple[set[str], set[str], set[str]]:
    """Change, delete and add some rows of a corpus; their keys."""
    rows = rows_of(corpus)
    picked = draw.sample(range(len(rows)), 6)
    changed = {rows[i]["id"] for i in picked[: draw.randint(0, 3)]}
    deleted = {rows[i]["id"] for i in picked[3 : 3 + draw.randint(0, 2)]}
    for row in rows:
        if row["id"] in changed:
            row["text"] = f"{row['text']} seen {draw.randint(0, 10**9)} times"
    fresh = [
        dict(
            rows[picked[-1]], id=f"fresh-{draw.randint(0, 10**9)}", text=f"a new scene number {draw.randint(0, 10**9)}"
        )
        for _ in range(draw.randint(0 if changed or deleted else 1, 3))
    ]
    write_rows(corpus, [row for row in rows if row["id"] not in deleted] + fresh)
    return changed, deleted, {row["id"] for row in fresh}
