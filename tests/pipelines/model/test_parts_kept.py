"""Test records are seen by nothing that makes a model, and a model is never measured on what it has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.pipelines.lakes import SETTINGS, rows_of, workspace_of, write_project, write_rows
from trichord.infra.engines import open_engine
from trichord.infra.errors import ConfigError
from trichord.infra.lake.shard import read_shard
from trichord.infra.marks import PARTS
from trichord.pipelines.core.exclusions import Exclusions
from trichord.pipelines.core.model_store import MODEL_FILES, SEEN_GROUPS
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.parts import TEST, TRAIN, VALIDATION, Parts, group_ids, parts_of
from trichord.pipelines.model.encode import featurise
from trichord.pipelines.model.pair_agreement import judge
from trichord.pipelines.model.train import train
from trichord.pipelines.prepare.job import prepare_lake
from trichord.pipelines.prepare.plan import make_plan
from trichord.pipelines.publish.doctor import doctor
from trichord.pipelines.publish.evaluate import evaluate_live
from trichord.pipelines.reindex import reindex
from trichord.pipelines.run_plan import plan_run

Rows = list[dict[str, Any]]
SMALL = {**SETTINGS, "train": {"epochs": 2, "batch_size": 64, "validation": 0.2}}


def part_of(key: str, workspace: Workspace) -> int:
    """The part of a record of the demo corpus, whose groups are its keys."""
    label = {"source": ["demo"], "group": [key], "subset": [""]}
    return int(Parts(config=workspace.project.train).of(pa.table(label))[0])


def made(folder: Path, change: Callable[[dict[str, Any], int], dict[str, Any]], *overrides: str) -> dict[str, bytes]:
    """The files of the model of a corpus in which each row was changed, by its part; and of the judges' decisions."""
    project = write_project(folder, records=72, settings=SMALL, defects=0.0)
    workspace = workspace_of(project, *overrides)
    write_rows(folder / "corpus", [change(row, part_of(row["id"], workspace)) for row in rows_of(folder / "corpus")])
    with open_engine(workspace.project.engine) as engine:
        done = prepare_lake(workspace, engine, make_plan(workspace))
        exclusions = Exclusions.gather(workspace.lake, done.duplicates)
        features = featurise(workspace, engine, done.prepared)
        parts = parts_of(workspace, [item.records for item in done.prepared], done.matches)
        model = train(workspace, engine, features, exclusions, parts)
        files = {name: workspace.lake.read(model.path, name) for name in MODEL_FILES}
        if workspace.project.agreement.folds:
            judge(workspace, engine, features, exclusions, parts)
            judges = sorted(workspace.lake.list("models"), key=lambda stat: stat.uri)
            judged = {workspace.storage.read(one.uri) for one in judges if one.uri.endswith("model.safetensors")}
            files |= {f"judge {place}": data for place, data in enumerate(sorted(judged))}
    groups = [read_shard(workspace.lake, item.records, ["source", "group", "subset"]) for item in done.prepared]
    table, seen = pa.concat_tables(groups), set(np.frombuffer(files[SEEN_GROUPS], "<u8"))
    by_part = [set(group_ids(table)[parts.of(table) == part]) for part in (TRAIN, VALIDATION, TEST)]
    assert by_part[TRAIN] <= seen, "validation records that look like one of these are left out"
    assert len(seen & by_part[VALIDATION]) > 5
    assert seen <= by_part[TRAIN] | by_part[VALIDATION]
    assert by_part[TEST]
    return files


def kept(row: dict[str, Any], part: int) -> dict[str, Any]:
    return row


def altered(*parts: int) -> Callable[[dict[str, Any], int], dict[str, Any]]:
    """Other words in some parts, without their sound."""

    def change(row: dict[str, Any], part: int) -> dict[str, Any]:
        other = {"text": f"nothing like it {row['id'][::-1]}", "captions": ["something else"], "audio": None}
        return row | other if part in parts else row

    return change


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return made(tmp_path_factory.mktemp("plain"), kept, "agreement.folds=2")


def test_a_model_and_its_judges_are_the_same_bits_whatever_the_test_records_say(
    plain: dict[str, bytes], tmp_path: Path
) -> None:
    assert len(plain) == len(MODEL_FILES) + 3
    assert made(tmp_path, altered(TEST), "agreement.folds=2") == plain


