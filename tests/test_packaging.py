"""The wheel: what it holds, and that it works installed, beside a user's own folders named like the rooms."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pipelines.lakes import write_project
from trichord.pipelines.cli.command import main

REPOSITORY = Path(__file__).parents[1]
ROOMS = ("pipelines", "encoders", "index_builders", "transforms", "infra")
HOSTILE = (*ROOMS, "tests")
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel and the third-party packages, and a folder to run in that shadows the rooms."""

    bin: Path
    folder: Path

    def run(self, *command: str) -> str:
        """Run a program of the environment in the folder; returns stdout."""
        known = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.folder, env=known, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr[-4000:]
        return done.stdout


def _sources() -> Iterator[str]:
    """Paths of the files that a commit of this checkout would hold."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return (path for path in listed.stdout.split("\0") if path and (REPOSITORY / path).is_file())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built offline from a copy of the sources."""
    copy, made = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for path in _sources():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / path, copy / path)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(made)], cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    [built] = made.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel in an environment of its own. Third-party packages are this environment's, without its editable
    install: a folder that a .pth file adds is searched, but the .pth files in it are not read."""
    environment, folder = tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("a user's project")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    packages = environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (packages / "third_party.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-index", "--no-deps"]
    subprocess.run([*uv, "--python", str(environment / "bin" / "python"), str(wheel)], check=True)
    for name in HOSTILE:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise ImportError('the user\\'s own {name} was imported')\n")
    return Installed(environment / "bin", folder)


def test_the_wheel_installs_trichord_and_nothing_beside_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    version = importlib.metadata.version("trichord")
    assert {name.partition("/")[0] for name in names} == {"trichord", f"trichord-{version}.dist-info"}
    held = {name.split("/")[1] for name in names if name.startswith("trichord/")}
    assert held == {"__init__.py", "py.typed", *ROOMS}


def test_the_wheel_holds_every_module_template_and_style_sheet(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"trichord/{path}" for path in _sources() if path.split("/")[0] in ROOMS}
    assert {Path(name).suffix for name in wanted} == {".py", ".j2", ".css", ".lock", ".yml", ".json"}
    assert wanted <= names


def test_the_command_is_declared_as_the_application():
    [command] = importlib.metadata.entry_points(group="console_scripts", name="trichord")
    assert command.value == "trichord.pipelines.cli.command:main"
    assert command.load() is main


def test_the_installed_package_ignores_folders_named_like_its_rooms(installed):
    code = "import trichord; from trichord.pipelines import api; print(trichord.__file__, api.__file__, sep='|')"
    for path in installed.run("python", "-c", code).strip().split("|"):
        assert Path(path).is_relative_to(installed.bin.parent)
    with pytest.raises(AssertionError, match="own pipelines was imported"):
        installed.run("python", "-c", "import pipelines")
    assert "reindex" in installed.run("trichord", "--help")
    assert "reindex" in installed.run("python", "-m", "trichord.pipelines", "--help")


RUN = """
import json
import trichord

if __name__ == "__main__":
    workspace = trichord.open("trichord.yaml")
    run = workspace.reindex()
    hits = workspace.searcher().search("a red circle", k=3)
    print(json.dumps([run.to_dict()["publication"], [hit.to_dict() for hit in hits]]))
"""


@pytest.mark.full  # 25 s of CPU: worker processes start, and import torch
def test_the_installed_package_indexes_and_searches_with_workers_as_processes(installed):
    write_project(installed.folder, records=60, defects=0.0)
    (installed.folder / "job.py").write_text(RUN, encoding="utf-8")
    publication, hits = json.loads(installed.run("python", "job.py").splitlines()[-1])
    assert len(hits) == 3
    assert all(hit["text"] for hit in hits)
    status = json.loads(installed.run("trichord", "status", "--json").splitlines()[-1])
    assert status["live"]["publication"] == publication
