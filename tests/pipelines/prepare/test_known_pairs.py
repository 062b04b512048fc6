"""Pairs that the last run compared are not compared again, and the result is that of a run that compares all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.lakes import rows_of, workspace_of, write_project, write_rows
from trichord.infra.config import EngineConfig
from trichord.infra.engines import open_engine
from trichord.infra.engines.base import Engine
from trichord.infra.lake import layout
from trichord.pipelines.prepare.job import Preparation, prepare_lake
from trichord.pipelines.prepare.near_duplicates_compare import Comparer
from trichord.pipelines.prepare.plan import make_plan


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Workers take longest to start."""
    with open_engine(EngineConfig(kind="local", workers=1)) as shared:
        yield shared


@pytest.fixture
def compared(monkeypatch) -> list[int]:
    """How many pairs each call compares."""
    calls: list[int] = []
    compare = Comparer.compare

    def counting(self, pairs):
        calls.append(len(pairs))
        return compare(self, pairs)

    monkeypatch.setattr(Comparer, "compare", counting)
    return calls


def prepared(project: Path, engine: Engine, *overrides: str) -> Preparation:
    workspace = workspace_of(project, *overrides)
    return prepare_lake(workspace, engine, make_plan(workspace))


def change(project: Path, text: str, row: int = 30) -> None:
    rows = rows_of(project.parent / "corpus")
    write_rows(project.parent / "corpus", [{**one, "text": text} if n == row else one for n, one in enumerate(rows)])


def test_a_night_compares_only_pairs_with_a_new_row(engine, compared, tmp_path):
    project = write_project(tmp_path, records=80, defects={"near_duplicate": 0.2})
    prepared(project, engine)
    first = sum(compared)
    assert first >= 10
    compared.clear()
    change(project, "Words that no other row has, of a harbour in the rain.")
    night = prepared(project, engine)
    assert sum(compared) <= 4
    compared.clear()
    whole = prepared(project, engine, f"lake={tmp_path / 'whole'}")
    assert sum(compared) >= first - 4
    assert night.digest == whole.digest


@pytest.mark.parametrize("damage", [b"", b"no Parquet", None])
def test_a_lost_or_damaged_file_costs_time_alone(damage, engine, compared, tmp_path):
    project = write_project(tmp_path, records=80, defects={"near_duplicate": 0.2})
    first = prepared(project, engine)
    path = Path(first.commit._workspace.lake.uri(layout.PAIRS))
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    compared.clear()
    change(project, "Words that no other row has, of a harbour in the rain.")
    night = prepared(project, engine)
    assert sum(compared) >= 10
    assert night.digest == prepared(project, engine, f"lake={tmp_path / 'whole'}").digest


def test_other_ops_compare_all_pairs_again(engine, compared, tmp_path):
    project = write_project(tmp_path, records=80, defects={"near_duplicate": 0.2})
    prepared(project, engine)
    first = sum(compared)
    compared.clear()
    prepared(project, engine, "prepare.image.quality=71")
    assert sum(compared) >= first - 4
