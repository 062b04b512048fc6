"""Features and vectors of unchanged records are copied, and the shards are those of a whole run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.lakes import SETTINGS, rows_of, workspace_of, write_project, write_rows
from trichord.infra.config import EngineConfig
from trichord.infra.engines import open_engine
from trichord.infra.engines.base import Engine
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.core.exclusions import Exclusions
from trichord.pipelines.core.model_store import TrainedModel
from trichord.pipelines.core.timings import Timings
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.parts import parts_of
from trichord.pipelines.model.encode import encode, featurise
from trichord.pipelines.model.train import train
from trichord.pipelines.prepare.job import prepare_lake
from trichord.pipelines.prepare.plan import make_plan
from trichord.pipelines.prepare.prepared import Prepared

Refs = dict[str, ShardRef]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Workers take longest to start."""
    with open_engine(EngineConfig(kind="local", workers=1)) as shared:
        yield shared


class Night:
    """A lake that is prepared and encoded again and again, by one model."""

    def __init__(self, project: Path, engine: Engine, *overrides: str) -> None:
        self.workspace, self.engine = workspace_of(project, *overrides), engine
        self.model: TrainedModel | None = None

    def run(self, *, cached: bool) -> tuple[Refs, Refs, dict[str, Any]]:
        """Prepare and encode; return features and vectors by partition, and the timings."""
        workspace, engine, timings = self.workspace, self.engine, Timings()
        plan = make_plan(workspace)
        done = prepare_lake(workspace, engine, plan)
        exclusions = Exclusions.gather(workspace.lake, done.duplicates)
        features = self._featurise(workspace, done.prepared, plan.partitions, timings) if cached else {}
        if self.model is None:
            parts = parts_of(workspace, [item.records for item in done.prepared], done.matches)
            self.model = train(workspace, engine, features, exclusions, parts)
        vectors = encode(
            workspace,
            engine,
            done.prepared,
            exclusions,
            features,
            self.model,
            partitions=plan.partitions,
            timings=timings,
        )
        return features, vectors, dict(timings.summary())

    def _featurise(self, workspace: Workspace, prepared: Sequence[Prepared], partitions: Any, timings: Timings) -> Refs:
        return featurise(workspace, self.engine, prepared, partitions=partitions, timings=timings)


def change(project: Path) -> int:
    """Edit a row, remove two, of which one is the survivor of a duplicate, and add one; return how many stay."""
    rows = rows_of(project.parent / "corpus")
    twin = next(n for n, row in enumerate(rows) if row["id"].endswith("-twin"))
    kept = [row for n, row in enumerate(rows) if n not in (5, twin - 1)]
    kept[20] = {**kept[20], "text": "A yellow kite over a quiet lake."}
    write_rows(project.parent / "corpus", [{**kept[30], "id": "new", "text": "Quite another text."}, *kept])
    return len(rows)


@pytest.mark.parametrize("cached", [pytest.param(True, marks=pytest.mark.full), False])
def test_copied_features_and_vectors_equal_those_of_a_whole_run(cached, engine, tmp_path):
    project = write_project(tmp_path, records=72, settings=SETTINGS, defects=0.0)
    rows = rows_of(tmp_path / "corpus")
    write_rows(tmp_path / "corpus", [*rows[:40], {**rows[39], "id": f"{rows[39]['id']}-twin"}, *rows[40:]])
    night = Night(project, engine)
    night.run(cached=True)
    before = {path.name for path in (tmp_path / "lake" / "vectors").rglob("*.parquet")}
    total = change(project)
    features, vectors, timings = night.run(cached=cached)
    assert not before.issuperset(Path(ref.path).name for ref in vectors.values())

    other = Night(project, engine, f"lake={tmp_path / 'other'}")
    assert night.model is not None
    shutil.copytree(tmp_path / "lake" / night.model.path, tmp_path / "other" / night.model.path)
    other.model = night.model
    whole_features, whole_vectors, whole = other.run(cached=cached)
    assert vectors == whole_vectors
    assert features == whole_features
    assert whole["vectors"]["copied"] == 0
    assert timings["vectors"]["copied"] >= total - 40  # but for those in partitions that did not change
    for table, made in timings.items():
        assert made["copied"], table


def test_fast_numerics_copy_nothing(engine, tmp_path):
    project = write_project(tmp_path, records=48, settings=SETTINGS, defects=0.0)
    night = Night(project, engine, "model.numerics=fast")
    night.run(cached=True)
    rows = rows_of(tmp_path / "corpus")
    write_rows(tmp_path / "corpus", [{**rows[0], "text": "Other words."}, *rows[1:]])
    *_, timings = night.run(cached=True)
    assert {made["copied"] for made in timings.values()} == {0}
