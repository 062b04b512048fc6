"""rejects replay: only what must run is run, and the lake is what a whole prepare gives, byte for byte."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.infra.web_server import serving
from tests.pipelines.lakes import rows_of, workspace_of, write_project, write_rows
from trichord.infra.config import EngineConfig
from trichord.infra.engines import Engine, open_engine
from trichord.infra.errors import ConfigError
from trichord.infra.lake.shard import find_finished, read_shard
from trichord.pipelines.core.recipes import current_recipe, find_loosened, shard_address
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.job import prepare_only
from trichord.pipelines.prepare.plan import WantedShard, make_plan
from trichord.pipelines.prepare.prepared import find_bases
from trichord.pipelines.prepare.records import PrepareItem, prepare_task
from trichord.pipelines.rejects.query import Choice, RejectKey, list_rejects
from trichord.pipelines.rejects.replay import Replay, replay
from trichord.transforms.collect.plan_parts import read_plan

OPEN_ENGINE = Workspace.open_engine
TABLES = ("records", "rejects", "signatures", "duplicates")
STRICT = {"prepare.image.min_side": 240, "prepare.image.max_noise": 10.5}  # many of the demo's pictures have less


def shards_of(workspace: Workspace) -> dict[str, Any]:
    """Address, SHA-256 and footer counts of every shard of the head."""
    found: dict[str, Any] = {}
    for name in TABLES:
        head = workspace.table(name).shards()
        told = find_finished(workspace.lake, name, head)
        found[name] = {address: (ref.sha256, dict(told[address].counts)) for address, ref in head.items()}
    return found


def project_in(folder: Path, **more: Any) -> Path:
    """A corpus where some rows have segments and regions of their own, and a project that reads them."""
    path = write_project(folder, records=56, defects=0.025)
    rows = rows_of(folder / "corpus")
    for n, row in enumerate(rows):
        if n % 5 == 0:
            row["cues"] = [{"start_s": 0, "end_s": 0.9, "text": "One."}, {"start_s": 0.9, "end_s": 2, "text": "Two."}]
        if n % 7 == 0:
            row["boxes"] = [{"box": [0, 0, 120, 120], "text": "A corner."}, {"box": [9, 9, 1e9, 1], "text": "Far."}]
        if n % 7 == 1:
            row["boxes"] = [{"box": [9, 9, 1e9, 1], "text": "Far."}]
    (folder / "corpus" / rows[2]["image"]).write_bytes(b"no picture")
    rows += [dict(rows[3]), {"id": "only-text", "text": "A lone line of text, nothing beside it."}]
    write_rows(folder / "corpus", rows)
    settings = yaml.safe_load(path.read_text())
    fields = {"segments": "cues", "regions": "boxes"}
    source = {"name": "demo", "kind": "manifest", "path": "corpus/manifest.jsonl", "fields": fields}
    path.write_text(yaml.safe_dump({**settings, "sources": [source], **more}))
    return path


@pytest.fixture(scope="module", autouse=True)
def engine() -> Iterator[Engine]:
    """One engine for all tests but those that open their own: starting workers takes longest."""
    with open_engine(EngineConfig(kind="local", workers=2)) as shared, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workspace, "open_engine", lambda workspace: nullcontext(shared))
        yield shared


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was prepared once under the settings of `STRICT`. Read only."""
    project = project_in(tmp_path_factory.mktemp("prepared"))
    prepare_only(opened(project, STRICT))
    return project


@pytest.fixture
def project(prepared: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(prepared.parent, tmp_path / "copy")) / prepared.name


def opened(project: Path, settings: Mapping[str, Any] | None = None, *more: str, workers: int = 2) -> Workspace:
    """The project under other settings; no share of rejects is too large."""
    changes = [f"{name}={value}" for name, value in (settings or {}).items()]
    return workspace_of(project, "gate.max_reject_ratio=1.0", f"engine.workers={workers}", *changes, *more)


