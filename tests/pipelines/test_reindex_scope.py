"""`reindex` with a scope publishes what a whole one publishes, and looks at nothing else."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipelines.lakes import copy_of, result_of, rows_of, trichord, workspace_of, write_rows
from trichord.infra.errors import ConfigError
from trichord.infra.lake import layout
from trichord.infra.lake.storage import Storage
from trichord.pipelines.prepare import plan as prepare_plan
from trichord.pipelines.prepare.plan import make_plan
from trichord.pipelines.publish.gc import gc
from trichord.pipelines.run_plan import plan_run
from trichord.transforms.collect import Scope

LOOSE = ("gate.max_row_drop=1", "gate.max_recall_drop=1", "gate.min_over_chance=0", "gate.min_ann_recall=0.5")


def reindexed(project: Path, *options: str) -> dict[str, Any]:
    settings = [word for setting in LOOSE for word in ("--set", setting)]
    return result_of(trichord("reindex", "--project", str(project), "--json", *settings, *options))


def test_a_scoped_run_publishes_what_a_whole_one_does(lake_copy: Path, tmp_path: Path) -> None:
    corpus = lake_copy.parent / "corpus"
    make_plan(workspace_of(lake_copy))  # an indexed lake of before has no last plan
    rows = rows_of(corpus)
    rows[3]["text"] = "another text altogether"
    gone, new = rows.pop(5), {**rows[7], "id": "new-record", "text": "a row that is new"}
    write_rows(corpus, [*rows, new])
    other = copy_of(lake_copy.parent, tmp_path / "other")
    keys = tmp_path / "keys.txt"
    keys.write_text("".join(f"{key}\n" for key in (rows[3]["id"], gone["id"], "new-record")))
    scoped = reindexed(lake_copy, "--source", "demo", "--keys", str(keys))
    whole = reindexed(other)
    assert not scoped["unchanged"]
    assert scoped["manifest_digest"] == whole["manifest_digest"]
    assert scoped["shards_made"] == whole["shards_made"]
    again = reindexed(lake_copy)
    assert again["unchanged"], "a whole run finds nothing that the scoped one left"


@pytest.fixture
def two_sources(tmp_path: Path) -> Path:
    """A project on two folders of texts."""
    for name in ("one", "two"):
        for i in range(12):
            path = tmp_path / name / f"{'ab'[i % 2]}/{i}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"text {name} {i}")
    sources = [{"name": name, "kind": "folder", "path": name} for name in ("one", "two")]
    project = tmp_path / "trichord.yaml"
    project.write_text(yaml.safe_dump({"lake": "lake", "sources": sources, "prepare": {"rows_per_partition": 4}}))
    return project


def test_only_the_scope_is_looked_at(two_sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, folder = workspace_of(two_sources), two_sources.parent
    before = make_plan(workspace)
    listed: list[str] = []
    walk = Storage.list

    def list_files(self: Storage, uri: str, **options: Any) -> Any:
        for stat in walk(self, uri, **options):
            if f"/{layout.PLANS}/" not in stat.uri:
                listed.append(stat.uri.removeprefix(f"{folder}/"))
            yield stat

    monkeypatch.setattr(Storage, "list", list_files)
    for name in ("one/a/0.txt", "one/b/1.txt", "two/a/0.txt"):
        (folder / name).write_text("changed")
    scoped = make_plan(workspace, Scope(source="one", prefix="b/"))
    assert sorted(listed) == [f"one/b/{i}.txt" for i in (1, 11, 3, 5, 7, 9)]
    assert len(scoped.wanted - before.wanted) == 1
    listed.clear()
    scoped = make_plan(workspace, Scope(source="one"))
    assert {path.split("/")[0] for path in listed} == {"one"}
    assert len(scoped.wanted - before.wanted) in (1, 2)
    whole = make_plan(workspace)
    assert len(whole.wanted - scoped.wanted) == 1
    assert make_plan(workspace, Scope(source="two", prefix="zzz")).wanted == whole.wanted


def test_without_a_usable_last_plan_a_source_is_planned_whole(
    two_sources: Path, capsys: pytest.CaptureFixture[str], json_events: None
) -> None:
    whole = make_plan(workspace_of(two_sources))
    lake = two_sources.parent / "lake"
    (lake / layout.last_plan_path("two")).unlink()
    capsys.readouterr()
    assert make_plan(workspace_of(two_sources), Scope(source="one", prefix="a/")).wanted == whole.wanted
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [one["source"] for one in events if one["event"] == "source_planned_whole"] == ["two"]
    other = workspace_of(two_sources, "prepare.rows_per_partition=2")
    assert make_plan(other, Scope(source="one", prefix="a/")).wanted == make_plan(other).wanted != whole.wanted


def test_known_versions_survive_a_scoped_plan(two_sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trichord.infra.lake.versions.SETTLED_NS", -1)
    workspace = workspace_of(two_sources)
    make_plan(workspace)
    kept = workspace.lake.read(layout.PLAN_VERSIONS)
    make_plan(workspace, Scope(source="one", prefix="a/"))
    workspace.lake.delete(layout.last_plan_path("two"))
    make_plan(workspace, Scope(source="one", prefix="a/"))
    assert workspace.lake.read(layout.PLAN_VERSIONS) == kept


def test_gc_keeps_the_last_plan_and_its_parts(two_sources: Path) -> None:
    workspace = workspace_of(two_sources, "gc_grace_s=0")
    plan = make_plan(workspace)
    (two_sources.parent / "one" / "a" / "0.txt").write_text("changed")
    make_plan(workspace)
    found = gc(workspace, delete=True)
    assert len(found.paths) == 1, "the part that the change replaced"
    assert found.paths[0] in {shard.partition.locator for shard in plan.shards}
    assert make_plan(workspace, Scope(source="two", prefix="a/")).rows == 24


def test_a_scope_needs_a_known_source(two_sources: Path, tmp_path: Path) -> None:
    for options, expected in (
        (("--prefix", "a"), "Name it: `--source NAME`"),
        (("--source", "on", "--prefix", "a"), "did you mean 'one'"),
        (("--source", "one", "--keys", str(tmp_path / "none")), "cannot be read"),
        (("--source", "one", "--keys", str(two_sources), "--prefix", "a"), "not both"),
    ):
        done = trichord("reindex", "--project", str(two_sources), *options, check=ConfigError.exit_code)
        assert expected in done.stderr


def test_plan_warns_of_a_source_with_too_many_partitions(two_sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan_run(workspace_of(two_sources)).warnings == ()
    monkeypatch.setattr(prepare_plan, "MAX_PARTITIONS", 3)
    warnings = plan_run(workspace_of(two_sources)).warnings
    assert [warning.split(".")[0] for warning in warnings] == [
        f"Source {name} has {count} partitions" for name, count in _partitions(two_sources).items() if count > 3
    ]
    done = trichord("plan", "--project", str(two_sources))
    assert "rows_per_partition" in done.stdout


def _partitions(project: Path) -> Counter[str]:
    return Counter(shard.source.name for shard in make_plan(workspace_of(project)).shards)
