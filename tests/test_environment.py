"""The suite passes on a machine in use: what others have set there does not reach a test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import trichord
from tests import environment

PACKAGE = Path(trichord.__path__[0])
HOSTILE = {
    "RAY_ADDRESS": "auto",
    "HF_HOME": "/nonexistent",
    "HF_TOKEN": "x",
    "AWS_PROFILE": "nobody",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "",
    "COLUMNS": "20",
    "FORCE_COLOR": "1",
}


def test_settings_of_other_programs_are_removed_and_all_else_stays(tmp_path):
    kept = {"HOME": "/home/x", "TRICHORD_SAMPLE": "/sample", "TMPDIR": "/tmp/x", "CUDA_VISIBLE_DEVICES": "1"}
    found = HOSTILE | kept
    environment.clean(found, PACKAGE)
    assert found == kept | {"TERM": "dumb"}


def test_of_the_python_path_only_this_package_stays(tmp_path):
    (tmp_path / "theirs" / "trichord").mkdir(parents=True)
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "trichord").symlink_to(PACKAGE)
    folders = [str(tmp_path), str(tmp_path / "theirs"), str(tmp_path / "ours"), ""]
    found = {"PYTHONPATH": os.pathsep.join(folders)}
    environment.clean(found, PACKAGE)
    assert found["PYTHONPATH"] == str(tmp_path / "ours")


def test_a_test_run_of_such_a_machine_sees_none_of_it(tmp_path):
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "__init__.py").write_text("raise SystemExit('not ours')")
    path = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(tmp_path)])
    chosen = f"{__file__}::{test_no_setting_of_another_program_is_here.__name__}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", chosen]
    done = subprocess.run(
        command, env=os.environ | HOSTILE | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_no_setting_of_another_program_is_here():
    left = {name for name in HOSTILE if os.environ.get(name) == HOSTILE[name]}
    assert not left
    assert "RAY_TMPDIR" in os.environ
