"""A row that kills its worker costs exactly that row, on every engine."""

from __future__ import annotations

import ctypes
import signal
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pytest

import trichord.pipelines.prepare.records as job
from tests.pipelines.lakes import SETTINGS, rows_of, workspace_of, write_project
from trichord.infra.config import EngineConfig, Source
from trichord.infra.engines import open_engine
from trichord.infra.lake.shard import read_shard
from trichord.pipelines.prepare.plan import make_plan
from trichord.transforms.batch import Batch
from trichord.transforms.op import Op

KILLER = "scene-000011"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadly(Op):
    """An op that one row kills."""

    version: ClassVar[int] = 1

    how: str

    @property
    def name(self) -> str:
        return "deadly"

    def __call__(self, batch: Batch) -> Batch:
        if any(row.key == KILLER for row in batch.rows):
            match self.how:
                case "segfault":
                    ctypes.string_at(0)
                case "out_of_memory":
                    np.ones(1 << 33, np.uint8)
                case "hang":
                    signal.pause()
        return batch


@dataclass(frozen=True, slots=True)
class DeadlyTask(job.PrepareTask):
    """Prepare with the deadly op first."""

    how: str = ""

    def chain(self, source: Source) -> tuple[Op, ...]:
        """The chain."""
        return (Deadly(how=self.how), *job.PrepareTask.chain(self, source))


RAY, FULL = pytest.mark.xdist_group("ray"), pytest.mark.full


@pytest.mark.parametrize(
    ("kind", "how", "rows"),  # rows of a partition
    [
        ("local", "segfault", 4),
        pytest.param("ray", "out_of_memory", 2, marks=RAY),
        ("beam", "segfault", 2),
        pytest.param("local", "out_of_memory", 4, marks=FULL),
        pytest.param("local", "hang", 1, marks=FULL),
        pytest.param("ray", "segfault", 4, marks=[RAY, FULL]),
        pytest.param("ray", "hang", 1, marks=[RAY, FULL]),
        pytest.param("beam", "out_of_memory", 4, marks=FULL),
        pytest.param("beam", "hang", 1, marks=FULL),
    ],
)
def test_a_row_that_kills_its_worker_costs_exactly_that_row(tmp_path, monkeypatch, kind, how, rows, request):
    if kind == "ray":
        request.getfixturevalue("ray_cluster")
    settings = {**SETTINGS, "prepare": {"rows_per_partition": rows}}
    workspace = workspace_of(write_project(tmp_path, records=12, settings=settings))
    monkeypatch.setattr(job, "PrepareTask", partial(DeadlyTask, how=how))
    plan = make_plan(workspace)
    # only the hang is ended by the clock, which must leave a busy machine time for the other rows
    limits = {"task_timeout_s": 60.0 if how == "hang" else 300.0, "worker_memory_bytes": 6 << 30}
    with open_engine(EngineConfig(kind=kind, workers=2, retries=0, **limits)) as engine:
        prepared = job.prepare(workspace, engine, plan.shards)
    rejected: dict[str, str] = {}
    kept: list[str] = []
    for item in prepared:
        kept += read_shard(workspace.lake, item.records, ["key"])["key"].to_pylist()
        if item.rejects:
            found = read_shard(workspace.lake, item.rejects)
            rejected |= dict(zip(found["key"].to_pylist(), found["reason"].to_pylist(), strict=True))
    assert [key for key, reason in rejected.items() if reason == "worker_died"] == [KILLER]
    assert sorted([*kept, *rejected]) == sorted(row["id"] for row in rows_of(tmp_path / "corpus"))
