"""A night without changes opens a handful of files, however many shards there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.infra.test_footers import record_opened
from tests.pipelines.lakes import workspace_of
from trichord.infra.lake import layout
from trichord.pipelines.prepare.job import REJECT_COUNTS, prepare_only, reject_counts
from trichord.pipelines.prepare.plan import make_plan
from trichord.pipelines.prepare.prepared import finished


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
    by_op, by_source = from_kept[0]
    assert sum(by_op.values()) == sum(by_source.values()) > 0
