"""Variants of a lake's records: the same shards from any engine set-up, none of duplicates and held-out records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.pipelines.lakes import workspace_of, write_project
from trichord.infra.config import EngineConfig
from trichord.infra.engines import open_engine
from trichord.infra.errors import ConfigError
from trichord.infra.lake import schema
from trichord.infra.lake.shard import ShardRef, read_shard, verify_shard
from trichord.pipelines.core.commits import Commits
from trichord.pipelines.core.exclusions import Exclusions
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.parts import TRAIN, Parts
from trichord.pipelines.model.augment import augment
from trichord.pipelines.model.augment_chain import augment_recipe, open_chain
from trichord.pipelines.prepare.plan import make_plan
from trichord.pipelines.prepare.prepared import Prepared
from trichord.pipelines.prepare.records import prepare
from trichord.transforms.media import decode_audio, decode_image
from trichord.transforms.record import batch_of

COPIES = 2


def run(workspace: Workspace, prepared: Sequence[Prepared], dropped: dict[str, list[str]]) -> list[ShardRef]:
    """The job on one worker, without the rows of some partitions."""
    rows = [(partition, row) for partition, digests in dropped.items() for row in digests]
    with open_engine(EngineConfig(workers=1)) as engine:
        return augment(workspace, engine, prepared, Exclusions.gather(workspace.lake, [], rows), parts(workspace))


def parts(workspace: Workspace) -> Parts:
    """The rule of a source without marks."""
    return Parts(config=workspace.project.train)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, list[Prepared]]:
    """A lake of prepared records; what is tested adds only `augmented`."""
    project = write_project(tmp_path_factory.mktemp("augment"), records=40)
    # spelling: nlpaug keeps its candidates in sets, whose order differs between worker processes
    settings = (f"augment.copies={COPIES}", "augment.text.spelling.p=1.0", "prepare.rows_per_partition=12")
    workspace = workspace_of(project, *settings)
    with open_engine(EngineConfig(workers=1)) as engine:
        return workspace, prepare(workspace, engine, make_plan(workspace).shards)


def elsewhere(workspace: Workspace, folder: Path) -> Workspace:
    """The same project with its shards written into an empty lake beside the records."""
    lake = folder / "lake"
    lake.mkdir()
    (lake / "records").symlink_to(Path(workspace.lake.root) / "records")
    return replace(workspace, project=workspace.project.model_copy(update={"lake": str(lake)}))


def table(workspace: Workspace, refs: Sequence[ShardRef]) -> pa.Table:
    return pa.concat_tables([read_shard(workspace.lake, ref) for ref in refs])


@pytest.mark.full
def test_shards_are_the_same_from_any_number_of_workers_and_any_order(
    lake: tuple[Workspace, list[Prepared]], tmp_path: Path
) -> None:
    workspace, prepared = lake
    made = run(workspace, prepared, {})
    assert len(made) == len(prepared) > 2
    again = elsewhere(workspace, tmp_path)
    with open_engine(EngineConfig(workers=2)) as two:
        other = augment(again, two, prepared[::-1], Exclusions(lake=again.lake), parts(again))
    assert [(ref.address, ref.sha256) for ref in other] == [(ref.address, ref.sha256) for ref in made]
    before = {path: path.stat().st_mtime_ns for path in Path(again.lake.root, "augmented").rglob("*.parquet")}
    assert run(again, prepared, {}) == made
    assert {path: path.stat().st_mtime_ns for path in Path(again.lake.root, "augmented").rglob("*.parquet")} == before


def test_every_training_record_has_its_copies_and_no_other_has_any(lake: tuple[Workspace, list[Prepared]]) -> None:
    workspace, prepared = lake
    records = pa.concat_tables([read_shard(workspace.lake, item.records) for item in prepared])
    marks = dict(zip(records["key"].to_pylist(), parts(workspace).of(records) != TRAIN, strict=True))
    duplicate = next(row for row in records.to_pylist() if not marks[row["key"]])
    dropped = {duplicate["partition"]: [duplicate["row_digest"]]}
    refs = run(workspace, prepared, dropped)
    found = table(workspace, refs)
    expected = {key for key, held_out in marks.items() if not held_out} - {duplicate["key"]}
    assert any(marks.values())
    assert Counter(found["parent"].to_pylist()) == dict.fromkeys(expected, COPIES)
    assert sorted(found["key"].to_pylist()) == sorted(f"{key}#aug{i}" for key in expected for i in (1, 2))
    assert found.schema.equals(schema.AUGMENTED)
    for ref in refs:
        verify_shard(workspace.lake, ref)
        assert ref.counts["fan_out"] == ref.rows == COPIES * ref.counts["rows_in"]
        assert ref.counts["rows_kept"] == ref.counts["rows_in"] + ref.counts["fan_out"]
    assert sum(ref.counts["left_out"] for ref in refs) == records.num_rows - len(expected)
    without = {ref.address for ref in run(workspace, prepared, {})}
    assert len(without - {ref.address for ref in refs}) == 1


def test_a_variant_is_its_record_but_for_what_its_ops_say(lake: tuple[Workspace, list[Prepared]]) -> None:
    workspace, prepared = lake
    whole = pa.concat_tables([read_shard(workspace.lake, item.records) for item in prepared])
    records = {row["key"]: row for row in whole.to_pylist()}
    media: Counter[str] = Counter()
    for row in table(workspace, run(workspace, prepared, {})).to_pylist():
        record, ops = records[row["parent"]], [json.loads(op) for op in row["ops"]]
        touched = {op["op"].partition("_")[0] for op in ops}
        media.update(touched)
        for name in ("source", "partition", "group", "subset", "meta", "labels", "span", "box"):
            assert row[name] == record[name]
        for name in ("image", "audio"):
            assert (row[name] == record[name]) == (name not in touched or record[name] is None)
        if not touched & {"text", "image"}:
            assert (row["text"], row["captions"]) == (record["text"], record["captions"])
        if row["image"] is not None:
            decode_image(row["image"], max_pixels=1 << 24, max_bytes=1 << 24)
        if row["audio"] is not None:
            wave = decode_audio(row["audio"], max_bytes=1 << 24, max_duration_s=600)
            assert wave.rate_hz == workspace.project.prepare.audio.rate_hz
    assert set(media) == {"text", "image", "audio"}
    assert len(batch_of(table(workspace, run(workspace, prepared, {})), 16_000)) > 40  # as features would read it


@pytest.mark.parametrize(
    "change",
    [
        {"augment": {"copies": 3}},
        {"augment": {"copies": 2, "seed": 1}},
        {"augment": {"copies": 2, "image": {"rotate": {"max_degrees": 5}}}},
        {"prepare": {"image": {"quality": 80}}},
    ],
)
def test_other_settings_give_other_addresses(lake: tuple[Workspace, list[Prepared]], change: dict[str, Any]) -> None:
    project = lake[0].project
    other = type(project).model_validate({**project.model_dump(), **change})
    assert augment_recipe(other, open_chain(other.augment)) != augment_recipe(project, open_chain(project.augment))


def test_no_copies_make_no_shard_and_the_table_is_committed_as_any_other(
    lake: tuple[Workspace, list[Prepared]],
) -> None:
    workspace, prepared = lake
    refs = run(workspace, prepared, {})
    commit = Commits(workspace, "recipe")
    commit("augmented", refs, schema.AUGMENTED)
    assert set(workspace.table("augmented").shards()) == {ref.address for ref in refs}
    none = replace(
        workspace, project=workspace.project.model_copy(update={"augment": type(workspace.project.augment)()})
    )
    assert run(none, prepared, {}) == []


def test_a_missing_model_is_told_before_any_work(lake: tuple[Workspace, list[Prepared]], tmp_path: Path) -> None:
    workspace, prepared = lake
    settings = {"copies": 1, "text": {"contextual": {"path": str(tmp_path / "none")}}}
    config = type(workspace.project.augment).model_validate(settings)
    wrong = replace(workspace, project=workspace.project.model_copy(update={"augment": config}))
    with pytest.raises(ConfigError, match=r"augment\.text\.contextual\.path"):
        run(wrong, prepared, {})
