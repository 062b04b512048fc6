"""Runs that start while another is at work: refused, skipped, or waiting, and never two at once."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import trichord_process
from tests.pipelines.lakes import result_of, rows_of, trichord, workspace_of, write_rows
from trichord.infra.lake.lease import leased


@contextmanager
def another_run(project: Path) -> Iterator[None]:
    """Hold the lease as a run in another thread does."""
    lake, taken, over = workspace_of(project).lake, threading.Event(), threading.Event()

    def run() -> None:
        with leased(lake, "reindex"):
            taken.set()
            over.wait(120)

    other = threading.Thread(target=run)
    other.start()
    assert taken.wait(30)
    try:
        yield
    finally:
        over.set()
        other.join()


def test_a_second_run_is_refused_or_skipped_and_says_since_when(lake_copy: Path) -> None:
    project = ("--project", str(lake_copy))
    with another_run(lake_copy):
        options = {"reindex": ("--wait", "--skip"), "nightly": ("--wait", "--skip"), "maintain": ("--wait",)}
        for verb in ("reindex", "nightly", "maintain", "prepare", "recover --yes", "rejects replay"):
            told = trichord(*verb.split(), *project, check=4).stderr
            assert "`trichord reindex` is running on" in told
            assert re.findall("--[a-z]+", told) == [*options.get(verb, ())], "it names the verb's own options"
        assert "already, since" in " ".join(trichord("reindex", "--skip", *project).stdout.split())
        assert result_of(trichord("reindex", "--skip", *project, "--json"))["skipped"] is True
        assert "to roll back to" in trichord("rollback", *project, check=2).stderr.lower(), "that waits for nobody"
    assert result_of(trichord("reindex", "--skip", *project, "--json"))["unchanged"] is True
    assert "cannot be combined" in trichord("reindex", "--skip", "--wait", *project, check=2).stderr


@pytest.mark.full
def test_runs_that_start_at_once_make_one_linear_history(lake_copy: Path) -> None:
    rows = rows_of(lake_copy.parent / "corpus")
    write_rows(lake_copy.parent / "corpus", rows[:-3])
    workspace = workspace_of(lake_copy)
    before, ended = len(workspace.publications.rows()), list[int]()

    def run(*flags: str) -> None:
        ended.append(trichord_process("reindex", *flags, "--project", str(lake_copy), check=None).returncode)

    starts = [threading.Thread(target=run, args=flags) for flags in ((), (), ("--wait",))]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert set(ended) <= {0, 4}
    assert 0 in ended
    history = workspace.publications.rows()
    assert [row.sequence for row in history] == list(range(1, before + 2)), "one publication of the change"
