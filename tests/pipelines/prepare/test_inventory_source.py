"""A project whose bucket is read by its S3 Inventory: planned, checked and prepared as if the bucket was listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipelines.lakes import result_of, trichord, workspace_of
from tests.transforms.inventories import listed, write_inventory
from trichord.infra.config import StorageConfig
from trichord.infra.errors import ConfigError
from trichord.infra.lake.storage import Storage
from trichord.pipelines.prepare.plan import make_plan


def project_of(folder: Path, s3_config: StorageConfig, source: dict[str, Any]) -> Path:
    folder.mkdir()
    storage = {"endpoint": s3_config.endpoint, "allow_http": True}
    settings = {"lake": "lake", "storage": storage, "sources": [{"name": "s", **source}]}
    path = folder / "trichord.yaml"
    path.write_text(yaml.safe_dump({**settings, "engine": {"workers": 1}}))
    return path


def test_an_inventory_prepares_the_records_of_the_bucket(s3_config: StorageConfig, tmp_path: Path) -> None:
    bucket, place = Storage(s3_config), f"s3://lake{tmp_path}"
    for i in range(6):
        bucket.write(f"{place}/objects/{i}.txt", f"a text that is long enough to be kept, number {i}".encode())
    rows = [listed(stat) for stat in bucket.list(f"{place}/objects")]
    write_inventory(bucket, f"{place}/runs", [rows], days=0.5)
    inventory = {"kind": "inventory", "path": f"{place}/runs", "media_root": f"{place}/objects"}
    by_list = project_of(tmp_path / "listed", s3_config, {"kind": "folder", "path": f"{place}/objects"})
    project = project_of(tmp_path / "inventory", s3_config, inventory)

    planned = result_of(trichord("plan", "--project", str(project), "--json"))
    assert planned["warnings"] == []
    assert planned["sources"][0]["rows"] == 6
    assert result_of(trichord("prepare", "--project", str(project), "--json"))["rows_kept"] == 6
    assert make_plan(workspace_of(project)).wanted == make_plan(workspace_of(by_list)).wanted

    write_inventory(bucket, f"{place}/runs", [rows], run="2026-12-01T01-00Z", days=10)
    [warning] = result_of(trichord("plan", "--project", str(project), "--json"))["warnings"]
    assert warning.startswith("Source s: its inventory is 10 days old. ")
    told = " ".join(trichord("doctor", "--project", str(project)).stdout.split())
    assert "its inventory is 10 days old" in told
    patient = trichord("plan", "--project", str(project), "--json", "--set", "sources.0.warn_after_days=11")
    assert result_of(patient)["warnings"] == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"media_root": "data"}, "sources.0.media_root: expected text matching `^s3://`"),
        ({"path": "manifest.json"}, "sources.0.path: expected text matching `^s3://`"),
        ({"media_root": "s3://bucket"}, "the lake lies in this folder"),
    ],
)
def test_an_inventory_is_of_a_bucket_without_the_lake(
    s3_config: StorageConfig, tmp_path: Path, change: dict[str, str], says: str
) -> None:
    given = {"kind": "inventory", "path": "s3://bucket/runs", "media_root": "s3://bucket/objects", **change}
    project = project_of(tmp_path / "p", s3_config, given)

    done = trichord("plan", "--project", str(project), "--set", "lake=s3://bucket/lake", check=ConfigError.exit_code)

    assert says in done.stderr
