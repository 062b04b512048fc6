"""A night without changes opens a handful of files, however many shards there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.infra.test_footers import record_opened
from tests.pipelines.lakes import workspace_of
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.schema import TABLES
from trichord.infra.lake.storage import Storage
from trichord.pipelines.prepare.job import REJECT_COUNTS, prepare_only, reject_counts
from trichord.pipelines.prepare.plan import make_plan
from trichord.pipelines.prepare.prepared import finished
from trichord.pipelines.reindex import reindex


def test_a_run_that_changes_nothing_opens_no_committed_shard_of_records(
    lake_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = workspace_of(lake_copy)
    plan = make_plan(workspace)
    assert len(plan.shards) > 8
    opened: list[str] = []
    record_opened(monkeypatch, opened)
    ready = finished(workspace, plan.shards)
    assert ready.keys() == plan.wanted
    assert sum(item.records.counts["rows_in"] for item in ready.values()) == plan.rows
    assert [uri for uri in opened if "/records/" in uri or "/signatures/" in uri] == []
    opened.clear()
    first = prepare_only(workspace)
    opened.clear()
    again = prepare_only(workspace)
    assert (again.counts, again.funnel, again.manifest_digest) == (first.counts, first.funnel, first.manifest_digest)
    assert len(opened) <= 6, opened


def test_rejects_are_counted_the_same_from_their_shards_and_from_what_is_kept(lake_copy: Path) -> None:
    workspace = workspace_of(lake_copy)
    version = workspace.table("rejects").version()
    assert version is not None
    kept = workspace.lake.uri(layout.footers_path(REJECT_COUNTS))
    from_kept = [reject_counts(workspace, version) for _ in range(2)]
    assert workspace.storage.exists(kept)
    workspace.storage.delete(kept)
    assert from_kept == [reject_counts(workspace, version)] * 2
    counted = from_kept[0]
    assert sum(counted.by_op.values()) == sum(counted.by_source.values()) == sum(counted.by_reason.values()) > 0


def test_a_night_without_changes_opens_no_shard_of_any_table(lake_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = workspace_of(lake_copy)
    opened: set[str] = set()
    record_read(monkeypatch, workspace.lake, opened)
    assert reindex(workspace).unchanged
    logs = {path for path in opened if "/_delta_log/" in path or "/_commits/" in path}
    assert len(logs) <= 2 * len(TABLES), "the last commit of each table, and its copy"
    parts = {path for path in opened - logs if path.startswith(f"{layout.PLANS}/")}
    assert len(parts) == 3, "the last plan, the versions of files, and a part for each 256 partitions"
    rest = sorted(path for path in opened - logs - parts if not path.startswith(f"{layout.PRESENCE}/"))
    assert [path.split("/")[0] for path in rest] == ["_downloads", *["index"] * 3, "publications"]
    assert all(path.startswith("index/manifests/") for path in rest if path.startswith("index/"))


def record_read(monkeypatch: pytest.MonkeyPatch, lake: Lake, opened: set[str]) -> None:
    """Add the path of each file of a lake that is opened from now on to a set."""
    for name in ("open", "read_with_stat", "read_range", "chunks"):
        method = getattr(Storage, name)

        def reading(self: Storage, uri: str, *rest: Any, method: Callable[..., Any] = method, **more: Any) -> Any:
            if uri.startswith(f"{lake.root}/"):  # not a medium of a source
                opened.add(lake.relative(uri))
            return method(self, uri, *rest, **more)

        monkeypatch.setattr(Storage, name, reading)
