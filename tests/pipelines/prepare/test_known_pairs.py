"""Pairs that the last run compared are not compared again, and the result is that of a run that compares all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.lakes import copy_of, rows_of, workspace_of, write_project, write_rows
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


@pytest.fixture(scope="module")
def made(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A project that was prepared once, and how many pairs that compared."""
    project = write_project(tmp_path_factory.mktemp("pairs"), records=60, defects={"near_duplicate": 0.3})
    with pytest.MonkeyPatch.context() as patch:
        calls = count_pairs(patch)
        prepared(project, engine)
    assert sum(calls) >= 10
    return project, sum(calls)


@pytest.fixture(scope="module")
def whole_digest(made: tuple[Path, int], engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of a lake that was made from the changed corpus at once."""
    project = copy_of(made[0].parent, tmp_path_factory.mktemp("whole"))
    change(project)
    return prepared(project, engine, "lake=other").digest


@pytest.fixture
def project(made: tuple[Path, int], tmp_path: Path) -> Path:
    return copy_of(made[0].parent, tmp_path)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pairs each call compares."""
    return count_pairs(monkeypatch)


def count_pairs(patch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    compare = Comparer.compare

    def counting(self, pairs):
        calls.append(len(pairs))
        return compare(self, pairs)

    patch.setattr(Comparer, "compare", counting)
    return calls


def prepared(project: Path, engine: Engine, *overrides: str) -> Preparation:
    workspace = workspace_of(project, *overrides)
    return prepare_lake(workspace, engine, make_plan(workspace))


def change(project: Path) -> None:
    rows = rows_of(project.parent / "corpus")
    rows[30]["text"] = "Words that no other row has, of a harbour in the rain."
    write_rows(project.parent / "corpus", rows)


def test_a_night_compares_only_pairs_with_a_new_row(engine, project, compared, whole_digest):
    compared.clear()
    change(project)
    assert prepared(project, engine).digest == whole_digest
    assert sum(compared) <= 4


@pytest.mark.parametrize("damage", [b"", b"no Parquet", None])
def test_a_lost_or_damaged_file_costs_time_alone(damage, engine, made, project, compared, whole_digest):
    path = Path(workspace_of(project).lake.uri(layout.PAIRS))
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    compared.clear()
    change(project)
    assert prepared(project, engine).digest == whole_digest
    assert sum(compared) >= made[1] - 4


def test_other_ops_compare_all_pairs_again(engine, made, project, compared):
    prepared(project, engine, "prepare.image.quality=71")
    assert sum(compared) >= made[1] - 4
