"""Workspace: a project opened in Python, and its jobs as methods with typed results."""

from __future__ import annotations

import json

import pytest

import trichord
from tests.pipelines.lakes import SETTINGS, rows_of
from trichord.infra.errors import ConfigError
from trichord.pipelines.api import workspace_of


@pytest.fixture(scope="module")
def workspace(indexed):
    return trichord.open(indexed[0])


def test_opening_takes_overrides_as_the_command_line_does(indexed):
    opened = trichord.open(str(indexed[0]), "query.ranking=rank_fusion", "engine.workers=3")
    assert (opened.project.query.ranking, opened.project.engine.workers) == ("rank_fusion", 3)
    with pytest.raises(ConfigError, match=r"query\.rankings"):
        trichord.open(indexed[0], "query.rankings=plain")
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        trichord.open(indexed[0].parent / "none.yaml")


def test_settings_in_memory_are_a_project_too(indexed, workspace):
    corpus = indexed[0].parent / "corpus" / "manifest.jsonl"
    sources = [{"name": "demo", "kind": "manifest", "path": str(corpus)}]
    opened = workspace_of({"lake": str(indexed[0].parent / "lake"), "sources": sources, **SETTINGS})
    assert opened.publications.live() == workspace.publications.live()
    assert opened.search("a red circle", k=3) == workspace.search("a red circle", k=3)


def test_what_is_live_is_told_typed_and_ready_for_json(workspace, indexed):
    status = workspace.status()
    assert status.live is not None
    assert status.live.id == indexed[1]["publication"]
    key = next(row["id"] for row in rows_of(indexed[0].parent / "corpus"))
    verified = workspace.verify()
    assert verified.files > 0
    for result in (status, workspace.explain(key), verified, workspace.gc()):
        assert json.loads(json.dumps(result.to_dict())) == result.to_dict()


def test_measuring_again_gives_the_figures_of_the_gate(workspace):
    live = workspace.publications.live()
    assert workspace.evaluate().to_dict() == {"publication": live.id} | live.verdict.evaluation


def test_a_candidate_is_held_back_published_and_rolled_back(lake_copy):
    workspace = trichord.open(lake_copy, "index.rows_per_shard=40")
    before = workspace.publications.live()
    assert before is not None
    assert workspace.reindex(publish=False).publication is None
    assert workspace.publications.live() == before
    published = workspace.publish()
    assert (published.kind, published.manifest_digest != before.manifest_digest) == ("publish", True)
    back = workspace.rollback(before.id)
    assert (back.kind, back.manifest_digest) == ("rollback", before.manifest_digest)
    assert trichord.open(lake_copy).reindex().unchanged


def test_a_folder_that_holds_no_model_is_a_plain_error(tmp_path):
    with pytest.raises(ConfigError, match=r"is not the folder of a model: it holds no model\.json"):
        trichord.load_model(tmp_path)
