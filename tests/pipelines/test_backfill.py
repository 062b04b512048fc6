"""backfill: makes what other settings need beside the live index, and switches to what reindex would publish."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from tests.pipelines.lakes import copy_of, result_of, trichord
from trichord.infra.errors import ConfigError
from trichord.pipelines.api import open_workspace
from trichord.pipelines.backfill import Window
from trichord.pipelines.core.runs import last_runs

OTHER = "prepare: {text: {min_chars: 2}}\n"


@pytest.fixture(scope="module")
def wanted(indexed: tuple[Path, dict], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of the index that a reindex with the other settings makes."""
    project = copy_of(indexed[0].parent, tmp_path_factory.mktemp("plain") / "copy")
    return open_workspace(project, "prepare.text.min_chars=2").reindex().manifest_digest


def test_a_backfill_leaves_the_live_index_alone_until_it_switches_to_what_reindex_makes(lake_copy, tmp_path, wanted):
    (tmp_path / "recipe.yaml").write_text(OTHER, encoding="utf-8")
    old = open_workspace(lake_copy)
    before = {name: old.table(name).version() for name in ("records", "vectors", "publications")}
    live, searcher = old.publications.require_live(), old.searcher()
    options = ("--project", str(lake_copy), "--recipe", str(tmp_path / "recipe.yaml"), "--json")

    made = result_of(trichord("backfill", *options, "--no-switch"))
    assert made["switch"] is None
    assert made["prepared"] == made["partitions"] > 0
    assert made["made"] > 2 * made["partitions"]
    assert {name: old.table(name).version() for name in before} == before
    assert old.reindex().unchanged  # a night with the old settings has nothing to do
    assert searcher.search("a red circle")

    done = result_of(trichord("backfill", *options))
    assert done["made"] == 0
    assert done["switch"]["manifest_digest"] == wanted
    assert old.publications.require_live().id == done["switch"]["publication"] != live.id
    assert not list((lake_copy.parent / "lake" / "_backfills").iterdir())
    assert [(run.verb, run.trigger) for run in last_runs(old.lake)][:2] == [("reindex", "backfill"), ("backfill",) * 2]


def test_gc_keeps_what_an_unfinished_backfill_made(lake_copy):
    workspace = open_workspace(lake_copy, "prepare.text.min_chars=2", "gc_grace_s=0")
    made = workspace.backfill(switch=False)
    nightly = open_workspace(lake_copy, "gc_grace_s=0")
    nightly.gc(delete=True)
    assert workspace.backfill(switch=False).made == 0
    note = next((lake_copy.parent / "lake" / "_backfills").iterdir())
    os.utime(note, (0, 0))  # given up long ago
    nightly.gc(delete=True)
    assert workspace.backfill(switch=False).made == made.made


def test_a_window_prepares_its_partitions_and_the_last_one_switches(lake_copy, wanted):
    workspace = open_workspace(lake_copy, "prepare.text.min_chars=2")
    sources = [source.name for source in workspace.project.sources]
    for source in sources[:-1]:
        assert workspace.backfill(window=Window(source=source)).switch is None
    last = workspace.backfill(window=Window(source=sources[-1]))
    assert last.prepared == last.partitions
    assert last.switch is not None
    assert last.switch.manifest_digest == wanted


def test_times_choose_data_files_and_are_refused_where_there_are_none(lake_copy):
    workspace = open_workspace(lake_copy)
    with pytest.raises(ConfigError, match="divided by their keys"):
        workspace.backfill(window=Window(since=0.0))
    with pytest.raises(ConfigError, match="no source 'none'"):
        workspace.backfill(window=Window(source="none"))
    wrong = trichord("backfill", "--project", str(lake_copy), "--since", "yesterday", check=2)
    assert "ISO" in wrong.stderr or "2026" in wrong.stderr


def test_a_settings_file_may_set_its_sections_only(lake_copy, tmp_path):
    (tmp_path / "model.yaml").write_text("index: {rows_per_shard: 9}\n", encoding="utf-8")
    wrong = trichord("backfill", "--project", str(lake_copy), "--model", str(tmp_path / "model.yaml"), check=2)
    assert "index" in wrong.stderr
    assert "may set model" in wrong.stderr
    missing = trichord("backfill", "--project", str(lake_copy), "--recipe", str(tmp_path / "none.yaml"), check=2)
    assert "none.yaml cannot be used: there is no such file" in missing.stderr
    assert "project file" not in missing.stderr


@pytest.mark.full
def test_queries_go_on_and_each_is_wholly_old_or_new(lake_copy):
    searcher = open_workspace(lake_copy).searcher(follow=True)
    workspace = open_workspace(lake_copy, "prepare.text.min_chars=2")
    answers: list[tuple[str, tuple[str, ...]]] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            hits = searcher.search("a red circle")
            answers.append((searcher.publication, tuple(hit.key for hit in hits)))
            time.sleep(0.05)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        workspace.backfill()
    finally:
        over.set()
        asking.join()
    assert len(answers) > 10
    assert len({publication for publication, _ in answers}) == len(set(answers)) <= 2
