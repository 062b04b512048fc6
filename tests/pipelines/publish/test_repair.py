"""What is lost is made again, and what cannot be vouched for does not go live."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.pipelines.lakes import SETTINGS, rows_of, trichord, workspace_of, write_project, write_rows
from trichord.encoders import model_file
from trichord.encoders.model import FusionModel
from trichord.infra.errors import GateFailed, SourceError, StorageError
from trichord.pipelines.prepare.plan import make_plan
from trichord.pipelines.publish.gc import gc
from trichord.pipelines.publish.publish import publish_candidate, rollback
from trichord.pipelines.publish.verify import verify
from trichord.pipelines.reindex import reindex
from trichord.pipelines.run_plan import plan_run
from trichord.pipelines.search.search import search
from trichord.pipelines.stages.inputs import inputs_digest
from trichord.pipelines.stages.live_model import require_live_model


@pytest.mark.parametrize("lost", ["records/*/*.parquet", "vectors/*/*.parquet", "index/*/*.faiss", "index/manifests/*"])
def test_lost_files_are_made_again_as_they_were(lake_copy, indexed, lost):
    for path in (lake_copy.parent / "lake").glob(lost):
        path.unlink()
    workspace = workspace_of(lake_copy)
    with pytest.raises(StorageError):
        verify(workspace)
    summary = reindex(workspace)
    assert not summary.unchanged
    assert summary.manifest_digest == indexed[1]["manifest_digest"]
    assert verify(workspace).files > 0
    assert reindex(workspace).unchanged


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "damage"),
    [("training.json", Path.unlink), ("model.json", _cut), ("model.safetensors", _flip)],
)
def test_a_lost_model_is_not_replaced_without_a_word(lake_copy, indexed, name, damage):
    (path,) = (lake_copy.parent / "lake" / "models").glob(f"*/{name}")
    whole = path.read_bytes()
    damage(path)
    workspace = workspace_of(lake_copy)
    write_rows(lake_copy.parent / "corpus", rows_of(lake_copy.parent / "corpus")[1:])  # there is something to do
    before = workspace.publications.live()
    model = next(stage for stage in plan_run(workspace).stages if stage.stage == "model")
    assert name in model.why
    assert "--retrain" in model.why
    refused = trichord("reindex", "--project", str(lake_copy), check=3)
    assert name in refused.stderr
    assert "--retrain" in refused.stderr
    assert "rollback" not in refused.stderr  # there is no other publication
    assert workspace.publications.live() == before
    path.write_bytes(whole)  # the first choice
    summary = reindex(workspace)
    assert (summary.fingerprint, summary.unchanged) == (indexed[1]["fingerprint"], False)
    verify(workspace)


def test_a_model_of_another_format_is_not_replaced_without_a_word(indexed, monkeypatch):
    workspace = workspace_of(indexed[0])
    live = workspace.publications.require_live()
    assert require_live_model(workspace, live) is False
    monkeypatch.setattr(model_file, "MODEL_FORMAT", model_file.MODEL_FORMAT + 1)
    with pytest.raises(GateFailed, match=r"has format 3, and this version of trichord reads only 4\."):
        require_live_model(workspace, live)
    assert require_live_model(workspace_of(indexed[0], "train.policy=always"), live) is True


def test_a_lost_model_is_trained_again_on_request_and_an_equal_one_keeps_the_space(lake_copy, indexed):
    models = lake_copy.parent / "lake" / "models"
    (path,) = models.glob("*/model.safetensors")
    _cut(path)
    workspace = workspace_of(lake_copy)
    write_rows(lake_copy.parent / "corpus", rows_of(lake_copy.parent / "corpus"))
    summary = reindex(workspace, retrain=True)
    assert summary.fingerprint == indexed[1]["fingerprint"]
    assert summary.manifest_digest == indexed[1]["manifest_digest"]
    verify(workspace)
    assert len(search(workspace, text="a red circle", image=None, audio=None, k=3)["hits"]) == 3
    assert reindex(workspace).unchanged

    (models / path.parent.name / "training.json").unlink()
    write_rows(lake_copy.parent / "corpus", rows_of(lake_copy.parent / "corpus")[20:])
    other = reindex(workspace, retrain=True)
    assert other.fingerprint != indexed[1]["fingerprint"]
    assert FusionModel.load(str(path.parent)).fingerprint == indexed[1]["fingerprint"]  # readers of the old one keep it
    assert reindex(workspace).unchanged


def test_of_a_lost_model_a_rollback_is_offered_where_it_works(lake_copy):
    workspace = workspace_of(lake_copy)
    first = workspace.publications.require_live()
    second = reindex(workspace_of(lake_copy, "train.seed=5"))
    (lake_copy.parent / "lake" / workspace.publications.require_live().model / "training.json").unlink()
    with pytest.raises(GateFailed, match=f"trichord rollback {first.id}") as refused:
        reindex(workspace_of(lake_copy, "train.seed=5"))
    assert str(refused.value).count("training.json is missing") == 1
    rollback(workspace, first.id)
    assert workspace.publications.require_live().fingerprint == first.fingerprint != second.fingerprint


def test_a_candidate_whose_files_are_gone_does_not_go_live(lake_copy):
    workspace = workspace_of(lake_copy, "index.rows_per_shard=40")
    live = workspace.publications.live()
    assert reindex(workspace, publishing=False).publication is None
    collected = gc(workspace_of(lake_copy, "gc_grace_s=0"), delete=True)
    publish_candidate(workspace)  # gc keeps what a candidate pins
    assert collected.removed
    assert workspace.publications.live() != live

    workspace = workspace_of(lake_copy, "index.rows_per_shard=30")
    reindex(workspace, publishing=False)
    shutil.rmtree(lake_copy.parent / "lake" / "index" / "manifests")
    with pytest.raises(StorageError):
        publish_candidate(workspace)


def test_nothing_held_out_is_nothing_measured_and_not_published(tmp_path):
    project = write_project(
        tmp_path, records=40, settings={**SETTINGS, "train": {"epochs": 2, "validation": 0.0, "test": 0.0}}
    )
    workspace = workspace_of(project)
    with pytest.raises(GateFailed, match="held_out_records"):
        reindex(workspace)
    (story,) = (tmp_path / "lake" / "models").glob("*/training.json")
    assert [entry["epoch"] for entry in json.loads(story.read_text())["history"]] == [0, 1, 2]
    assert workspace.publications.live() is None


def test_nothing_to_train_on_says_so(tmp_path):
    project = write_project(tmp_path, records=2)
    write_rows(tmp_path / "corpus", [{"id": "empty", "text": " "}])
    with pytest.raises(SourceError, match="rejects ls"):
        reindex(workspace_of(project))


def test_the_order_of_sources_decides_who_survives_and_the_survivor_is_shown(tmp_path):
    write_project(tmp_path, records=40)
    rows = rows_of(tmp_path / "corpus")
    copies = [dict(row, text=f"THE OTHER ONE {row['id']}", captions=[]) for row in rows[:10]]
    (tmp_path / "corpus" / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in copies))
    sources = [
        {"name": name, "kind": "manifest", "path": f"corpus/{file}"}
        for name, file in (("first", "manifest.jsonl"), ("second", "other.jsonl"))
    ]
    digests = []
    for order in (sources, sources[::-1]):
        project = tmp_path / "trichord.yaml"
        project.write_text(yaml.safe_dump({"lake": "lake", "sources": order, **SETTINGS}))
        digests.append(inputs_digest(workspace_of(project), make_plan(workspace_of(project))))
    assert digests[0] != digests[1]
    project.write_text(yaml.safe_dump({"lake": "lake", "sources": sources, **SETTINGS}))
    workspace = workspace_of(project)
    assert reindex(workspace).counts.rows_duplicate >= 5
    hits = search(workspace, text="THE OTHER ONE", image=None, audio=None, k=40)["hits"]
    assert len({hit["key"] for hit in hits}) == len(hits)
    assert not [hit for hit in hits if hit["source"] == "first" and "OTHER" in (hit["text"] or "")]
