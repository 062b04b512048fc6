"""Runs one block of the documentation in a folder, as a reader would."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from tests.docs.pages import REPOSITORY, RUN, Block, blocks_of
from tests.pipelines.lakes import trichord
from trichord.infra.project import load_project

SHELL = ("cp", "mkdir", "rm")
SOURCES = "\nsources: [{name: files, kind: folder, path: data/scenes}]\n"


def run_page(page: Path, folder: Path) -> None:
    """Run every block of a page that is not excused, top to bottom. Raises as `run_block`."""
    module = ModuleType("documentation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)  # where dataclasses look for their module
        for block in blocks_of(page):
            if block.excuse is None and block.language in RUN:
                run_block(block, folder, module)


def run_block(block: Block, folder: Path, module: ModuleType) -> None:
    """Run a block; Python blocks of one page share a module.

    Raises:
        AssertionError: a command failed, or the block is wrong.
    """
    match block.language:
        case "python":
            with _inside(folder):
                exec(compile(block.text, block.place, "exec"), module.__dict__)
        case "sh":
            for line in block.text.splitlines():
                if words := shlex.split(line, comments=True):
                    run_command(words, folder)
        case "yaml":
            check_project(block.text, folder)
        case "json":
            json.loads(block.text)
        case other:
            raise AssertionError(f"{block.place}: there is no rule for blocks of {other!r}")


def run_command(words: list[str], folder: Path) -> None:
    """Run one command; `trichord` in this process. Of `make` it is proven that the target can be made."""
    program, *rest = words
    if program == "trichord":
        trichord(*rest, cwd=folder)
    elif program == "make":
        _process(["make", "--dry-run", *rest], REPOSITORY)
    elif program == "python":
        _process([sys.executable, *rest], folder)
    elif program in SHELL:
        _process(words, folder)
    else:
        raise AssertionError(f"{shlex.join(words)!r}: there is no rule for {program!r}; excuse the block with a reason")


def check_project(text: str, folder: Path) -> None:
    """A project file or a part of one is valid. Under a comment that names a file it is that file.

    A file of the repository must say the same; another one is written, for the commands that follow.
    """
    first = text.splitlines()[0]
    name = first.removeprefix("# ").strip() if first.startswith("# ") and first.endswith(".yaml") else None
    committed = REPOSITORY / name if name else None
    if committed is not None and committed.is_file():
        assert yaml.safe_load(text) == yaml.safe_load(committed.read_text(encoding="utf-8")), f"{name} says otherwise"
        load_project(committed)
        return
    path = folder / (name or "part.yaml")
    whole = "sources" in yaml.safe_load(text)
    path.write_text(text if whole else text + SOURCES, encoding="utf-8")
    load_project(path)


def _process(words: list[str], folder: Path) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{shlex.join(words)}: exit {done.returncode}\n{done.stdout}\n{done.stderr[-4000:]}"


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