def fresh(project: Path, tmp_path: Path, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The shards of a whole prepare in another lake."""
    workspace = opened(project, settings, f"lake={tmp_path / 'fresh'}")
    prepare_only(workspace)
    return shards_of(workspace)


def rejects_of(workspace: Workspace) -> list[tuple[str, str, str]]:
    """(key, op, reason) of every reject of the head."""
    return [
        (row["key"], row["op"], row["reason"])
        for ref in workspace.table("rejects").shards().values()
        for row in read_shard(workspace.lake, ref).to_pylist()
    ]


@pytest.mark.parametrize(
    ("loose", "workers"),
    [
        ({"prepare.image.max_noise": "null"}, 1),
        pytest.param({"prepare.image.max_noise": 40}, 2, marks=pytest.mark.full),
    ],
)
def test_a_loosened_threshold_runs_only_what_it_rejected(project, tmp_path, monkeypatch, loose, workers):
    before = rejects_of(opened(project, STRICT))
    refused = {key.partition("#")[0] for key, _, reason in before if reason in ("image_too_small", "image_noisy")}
    monkeypatch.setattr(Workspace, "open_engine", OPEN_ENGINE)
    workspace = opened(project, loose, workers=workers)
    summary = replay(workspace, Choice(reason="image_too_small"))
    assert shards_of(workspace) == fresh(project, tmp_path, loose)
    assert summary.partitions_remade == 0
    assert summary.rows_replayed == len(refused)
    read = sum(op == "read" for _, op, _ in before)
    rows = rows_of(project.parent / "corpus")
    assert summary.rows_replayed + summary.rows_copied + read == len(rows)
    assert summary.rows_copied > len(rows) // 4
    assert summary.fates.rows_recovered > 0
    assert _told(summary) == sum(reason == "image_too_small" for *_, reason in before)
    told = summary.to_dict()
    assert told["rows_in"] + told["rows_added"] == told["rows_kept"] + told["rows_rejected"] + told["rows_duplicate"]
    assert not told["nothing_to_replay"]
    monkeypatch.undo()
    again = replay(workspace, Choice())
    assert again.to_dict()["nothing_to_replay"]
    assert again.rows_replayed == 0


@pytest.mark.parametrize("other", [{"prepare.image.min_side": 250}, {"prepare.image.quality": 70}])
def test_any_other_change_prepares_partitions_as_a_whole_and_says_so(project, tmp_path, other):
    settings = {**STRICT, **other}
    workspace = opened(project, settings)
    summary = replay(workspace, Choice())
    assert shards_of(workspace) == fresh(project, tmp_path, settings)
    assert summary.partitions_merged == 0
    assert summary.partitions_remade == len(make_plan(workspace).shards)
    assert summary.remade_because == {"more changed than loosened thresholds": summary.partitions_remade}


def test_a_mended_file_runs_alone(project, tmp_path):
    corpus = project.parent / "corpus"
    rows = rows_of(corpus)
    shutil.copy(corpus / rows[4]["image"], corpus / rows[2]["image"])
    workspace = opened(project, STRICT)
    summary = replay(workspace, Choice(reason="image_format"))
    assert shards_of(workspace) == fresh(project, tmp_path, STRICT)
    assert (summary.partitions_merged, summary.partitions_remade, summary.rows_replayed) == (1, 0, 1)
    assert _told(summary) == 1


def test_rows_that_came_and_went_leave_the_others_alone(project, tmp_path):
    corpus = project.parent / "corpus"
    rows = rows_of(corpus)
    changed, new = rows[0] | {"text": "Another text for this one."}, {"id": "new", "text": "A new row."}
    write_rows(corpus, [changed, *rows[2:], new])
    workspace = opened(project, STRICT)
    summary = replay(workspace, Choice())
    assert shards_of(workspace) == fresh(project, tmp_path, STRICT)
    assert summary.partitions_remade == 0
    assert summary.rows_replayed == 2


def test_downloads_that_work_now_run_alone(tmp_path):
    path = write_project(tmp_path, records=34)
    corpus = tmp_path / "corpus"
    rows = rows_of(corpus)[4:16]
    with serving() as server:
        pictures = {f"/{n}.jpg": (corpus / row["image"]).read_bytes() for n, row in enumerate(rows)}
        server.files({name: data for name, data in pictures.items() if name != "/3.jpg"})
        write_rows(corpus, [row | {"image": server.url(f"/{n}.jpg")} for n, row in enumerate(rows)])
        web = {"allow_private": ["127.0.0.1/32"], "ports": [server.port]}
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "web": web}))
        prepare_only(opened(path))
        server.files(pictures)
        workspace = opened(path)
        summary = replay(workspace, Choice(reason="download_missing"))
        assert (summary.partitions_remade, summary.rows_replayed, _told(summary)) == (0, 1, 1)
        assert shards_of(workspace) == fresh(path, tmp_path)
    assert "download_missing" not in {reason for *_, reason in rejects_of(workspace)}


def test_a_part_of_a_data_file_is_merged_as_well(tmp_path):
    corpus = tmp_path / "corpus"
    path = write_project(tmp_path, records=32)
    rows = [row | {name: (corpus / row[name]).read_bytes() for name in ("image", "audio")} for row in rows_of(corpus)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data.parquet", row_group_size=16)
    source = {"name": "demo", "kind": "parquet", "path": "data.parquet"}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "sources": [source]}))
    prepare_only(opened(path, STRICT))
    refused = [1 for *_, reason in rejects_of(opened(path)) if reason in ("image_too_small", "image_noisy")]
    workspace = opened(path)
    summary = replay(workspace, Choice(reason="image_too_small"))
    assert shards_of(workspace) == fresh(path, tmp_path)
    assert (summary.partitions_merged, summary.partitions_remade, summary.rows_replayed) == (
        2,
        0,
        len(refused),
    )


def bases_of(workspace: Workspace) -> list[PrepareItem]:
    """The partitions of the plan, each with the shards to copy from."""
    shards = make_plan(workspace).shards
    found = find_bases(workspace, shards, shards, None)
    return [PrepareItem(shard=shard, base=found[shard.address]) for shard in shards]


def test_a_replay_that_was_ended_converges(project, tmp_path):
    workspace = opened(project)
    items = bases_of(workspace)
    made = prepare_task(workspace)(items[0])  # its shards stand, nothing is committed
    assert made is not None
    assert made.copied
    summary = replay(workspace, Choice(reason="image_too_small"))
    assert summary.partitions_merged == len(items) - 1
    assert shards_of(workspace) == fresh(project, tmp_path)


@pytest.mark.parametrize("table", ["records", "signatures"])
def test_a_damaged_older_shard_costs_a_whole_partition_only(project, tmp_path, table):
    workspace = opened(project)
    items = bases_of(workspace)
    damaged = Path(workspace.lake.uri(getattr(items[0].base.shards[0], table).path))
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 255
    damaged.write_bytes(data)
    summary = replay(workspace, Choice(reason="image_too_small"))
    assert (summary.partitions_merged, summary.partitions_remade) == (len(items) - 1, 1)
    assert shards_of(workspace) == fresh(project, tmp_path)


def test_a_row_that_ended_its_worker_is_refused_where_its_address_stays(project, monkeypatch):
    plan = make_plan(opened(project, STRICT))
    key = rows_of(project.parent / "corpus")[1]["id"]
    partition = next(s.partition.id for s in plan.shards if key in _keys(opened(project, STRICT), s))
    row = RejectKey(key=key, source="demo", partition=partition, op="worker", reason="worker_died")
    monkeypatch.setattr("trichord.pipelines.rejects.replay.select_keys", lambda *_, **__: [row])
    with pytest.raises(ConfigError, match="an address has one content"):
        replay(opened(project, STRICT), Choice(reason="worker_died"))


def test_an_unknown_choice_names_what_is_known(project):
    with pytest.raises(ConfigError, match=r"image_too_small \(\d+\)"):
        replay(opened(project, STRICT), Choice(reason="image_to_small"))
    with pytest.raises(ConfigError, match=r"Known sources.*demo"):
        list_rejects(opened(project, STRICT), source="other", limit=1)
    some = list_rejects(opened(project, STRICT), op="threshold:image_too_small", source="demo", limit=1)
    assert [row.reason for row in some.by_reason] == ["image_too_small"]


def test_addresses_are_those_of_the_plan(project):
    workspace = opened(project)
    for shard in make_plan(workspace).shards:
        assert shard.address == shard_address(shard.partition, current_recipe(workspace, shard.source, None)[0])


def _limit(reason: str, least: float | None, most: float | None) -> dict[str, Any]:
    settings = {"score": "s", "reason": reason, "least": least, "most": most}
    return {"op": f"threshold:{reason}", "version": 1, "settings": settings}


STEP = {"op": "measure", "version": 1, "settings": {}}


@pytest.mark.parametrize(
    ("old", "new", "wider"),
    [
        ([STEP, _limit("a", 1, None)], [STEP, _limit("a", 1, None)], set()),
        ([STEP, _limit("a", 1, None)], [STEP, _limit("a", 0.5, None)], {"threshold:a"}),
        ([STEP, _limit("a", 1, 2)], [STEP, _limit("a", None, 3)], {"threshold:a"}),
        ([_limit("a", 1, 2), STEP], [STEP], {"threshold:a"}),
        ([STEP, _limit("a", 1, None)], [STEP, _limit("a", 2, None)], None),
        ([STEP, _limit("a", 1, 5)], [STEP, _limit("a", 0, 4)], None),
        ([STEP], [STEP, _limit("a", 1, None)], None),
        ([STEP, _limit("a", 1, None)], [_limit("a", 1, None), STEP], None),
        ([STEP, _limit("a", 1, None)], [STEP | {"version": 2}, _limit("a", 0, None)], None),
        ([STEP, _limit("a", 1, None)], [_limit("a", 1, None)], None),
    ],
)
def test_only_thresholds_that_let_more_through_are_a_loosening(old, new, wider):
    assert find_loosened(old, new) == (None if wider is None else frozenset(wider))


def _told(summary: Replay) -> int:
    fates = summary.fates
    return fates.rows_recovered + sum(fates.rows_still_rejected.values()) + fates.rows_gone


def _keys(workspace: Workspace, shard: WantedShard) -> set[str]:
    return {row.key for row in read_plan(shard.partition, workspace.lake)}
