"""A medium that is swapped between plan and read stops the whole command, leaves nothing of it, and a rerun heals."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipelines.lakes import result_of, rows_of, trichord, write_project, write_rows
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare import job
from trichord.pipelines.prepare.plan import Plan, make_plan

SETTINGS = {"prepare": {"rows_per_partition": 16}}


def _link_outside(path: Path) -> None:
    outside = path.parents[3] / "outside"
    outside.write_bytes(b"what no one should read")
    _link(path, outside)


def _link_inside(path: Path) -> None:
    _link(path, next(other for other in sorted(path.parent.iterdir()) if other != path))


def _link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project", records=24, settings=SETTINGS, defects=0.0)


def _after_planning(patch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Have `change` happen once, as soon as the next command has its plan."""

    def planned(workspace: Workspace) -> Plan:
        plan = make_plan(workspace)
        change()
        patch.undo()
        return plan

    patch.setattr(job, "make_plan", planned)


def _rejects(project: Path) -> list[str]:
    found = json.loads(trichord("rejects", "ls", "--project", str(project), "--json").stdout)
    return [reject["reason"] for reject in found["rows"]]


def _pictures(project: Path) -> list[Path]:
    corpus = project.parent / "corpus"
    return [corpus / row["image"] for row in rows_of(corpus) if row.get("image")]


@pytest.mark.parametrize("swap", [_link_outside, pytest.param(_link_inside, marks=pytest.mark.full), os.unlink])
def test_a_swapped_medium_stops_the_run_and_a_rerun_has_the_same_digest(
    swap: Callable[[Path], object], project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("prepare", "--project", str(project), "--json")
    path = _pictures(project)[3]
    data, stat = path.read_bytes(), path.stat()
    _after_planning(monkeypatch, lambda: swap(path))
    done = trichord(*run, check=5)
    assert "changed while it was being read" in done.stderr
    assert _rejects(project) == []  # the other partition is kept, and of this one nothing

    path.unlink(missing_ok=True)
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    healed = result_of(trichord(*run))
    assert healed["rows_rejected"] == 0
    undisturbed = result_of(trichord(*run, "--set", f"lake={tmp_path / 'other'}"))
    assert healed["manifest_digest"] == undisturbed["manifest_digest"]


def test_a_row_that_is_copied_keeps_what_was_planned_and_the_next_run_sees_the_swap(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("prepare", "--project", str(project), "--json")
    trichord(*run)
    corpus = project.parent / "corpus"
    rows = rows_of(corpus)
    path = corpus / next(row["image"] for row in rows[1:] if row.get("image"))
    write_rows(corpus, [{**rows[0], "text": "other words"}, *rows[1:]])
    _after_planning(monkeypatch, lambda: _link_outside(path))
    assert result_of(trichord(*run))["rows_rejected"] == 0
    trichord(*run)
    assert _rejects(project) == ["media_outside_root"]
