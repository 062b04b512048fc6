"""A row that kills its worker costs exactly that row, on every engine."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import ClassVar

import pytest

import pipelines.prepare as job
from infra.config import EngineConfig, Source
from infra.engines import open_engine
from infra.lake.shard import read_shard
from pipelines.plan import make_plan
from tests.pipelines.lakes import rows_of, workspace_of, write_project
from transforms.batch import Batch
from transforms.op import Op

KILLER = "scene-000011"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadly(Op):
    """An op that one row kills."""

    version: ClassVar[int] = 1

    @property
    def name(self) -> str:
        return "deadly"

    def __call__(self, batch: Batch) -> Batch:
        if any(row.key == KILLER for row in batch.rows):
            os.kill(os.getpid(), signal.SIGKILL)
        return batch


@dataclass(frozen=True, slots=True)
class DeadlyTask(job.PrepareTask):
    """Prepare with the deadly op first."""

    def chain(self, source: Source) -> tuple[Op, ...]:
        """The chain."""
        return (Deadly(), *job.PrepareTask.chain(self, source))


@pytest.mark.parametrize("kind", ["local", pytest.param("ray", marks=pytest.mark.xdist_group("ray"))])
def test_a_row_that_kills_its_worker_costs_exactly_that_row(tmp_path, monkeypatch, kind, request):
    if kind == "ray":
        request.getfixturevalue("ray_cluster")
    project = write_project(tmp_path, records=40)
    workspace = workspace_of(project)
    monkeypatch.setattr(job, "PrepareTask", DeadlyTask)
    plan = make_plan(workspace)
    with open_engine(EngineConfig(kind=kind, workers=2, retries=0)) as engine:
        prepared = job.prepare(workspace, engine, plan.shards)
    rejected: dict[str, str] = {}
    kept: list[str] = []
    for item in prepared:
        kept += read_shard(workspace.storage, workspace.lake, item.records, ["key"])["key"].to_pylist()
        if item.rejects:
            rows = read_shard(workspace.storage, workspace.lake, item.rejects)
            rejected |= dict(zip(rows["key"].to_pylist(), rows["reason"].to_pylist(), strict=True))
    assert [key for key, reason in rejected.items() if reason == "worker_died"] == [KILLER]
    assert sorted([*kept, *rejected]) == sorted(row["id"] for row in rows_of(tmp_path / "corpus"))
