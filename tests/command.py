"""The command `trichord` for tests: in this process, or in one of its own where only that shows what is tested."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from trichord.infra import log
from trichord.pipelines.cli.command import main

COMMAND = (sys.executable, "-m", "trichord.pipelines")
Finished = subprocess.CompletedProcess[str]


def trichord(
    *arguments: str, check: int | None = 0, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Finished:
    """Run the command in this process, which leaves nothing behind in it: importing torch alone takes 2 s of CPU.

    `env` is added to this process's environment.
    """
    out, err = StringIO(), StringIO()
    with _undone(cwd, env or {}), redirect_stdout(out), redirect_stderr(err):
        code = _exit_code(arguments)
    return _checked(Finished(["trichord", *arguments], code, out.getvalue(), err.getvalue()), check)


def trichord_process(*arguments: str, check: int | None = 0, **options: Any) -> Finished:
    """Run the command as a user does."""
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=300, check=False, **options)
    return _checked(done, check)


def _exit_code(arguments: tuple[str, ...]) -> int:
    """What the process would have exited with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["trichord", *arguments])
        try:
            main()
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


@contextmanager
def _undone(cwd: Path | None, env: Mapping[str, str]) -> Iterator[None]:
    """Undo what a command changes of this process: folder, environment, form of the log."""
    folder, environment, as_json = os.getcwd(), dict(os.environ), log._as_json
    try:
        os.environ.update(env)
        os.chdir(cwd or folder)
        log.configure(as_json=False)
        yield
    finally:
        os.chdir(folder)
        log.configure(as_json=as_json)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)


def _checked(done: Finished, check: int | None) -> Finished:
    if check is not None:
        assert done.returncode == check, f"exit {done.returncode}\n{done.stdout}\n{done.stderr[-4000:]}"
    return done
