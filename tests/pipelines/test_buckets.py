"""Sources and lake in a bucket: the same line, the same digest as on a local disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.lakes import workspace_of, write_project
from trichord.pipelines.publish.datasets import open_dataset
from trichord.pipelines.reindex import reindex
from trichord.pipelines.search.search import search


@pytest.mark.parametrize("scheme", ["s3", *(pytest.param(other, marks=pytest.mark.full) for other in ("gs", "az"))])
def test_a_lake_in_a_bucket_holds_the_same_index_as_a_local_one(
    scheme: str, request: pytest.FixtureRequest, tmp_path: Path
):
    config = request.getfixturevalue(f"{scheme}_config")
    project = write_project(tmp_path, records=40)
    local = reindex(workspace_of(project))
    root = f"{scheme}://lake{tmp_path}"
    remote = [
        *([f"storage.endpoint={config.endpoint}"] if config.endpoint else []),
        "storage.allow_http=true",
        f"lake={root}/spine",
        f"sources.0.path={root}/corpus/manifest.jsonl",
        "sources.0.version_by=sha256",  # an etag is another version than a digest, and so another address
    ]
    workspace = workspace_of(project, *remote)
    for path in sorted((tmp_path / "corpus").rglob("*")):
        if path.is_file():
            key = path.relative_to(tmp_path / "corpus").as_posix()
            workspace.storage.write(f"{root}/corpus/{key}", path.read_bytes())
    summary = reindex(workspace)
    assert summary.manifest_digest == local.manifest_digest
    assert reindex(workspace).unchanged
    assert len(search(workspace, text="a red circle", image=None, audio=None, k=5)["hits"]) == 5
    assert open_dataset(workspace, "vectors").count_rows() == summary.counts.rows_kept
    (changed,) = [row for row in workspace.publications.rows() if row.kind == "publish"]
    assert changed.id == summary.publication


def test_etags_are_versions_of_their_own(s3_config, tmp_path: Path):
    project = write_project(tmp_path, records=24)
    workspace = workspace_of(
        project,
        f"storage.endpoint={s3_config.endpoint}",
        "storage.allow_http=true",
        f"lake={tmp_path / 'lake'}",
        "sources.0.path=s3://lake/etags/manifest.jsonl",
    )
    for path in sorted((tmp_path / "corpus").rglob("*")):
        if path.is_file():
            key = path.relative_to(tmp_path / "corpus").as_posix()
            workspace.storage.write(f"s3://lake/etags/{key}", path.read_bytes())
    first = reindex(workspace)
    picture = next((tmp_path / "corpus" / "images").iterdir())
    other = sorted((tmp_path / "corpus" / "images").iterdir())[1]
    workspace.storage.write(f"s3://lake/etags/images/{picture.name}", other.read_bytes())
    second = reindex(workspace)
    records = next(item for item in second.touched if item.table == "records")
    assert first.counts.rows_in == second.counts.rows_in == 24
    assert len(records.made) == 1
