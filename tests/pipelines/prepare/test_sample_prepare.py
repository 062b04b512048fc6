"""The real data prepared: the same from every engine, and the pictures that two pages share are found."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from tests.pipelines.lakes import addresses, workspace_of
from trichord.infra.lake.shard import read_shard
from trichord.pipelines.prepare.job import prepare_only

pytestmark = pytest.mark.sample
ROWS = 48  # of the storybooks, and as many of the rest


def project_of(folder: Path, **prepare: object) -> Path:
    """A project on a part of the sample: pages that are read aloud, sounds, photos."""
    sample = Path(os.environ["TRICHORD_SAMPLE"])
    rows = [json.loads(line) for line in (sample / "manifest.jsonl").read_text().splitlines()]
    pages = [row for row in rows if row["id"].startswith("asp_")]
    others = [row for row in rows if not row["id"].startswith("asp_")]
    chosen = [*pages[:ROWS], *others[:: max(1, len(others) // ROWS)]]
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in chosen))
    source = {"name": "sample", "kind": "manifest", "path": str(manifest), "media_root": str(sample)}
    path = folder / "trichord.yaml"
    settings = {"rows_per_partition": 32, **prepare}
    path.write_text(yaml.safe_dump({"lake": "lake", "sources": [source], "prepare": settings}))
    return path


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    project = project_of(tmp_path_factory.mktemp("local"), align={"speech": "pocketsphinx"})
    workspace = workspace_of(project)
    return workspace, prepare_only(workspace)


@pytest.mark.parametrize("engine", [pytest.param("ray", marks=pytest.mark.xdist_group("ray")), "beam"])
def test_every_engine_prepares_the_same_bytes(local, tmp_path, request, engine):
    if engine == "ray":
        request.getfixturevalue("ray_cluster")
    project = project_of(tmp_path, align={"speech": "pocketsphinx"})
    workspace = workspace_of(project, f"engine.kind={engine}")
    summary = prepare_only(workspace)
    assert summary.manifest_digest == local[1].manifest_digest
    assert addresses(workspace) == addresses(local[0])


def test_the_picture_that_a_title_page_shares_with_the_next_is_found(local):
    workspace, summary = local
    assert summary.counts.rows_duplicate == 0  # other words are said: the pages are not the same record
    refs = workspace.table("matches").shards().values()
    rows = [row for ref in refs for row in read_shard(workspace.lake, ref).to_pylist()]
    shared = {(row["other_key"], row["key"]) for row in rows if row["modality"] == "image"}
    assert ("asp_0001_01", "asp_0001_02") in shared
    assert all(a[:8] == b[:8] for a, b in shared)  # only pages of one story


def test_words_that_are_read_aloud_have_their_times(local):
    workspace, _ = local
    columns = ["key", "segments", "scores"]
    refs = workspace.table("records").shards().values()
    rows = [row for ref in refs for row in read_shard(workspace.lake, ref, columns).to_pylist()]
    timed = [row for row in rows if row["segments"]]
    assert len(timed) >= 0.8 * ROWS
    assert all(row["key"].startswith("asp_") for row in timed)
    for row in timed:
        ends = [segment["end_s"] for segment in row["segments"]]
        assert ends == sorted(ends)
        assert dict(row["scores"])["speech_score"] >= 0.4
