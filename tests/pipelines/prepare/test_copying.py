"""Rows that did not change are copied, and the shards are those of a whole run, whatever the kind of source."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from tests.pipelines.lakes import workspace_of
from tests.pipelines.source_kinds import KINDS, Rows, as_jsonl
from trichord.infra.config import EngineConfig
from trichord.infra.digest import generator
from trichord.infra.engines import open_engine
from trichord.infra.engines.base import Engine
from trichord.infra.lake import layout
from trichord.infra.lake.shard import find_finished
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.job import prepare_lake
from trichord.pipelines.prepare.plan import make_plan
from trichord.pipelines.prepare.prepared import Prepared

ROWS = 40


def picture(seed: int) -> bytes:
    """A picture of 96 x 80 pixels."""
    pixels = generator("copying", seed).integers(0, 256, (5, 6, 3), dtype="uint8")
    out = io.BytesIO()
    Image.fromarray(pixels).resize((96, 80), Image.Resampling.BICUBIC).save(out, "PNG")
    return out.getvalue()


def rows_from(first: int, count: int) -> Rows:
    """Rows of which each tenth has a damaged picture, and each tenth no words."""
    made = []
    for n in range(first, first + count):
        data = b"no picture" if n % 10 == 3 else picture(n)
        text = f"number {n} of a row of pictures with nothing else in it" if n % 10 != 7 else ""
        made.append({"id": f"key-{n:04d}", "text": text, "image": data})
    return made


def edit(rows: Rows) -> Rows:
    return [{**row, "text": "something else is said here"} if row["id"].endswith("11") else row for row in rows]


def redraw(rows: Rows) -> Rows:
    return [{**row, "image": picture(999)} if row["id"].endswith("13") else row for row in rows]  # was damaged


def spoil(rows: Rows) -> Rows:
    return [{**row, "image": b"no picture"} if row["id"].endswith("12") else row for row in rows]


CHANGES: dict[str, tuple[Callable[[Rows], Rows], int]] = {  # and how many rows run
    "edited": (edit, 1),
    "mended": (redraw, 1),
    "spoilt": (spoil, 1),
    "first": (lambda rows: [*rows_from(900, 1), *rows], 1),
    "appended": (lambda rows: [*rows, *rows_from(900, 2)], 2),
    "deleted": (lambda rows: [*rows[:9], *rows[10:]], 0),
    "grown": (lambda rows: [*rows, *rows_from(100, 60)], 60),  # leaves of the trie are split
    "shrunk": (lambda rows: rows[::4], 0),  # and joined
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Workers take longest to start."""
    with open_engine(EngineConfig(kind="local", workers=1)) as shared:
        yield shared


def workspace_in(folder: Path, source: dict[str, Any], lake: str = "lake") -> Workspace:
    """A project of one source."""
    settings = {
        "lake": str(folder / lake),
        "sources": [{"name": "rows", **source}],
        "prepare": {"rows_per_partition": 16, "image": {"min_side": 16}},
        "engine": {"workers": 1},
    }
    (folder / "trichord.yaml").write_text(yaml.safe_dump(settings))
    return workspace_of(folder / "trichord.yaml")


def prepared(workspace: Workspace, engine: Engine) -> list[Prepared]:
    return list(prepare_lake(workspace, engine, make_plan(workspace)).prepared)


def shards_of(workspace: Workspace) -> dict[str, Any]:
    """Address, SHA-256 and counts of every shard of the tables' heads."""
    found = {}
    for name in ("records", "rejects", "signatures", "duplicates", "matches"):
        told = find_finished(workspace.lake, name, workspace.table(name).shards())
        found[name] = {address: (ref.sha256, dict(ref.counts)) for address, ref in told.items()}
    return found


def some(kind: str, change: str) -> Any:
    """Every kind and every change in the quick tests, all pairs in the full ones."""
    quick = kind == "jsonl" or change in ("edited", "first")
    return pytest.param(kind, change, marks=() if quick else pytest.mark.full)


@pytest.mark.parametrize(("kind", "change"), [some(kind, change) for kind in KINDS for change in CHANGES])
def test_copied_shards_equal_those_of_a_whole_run(kind, change, engine, tmp_path):
    rows, (changed, ran) = rows_from(0, ROWS), CHANGES[change]
    prepared(workspace_in(tmp_path, KINDS[kind](tmp_path, rows)), engine)
    source = KINDS[kind](tmp_path, changed(rows))
    done = prepared(workspace_in(tmp_path, source), engine)
    found = shards_of(workspace_in(tmp_path, source))
    whole = workspace_in(tmp_path, source, "other")
    prepared(whole, engine)
    assert found == shards_of(whole)
    assert sum(item.ran for item in done) == ran


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_lost_or_damaged_base_costs_time_alone(kind, engine, tmp_path):
    prepared(workspace_in(tmp_path, KINDS[kind](tmp_path, rows_from(0, ROWS))), engine)
    lake = workspace_in(tmp_path, KINDS[kind](tmp_path, edit(rows_from(0, ROWS)))).lake
    path = Path(lake.uri(layout.bases_path("records", "rows")))
    data = path.read_bytes()
    for damage in (data[:-9], b"", bytes(len(data)), None):
        if damage is None:
            path.unlink()
        else:
            path.write_bytes(damage)
        other = tmp_path / "copy"
        shutil.copytree(tmp_path / "lake", other, dirs_exist_ok=True)
        workspace = workspace_of(tmp_path / "trichord.yaml", f"lake={other}")
        assert sum(item.copied for item in prepared(workspace, engine)) == 0
        shutil.rmtree(other)
    path.write_bytes(data)
    assert sum(item.copied for item in prepared(workspace_of(tmp_path / "trichord.yaml"), engine)) > 0


def test_other_ops_run_for_every_row(engine, tmp_path):
    source = as_jsonl(tmp_path, rows_from(0, ROWS))
    prepared(workspace_in(tmp_path, source), engine)
    other = workspace_of(tmp_path / "trichord.yaml", "prepare.image.quality=70")
    assert sum(item.copied for item in prepared(other, engine)) == 0


def test_equal_rows_of_one_partition_are_told_apart(engine, tmp_path):
    rows = rows_from(0, ROWS)
    source = as_jsonl(tmp_path, [*rows, dict(rows[5])])  # a repeat is rejected again, and the first row copied
    prepared(workspace_in(tmp_path, source), engine)
    source = as_jsonl(tmp_path, edit([*rows, dict(rows[5])]))
    done = prepared(workspace_in(tmp_path, source), engine)
    found = shards_of(workspace_in(tmp_path, source))
    whole = workspace_in(tmp_path, source, "other")
    prepared(whole, engine)
    assert found == shards_of(whole)
    assert sum(item.ran for item in done) == 1
