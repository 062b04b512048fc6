"""The gate and the commit: a refused candidate publishes nothing, a rollback is one commit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.pipelines.lakes import result_of, rows_of, trichord, unknown_files, workspace_of, write_rows
from trichord.infra.errors import CommitConflict, FingerprintMismatch, GateFailed, StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.publication import Candidate, Publication, RowCounts, Verdict
from trichord.infra.lake.publications import Publications
from trichord.infra.lake.stores import TEMPORARY_PREFIX
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.publish.gc import gc
from trichord.pipelines.publish.publish import publish, rollback
from trichord.pipelines.publish.verify import verify
from trichord.pipelines.search.search import open_live


def _live(workspace: Workspace) -> Publication:
    live = workspace.publications.live()
    assert live is not None
    return live


def _half(lake_copy):
    corpus = lake_copy.parent / "corpus"
    write_rows(corpus, rows_of(corpus)[: len(rows_of(corpus)) // 2])


def test_a_failed_gate_publishes_nothing_and_exits_3(lake_copy, indexed):
    _half(lake_copy)
    done = trichord("reindex", "--project", str(lake_copy), "--json", check=3)
    assert "rows_against_live" in done.stderr
    status = result_of(trichord("status", "--project", str(lake_copy), "--json"))
    assert status["live"]["publication"] == indexed[1]["publication"]
    assert status["candidate"]["verdict"]["passed"] is False
    trichord("publish", "--project", str(lake_copy), check=3)
    assert trichord("search", "--text", "a red circle", "--project", str(lake_copy), "--json").returncode == 0


def test_a_verdict_that_is_no_pass_is_never_published(indexed):
    workspace = workspace_of(indexed[0])
    candidate = Candidate(
        manifest="", manifest_digest="0" * 64, inputs_digest="", model="", fingerprint="", table_versions={},
        counts=RowCounts(), recipe={},
    )  # fmt: skip
    with pytest.raises(GateFailed):
        publish(workspace, candidate, Verdict(against=None, passed=False, checks=(), evaluation={}))
    assert len(workspace.publications.rows()) == 1


def test_no_publish_then_publish_then_rollback(lake_copy, indexed):
    _half(lake_copy)
    loose = ["--set", "gate.max_row_drop=1", "--set", "gate.max_recall_drop=1"]
    summary = result_of(trichord("reindex", "--no-publish", "--project", str(lake_copy), "--json", *loose))
    workspace = workspace_of(lake_copy)
    assert summary["publication"] is None
    assert _live(workspace).manifest_digest == indexed[1]["manifest_digest"]
    trichord("publish", "--project", str(lake_copy))
    assert _live(workspace).manifest_digest == summary["manifest_digest"]
    rollback(workspace)
    assert _live(workspace).manifest_digest == indexed[1]["manifest_digest"]
    assert [row.kind for row in workspace.publications.rows()] == ["publish", "publish", "rollback"]
    # the next night does not bring back what somebody rolled back; a person can
    refused = trichord("reindex", "--project", str(lake_copy), *loose, check=3)
    assert "rolled back" in refused.stderr
    held = result_of(trichord("status", "--project", str(lake_copy), "--json"))["held_back"]
    assert [one["publication"] for one in held] == [f"{summary['manifest_digest'][:12]}-2"]
    assert "Held back" in trichord("status", "--project", str(lake_copy)).stdout
    assert _live(workspace).manifest_digest == indexed[1]["manifest_digest"]
    trichord("publish", "--project", str(lake_copy))
    assert _live(workspace).manifest_digest == summary["manifest_digest"]
    assert verify(workspace).publications == 2
    assert len(open_live(workspace).searcher.search(open_live(workspace).model.encode(_query(workspace), "fused")[0], 3)
               .rows(0)) == 3  # fmt: skip


def _query(workspace):
    from trichord.pipelines.search.search import read_query

    return read_query(workspace.project.prepare, "two blue squares", None, None)


def test_a_client_of_another_space_is_refused(lake_copy, indexed):
    other = trichord(
        "reindex", "--project", str(lake_copy), "--set", "train.seed=5", "--json",
        "--set", f"lake={lake_copy.parent / 'other-lake'}",
    )  # fmt: skip
    stranger = workspace_of(lake_copy, f"lake={lake_copy.parent / 'other-lake'}")
    model = stranger.lake.uri(_live(stranger).model)
    assert result_of(other)["fingerprint"] != indexed[1]["fingerprint"]
    with pytest.raises(FingerprintMismatch):
        open_live(workspace_of(lake_copy), Path(model))
    refused = trichord("search", "--text", "x", "--model", model, "--project", str(lake_copy), check=6)
    assert "space" in refused.stderr


@pytest.mark.parametrize("where", ["records", "vectors", "index", "models"])
def test_verify_finds_one_flipped_bit(lake_copy, where):
    folder = lake_copy.parent / "lake" / where
    ending = {"index": ".faiss", "models": ".safetensors"}.get(where, ".parquet")
    victim = sorted(path for path in folder.rglob(f"*{ending}"))[0]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.chmod(0o644)
    victim.write_bytes(data)
    with pytest.raises(StorageError, match="problems"):
        verify(workspace_of(lake_copy))


def test_layout_knows_every_file_of_a_lake_and_gc_may_remove_no_note(lake_copy):
    lake, workspace = lake_copy.parent / "lake", workspace_of(lake_copy, "gc_grace_s=0")
    assert unknown_files(lake) == []
    notes = {path for path in _paths(lake) if layout.kind_of(path) is layout.Kind.NOTE}
    left = lake / "_recipes" / f"{TEMPORARY_PREFIX}left"
    left.write_bytes(b"by a writer that was killed")
    removed = set(gc(workspace, delete=True).paths)
    assert str(left.relative_to(lake)) in removed
    assert {path.split("/")[0] for path in notes} >= {"_recipes", "records", "publications", "index"}
    assert notes <= _paths(lake)
    assert {layout.kind_of(path) for path in removed} == {layout.Kind.CACHE, layout.Kind.TEMPORARY}


def _paths(lake):
    return {path.relative_to(lake).as_posix() for path in lake.rglob("*") if path.is_file()}


def test_gc_removes_only_what_nothing_names(lake_copy):
    workspace = workspace_of(lake_copy, "gc_grace_s=0")
    stray = lake_copy.parent / "lake" / "records" / "aa" / ("a" * 32 + "." + "b" * 64 + ".parquet")
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"left by a crash")
    listed = gc(workspace, delete=False)
    assert stray.exists()
    assert not listed.removed
    assert str(stray.relative_to(lake_copy.parent / "lake")) in listed.paths
    gc(workspace, delete=True)
    assert not stray.exists()
    assert verify(workspace).files > 0
    assert open_live(workspace).searcher.rows > 0


def test_two_writers_never_both_publish(indexed, tmp_path):
    workspace = workspace_of(indexed[0])
    row = workspace.publications.rows()[0]
    one, other = (Publications(Lake(workspace.storage, str(tmp_path / "lake"))) for _ in range(2))
    assert one.rows() == other.rows() == []
    one.append(row)
    with pytest.raises(CommitConflict):
        other.append(replace(row, id="the-other"))
    assert [r.id for r in one.rows()] == [row.id]


def test_a_candidate_is_not_published_over_one_that_its_gate_did_not_see(lake_copy):
    workspace = workspace_of(lake_copy)
    live = _live(workspace)
    candidate = Candidate(
        manifest=live.manifest, manifest_digest="1" * 64, inputs_digest="", model="", fingerprint="",
        table_versions={}, counts=RowCounts(), recipe={},
    )  # fmt: skip
    with pytest.raises(CommitConflict):
        publish(workspace, candidate, Verdict(against="an-older-one", passed=True, checks=(), evaluation={}))
    assert workspace.publications.live() == live
