"""What a model made of held-out records is kept: a gate embeds only those that changed, and measures the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.lakes import workspace_of
from trichord.encoders.model import FusionModel
from trichord.infra.lake.shard import find_finished
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.kept_views import keep_views, read_views, views_path
from trichord.pipelines.evaluation.parts import parts_of
from trichord.pipelines.publish.evaluate import EvaluateTask, Figures, pinned_records


def evaluated(workspace: Workspace, limit: int | None = 1_000, *, keep: bool = True) -> Figures:
    live = workspace.publications.require_live()
    rows = pinned_records(workspace, live)
    footers = find_finished(workspace.lake, "records", [ref.address for ref in rows[0].values()])
    task = EvaluateTask(
        lake=workspace.lake,
        project=workspace.project,
        parts=parts_of(workspace, footers.values(), workspace.pinned_shards("matches", live).values()),
        model=live.model,
        fingerprint=live.fingerprint,
        limit=limit,
        keep=keep,
    )
    found = task(rows)
    assert found is not None
    return found


@pytest.fixture
def embedded(monkeypatch) -> list[int]:
    """How many records each pass embeds."""
    rows: list[int] = []
    embed = FusionModel.embed_views

    def count(self, features, views):
        rows.append(len(features))
        return embed(self, features, views)

    monkeypatch.setattr(FusionModel, "embed_views", count)
    return rows


def test_only_records_that_are_not_kept_are_embedded_and_the_figures_are_the_same(lake_copy, embedded):
    workspace = workspace_of(lake_copy)
    live = workspace.publications.require_live()
    path = Path(workspace.lake.uri(views_path(live.fingerprint)))
    kept = read_views(workspace.lake, live.fingerprint, workspace.project.model.dimension)
    assert len(kept.keys) == live.verdict.evaluation["records"]
    again = evaluated(workspace)
    assert embedded == []
    assert again.evaluation == live.verdict.evaluation

    some = np.arange(1, len(kept.keys), 2)
    keep_views(workspace.lake, live.fingerprint, [kept.keys[row] for row in some], kept.take(some))
    assert evaluated(workspace).evaluation == again.evaluation
    assert embedded == [len(kept.keys) - len(some)]
    assert read_views(workspace.lake, live.fingerprint, 32).keys == kept.keys

    path.write_bytes(path.read_bytes()[:-9])  # damaged
    whole = evaluated(workspace)
    assert embedded[1:] == [len(kept.keys)]
    assert whole.evaluation == again.evaluation
    assert whole.outcomes is not None
    assert again.outcomes is not None
    assert whole.outcomes.to_bytes() == again.outcomes.to_bytes()


def test_another_model_finds_nothing_and_no_more_is_kept_than_was_measured(lake_copy, embedded):
    workspace = workspace_of(lake_copy)
    live = workspace.publications.require_live()
    assert read_views(workspace.lake, "another", 32).keys == ()
    assert read_views(workspace.lake, live.fingerprint, 64).keys == ()  # of another width
    assert evaluated(workspace, limit=3).evaluation["records"] == 3
    assert embedded == []
    assert len(read_views(workspace.lake, live.fingerprint, 32).keys) == 3
    whole = evaluated(workspace, limit=None, keep=False)  # as `trichord evaluate` does
    assert whole.evaluation["records"] == live.verdict.evaluation["records"]
    assert len(read_views(workspace.lake, live.fingerprint, 32).keys) == 3
