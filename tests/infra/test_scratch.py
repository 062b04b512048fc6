"""Scratch folders: gone when their block ends, and when their process was killed, with the next run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from trichord.infra.scratch import remove_abandoned, scratch_folder

KILLED = (
    "import os, signal\n"
    "from trichord.infra.scratch import scratch_folder\n"
    "with scratch_folder('train') as folder:\n"
    "    open(os.path.join(folder, 'features'), 'w').close()\n"
    "    os.kill(os.getpid(), signal.SIGKILL)\n"
)


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_scratch_folder_ends_with_its_block_whatever_ends_that(temporary):
    with suppress(SystemExit), scratch_folder("train") as folder:
        Path(folder, "features").touch()
        assert Path(folder).parent == temporary
        raise SystemExit
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_goes_and_nothing_else(temporary):
    killed = subprocess.run([sys.executable, "-c", KILLED], check=False, env={**os.environ, "TMPDIR": str(temporary)})
    assert killed.returncode == -9
    (left,) = temporary.iterdir()
    users = [temporary / name for name in ("trichord-train", "trichord-my-data.tmp", "trichord-train-0123.tmp")]
    for one in users:
        one.mkdir()
    with scratch_folder("index") as folder:
        assert remove_abandoned() == [str(left)]
        assert sorted(temporary.iterdir()) == sorted([*users, Path(folder)])
