"""A run that is ended by a signal exits as documented and leaves nothing temporary; a rerun resumes."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.interrupt import measure
from tests.faults.kill import start
from tests.faults.left import is_clean, leftovers
from tests.pipelines.lakes import write_project


@pytest.mark.full
def test_sigterm_in_training_leaves_nothing(tmp_path):
    settings = {"model": {"dimension": 32, "hidden": 64}, "train": {"epochs": 500, "batch_size": 8}}
    project, temporary = write_project(tmp_path / "project", records=40, settings=settings), tmp_path / "temporary"
    temporary.mkdir()
    with start(project, env={**os.environ, "TMPDIR": str(temporary)}) as driver:
        assert driver.stderr is not None
        while '"epoch": 1,' not in (line := driver.stderr.readline()):
            assert line, "the run ended before it trained"
        assert any(name.name.startswith("trichord-train-") for name in temporary.iterdir())
        driver.terminate()
        _, err = driver.communicate(timeout=120)
    assert driver.returncode == 128 + signal.SIGTERM
    assert '"interrupted", "signal": "SIGTERM"' in err
    assert is_clean(err)
    assert leftovers(project.parent / "lake", temporary) == []


@pytest.mark.sweep
def test_signals_at_many_points():
    found = measure(points=6, records=40)
    assert found["codes"] == {"SIGTERM 143": 3, "SIGINT 130": 3}
    assert (found["clean"], found["converged"], found["left"]) == (6, 6, [])
