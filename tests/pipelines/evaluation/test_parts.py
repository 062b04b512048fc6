"""Training, validation and test records are three parts that share no record, no group, no picture and no sound."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trichord.infra import digest
from trichord.infra.config import (
    FolderSource,
    ManifestSource,
    MediaFolderSource,
    StorageConfig,
    TrainConfig,
    WebDatasetSource,
)
from trichord.infra.errors import ConfigError
from trichord.infra.lake import schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, ShardWriter
from trichord.infra.lake.storage import Storage
from trichord.infra.marks import PARTS
from trichord.infra.project import load_project
from trichord.pipelines.core.marks import MARKS, OTHERS, count_marks, footer_counts, marks_of, require_known
from trichord.pipelines.evaluation.parts import LABELS, LEFT_OUT, TEST, TRAIN, VALIDATION, Division, Parts, group_ids

SOURCES = tuple(ManifestSource(kind="manifest", name=name, path="x.jsonl") for name in ("a", "b", "c"))
Label = tuple[str, str, str, str]  # key, source, group, mark
NUMBERS = st.integers(0, 40)
MARKED = ("", "", "train", "Train", "restval", "val", "DEV", "test", "holdout")
ROWS = st.lists(st.tuples(NUMBERS, st.sampled_from("abc"), st.integers(0, 25), st.sampled_from(MARKED)), max_size=60)
LINKS = st.lists(st.tuples(NUMBERS, NUMBERS, st.sampled_from(["image", "audio", "text"])), max_size=6)


def table(labels: Sequence[Label]) -> pa.Table:
    columns = zip(*labels, strict=True) if labels else ([] for _ in LABELS)
    return pa.table({name: pa.array(column, pa.string()) for name, column in zip(LABELS, columns, strict=True)})


def numbered(count: int, source: str = "a", mark: str = "", groups: int = 1) -> list[Label]:
    return [(f"{source}{i}", source, f"{source}-g{i // groups}", mark) for i in range(count)]


def rule(labels: Sequence[Label], config: TrainConfig | None = None, matches: Sequence[ShardRef] = ()) -> Parts:
    counts = footer_counts(count_marks(table(labels)))
    ref = ShardRef(address="0" * 32, table="records", path="", rows=len(labels), bytes=0, sha256="", counts=counts)
    return Parts.of_marks(config or TrainConfig(), SOURCES, marks_of([ref]), matches)


def shares(parts: Parts, labels: Sequence[Label]) -> list[float]:
    found = parts.of(table(labels))
    return [float((found == part).mean()) for part in (TRAIN, VALIDATION, TEST)]


def labels_shard(lake: Lake, labels: Sequence[Label]) -> ShardRef:
    kind = pa.schema([pa.field(name, pa.string(), nullable=False) for name in LABELS])
    with ShardWriter(lake, "_features", digest.address("labels", labels), kind) as writer:
        writer.write(table(labels))
        return writer.finish({"rows": len(labels)})


def matches_shard(lake: Lake, rows: Sequence[Mapping[str, Any]]) -> ShardRef:
    with ShardWriter(lake, "matches", digest.address("matches", rows), schema.MATCHES) as writer:
        writer.write(pa.Table.from_pylist([{"distance": 0.0, "evidence": "", "partition": "p", **row} for row in rows]))
        return writer.finish({"rows": len(rows)})


def test_without_marks_groups_are_shared_out_by_their_digest() -> None:
    labels = numbered(4_000, groups=2)
    train, validation, test = shares(rule(labels), labels)
    assert validation == pytest.approx(0.1, abs=0.02)
    assert test == pytest.approx(0.2, abs=0.03)
    assert train == pytest.approx(0.7, abs=0.03)
    other = Parts(config=TrainConfig(seed=9))
    assert (other.of(table(labels)) == rule(labels).of(table(labels))).all(), "seeds are compared on the same records"


def test_records_keep_their_part_when_others_come_and_test_whatever_validation_is() -> None:
    labels = numbered(500)
    before, after = rule(labels), rule([*labels, *numbered(700, "b")])
    assert (before.of(table(labels)) == after.of(table(labels))).all()
    wide = rule(labels, TrainConfig(validation=0.3)).of(table(labels))
    assert ((wide == TEST) == (before.of(table(labels)) == TEST)).all()
    assert ((wide == VALIDATION) >= (before.of(table(labels)) == VALIDATION)).all()


@pytest.mark.parametrize(
    ("held", "missing"), [("test", VALIDATION), ("validation", TEST), ("Holdout", VALIDATION), ("dev", TEST)]
)
def test_a_part_without_marks_is_drawn_from_the_training_side(held: str, missing: int) -> None:
    marked, rest = numbered(300, "a", held), [*numbered(900, "b", "train"), *numbered(900, "c", "")]
    labels = [(key, "a", group, mark) for key, _, group, mark in [*marked, *rest]]
    found = rule(labels).of(table(labels))
    assert set(found[:300]) == {TEST if held in ("test", "Holdout") else VALIDATION}
    assert set(found[300:]) == {TRAIN, missing}
    share = 0.1 if missing == VALIDATION else 0.2
    assert (found[300:] == missing).mean() == pytest.approx(share, abs=0.03)


def test_marks_that_name_all_parts_are_followed_and_marks_of_one_source_are_not_those_of_another() -> None:
    labels = [*numbered(50, "a", "train"), *numbered(9, "a", "val"), *numbered(9, "a", "test")]
    assert rule(labels).of(table(labels)).tolist() == [TRAIN] * 50 + [VALIDATION] * 9 + [TEST] * 9
    both = [*labels, *numbered(400, "b")]
    assert set(rule(both).of(table(both))[68:]) == {TRAIN, VALIDATION, TEST}


def test_marks_of_the_projects_own_are_followed() -> None:
    config = TrainConfig.model_validate({"marks": {"Fold1": "train", "fold2": "validation", 3: "test"}})
    labels = [*numbered(5, "a", "fold1"), *numbered(5, "a", "FOLD2"), *numbered(5, "a", "3")]
    assert rule(labels, config).of(table(labels)).tolist() == [TRAIN] * 5 + [VALIDATION] * 5 + [TEST] * 5


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("{test: 0.6, validation: 0.4}", "validation and test are 1 of all"),
        ("{marks: {Dev: test, dev: train}}", "marks names 'Dev' twice"),
        ("{marks: {fold1: tset}}", "expected train, validation or test"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(tmp_path: Path, settings: str, problem: str) -> None:
    project = tmp_path / "trichord.yaml"
    project.write_text(f"lake: lake\nsources: [{{kind: manifest, name: a, path: x}}]\ntrain: {settings}\n")
    with pytest.raises(ConfigError, match=problem):
        load_project(project)


def test_an_unknown_mark_is_an_error_with_advice_that_works(tmp_path: Path) -> None:
    labels = [
        *numbered(40, "a", "fold3"),
        *numbered(2, "a", "tset"),
        *numbered(7, "a", "train"),
        *numbered(1, "b", "\x1b[2J"),
    ]
    with pytest.raises(ConfigError) as told:
        rule(labels)
    message = str(told.value)
    assert "source 'a': fold3 (40 records), tset (2 records), beside train (7 records)" in message
    assert "\x1b" not in message
    assert "`fields: {subset: null}` in source 'a'" in message
    [advice] = [line.strip() for line in message.splitlines() if line.startswith("  train: ")]
    assert advice.startswith("train: {marks: {fold3: train, tset: test")
    project = tmp_path / "trichord.yaml"
    project.write_text(f"lake: lake\nsources: [{{kind: manifest, name: a, path: x}}]\n{advice}\n")
    assert set(rule(labels, load_project(project).train).of(table(labels))) == {TRAIN, VALIDATION, TEST}


def test_a_source_without_a_field_for_marks_is_not_told_to_unset_it() -> None:
    tars = WebDatasetSource(kind="webdataset", name="w", path="x.tar")
    with pytest.raises(ConfigError) as told:
        require_known(TrainConfig(), [tars], {"w": {"odd": 1}})
    assert "odd (1 record)" in str(told.value)
    assert "subset" not in str(told.value)


def test_a_media_folder_is_told_to_keep_its_key() -> None:
    pictures = MediaFolderSource(kind="imagefolder", name="w", path="x")
    with pytest.raises(ConfigError, match=re.escape("`fields: {key: file_name, subset: null}` in source 'w'")):
        require_known(TrainConfig(), [pictures], {"w": {"odd": 1}})


def test_a_folder_is_told_how_to_have_no_marks() -> None:
    with pytest.raises(ConfigError, match=r"or folder says something else, set `subset: null` in source 'w'"):
        require_known(TrainConfig(), [FolderSource(kind="folder", name="w", path="x")], {"w": {"odd": 1}})


def test_a_footer_counts_so_many_marks_and_the_others_together() -> None:
    counts = footer_counts({("a", f"m{i:04d}/x"): 2 for i in range(MARKS + 5)})
    assert len(counts) == MARKS + 1
    ref = ShardRef(address="0" * 32, table="records", path="", rows=0, bytes=0, sha256="", counts={"rows": 3, **counts})
    assert marks_of([ref, ref])["a"]["m0000/x"] == 4
    assert marks_of([ref])["a"][OTHERS] == 10


@settings(deadline=None, max_examples=60, derandomize=True)
@given(ROWS, LINKS, st.sampled_from([1, 1_000]))
def test_the_parts_share_no_group_and_no_content(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, str, int, str]],
    links: list[tuple[int, int, str]],
    chunk: int,
) -> None:
    """Any marks, groups over sources, and records that show or play the same."""
    names = {number: (f"k{number}", source, f"g{group}", mark) for number, source, group, mark in rows}
    labels = list(names.values())
    lake = Lake(Storage(StorageConfig()), str(tmp_path_factory.mktemp("lake")))
    linked = [(names[i], names[j], kind) for i, j, kind in links if i < j and i in names and j in names]
    matches = [
        {"modality": kind, "key": two[0], "source": two[1], "other_key": one[0], "other_source": one[1], "why": ""}
        for one, two, kind in linked
    ]
    parts = rule(labels, matches=[matches_shard(lake, matches)] if matches else ())
    shards = [labels_shard(lake, labels[at : at + chunk]) for at in range(0, len(labels), chunk)]
    division = Division.find(lake, shards, parts)
    found = division.of(table(labels))
    groups = group_ids(table(labels))
    for some, others in itertools.combinations((TRAIN, VALIDATION, TEST), 2):
        assert not set(groups[found == some]) & set(groups[found == others])
    part_of = dict(zip((label[:2] for label in labels), found, strict=True))
    for one, two, kind in linked:
        if kind != "text":
            assert {part_of[one[:2]], part_of[two[:2]]} != {TRAIN, VALIDATION}
    marked = [PARTS.index("test") if label[3] in ("test", "holdout") else None for label in labels]
    assert all(part == TEST for part, mark in zip(found, marked, strict=True) if mark is not None)
    alone = parts.of(table(labels))
    assert ((found == alone) | (found == LEFT_OUT)).all(), "a record is left out, never moved"
    assert not ((alone == TEST) & (found == LEFT_OUT)).any()
    assert isinstance(found, np.ndarray)