@pytest.mark.full
@pytest.mark.parametrize("part", [TRAIN, VALIDATION])
def test_other_training_or_validation_records_change_it(plain: dict[str, bytes], tmp_path: Path, part: int) -> None:
    files = made(tmp_path, altered(part), "agreement.folds=0")
    changed = {name for name in MODEL_FILES if files[name] != plain[name]}
    assert "training.json" in changed, PARTS[part]
    assert ("model.safetensors" in changed) or part == VALIDATION


def test_records_that_become_test_after_training_are_withheld(lake_copy: Path) -> None:
    workspace = workspace_of(lake_copy)
    live = workspace.publications.require_live()
    rows = rows_of(lake_copy.parent / "corpus")
    order = sorted(rows, key=lambda row: (part_of(row["id"], workspace) != TEST, row["id"]))
    tests = {row["id"] for row in [*order[:12], *order[-12:]]}  # twelve that it was not trained on, twelve that it was
    assert [part_of(key, workspace) == TEST for key in tests].count(True) == 12
    write_rows(
        lake_copy.parent / "corpus", [row | {"split": "Test" if row["id"] in tests else "train"} for row in rows]
    )
    summary = reindex(workspace)
    assert summary.fingerprint == live.fingerprint, "the model is kept"
    measured = evaluate_live(workspace, all_records=True).to_dict()
    indexed = set(workspace_keys(workspace)) & tests
    fresh = {key for key in indexed if part_of(key, workspace) == TEST}
    assert (measured["records"], measured["withheld"]) == (len(fresh), len(indexed - fresh))
    assert measured["withheld"] > 5
    assert {name: summary.evaluation[name] for name in ("records", "withheld", "mixed")} == {
        name: measured[name] for name in ("records", "withheld", "mixed")
    }


def workspace_keys(workspace: Workspace) -> Sequence[str]:
    tables = [read_shard(workspace.lake, ref, ["key"]) for ref in workspace.table("vectors").shards().values()]
    return [key for table in tables for key in table["key"].to_pylist()]


def test_all_test_records_are_measured_on_request(indexed: tuple[Path, dict[str, Any]]) -> None:
    workspace = workspace_of(indexed[0], "evaluate.max_records=9")
    some, every = evaluate_live(workspace).to_dict(), evaluate_live(workspace, all_records=True).to_dict()
    tables = [read_shard(workspace.lake, ref, ["key", "group"]) for ref in workspace.table("records").shards().values()]
    group_of = {key: group for table in tables for key, group in zip(*table.to_pydict().values(), strict=True)}
    tests = {key for key in workspace_keys(workspace) if part_of(group_of[key], workspace) == TEST}
    assert (some["records"], every["records"]) == (9, len(tests))
    assert every == evaluate_live(workspace_of(indexed[0], "evaluate.max_records=100000")).to_dict()


def test_an_unknown_mark_stops_every_verb_that_trains_before_it_starts(tmp_path: Path) -> None:
    project = write_project(tmp_path, records=40, settings=SMALL, defects=0.0)
    rows = rows_of(tmp_path / "corpus")
    marks = ["tset", *["train"] * 20, *["Dev"] * 9, *["test"] * 10]
    write_rows(tmp_path / "corpus", [row | {"split": mark} for row, mark in zip(rows, marks, strict=True)])
    workspace = workspace_of(project)
    for verb in (plan_run, reindex):
        with pytest.raises(ConfigError, match=r"source 'demo': tset \(1 record\), beside train \(20 records\)"):
            verb(workspace)
    [sources] = [check for check in doctor(workspace).checks if check.name == "sources"]
    assert not sources.ok
    assert "train: {marks: {tset: test}}" in sources.advice
    assert not (tmp_path / "lake" / "models").exists()
    assert not plan_run(workspace_of(project, "train.marks={tset: test}")).unchanged


def test_an_unknown_mark_in_a_table_stops_the_run_before_training(tmp_path: Path) -> None:
    rows = [
        {"id": f"r{i}", "text": f"words of row {i} and {i * 7919}", "split": ["train", "fold3"][i % 2]}
        for i in range(24)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    source = {"name": "rows", "kind": "parquet", "path": "rows.parquet"}
    project = tmp_path / "trichord.yaml"
    project.write_text(yaml.safe_dump({"lake": "lake", "sources": [source], "engine": {"workers": 1}, **SMALL}))
    workspace = workspace_of(project)
    for run in (plan_run, reindex):
        with pytest.raises(ConfigError, match=r"source 'rows': fold3 \(12 r"):
            run(workspace)
    assert not (tmp_path / "lake" / "models").exists()
