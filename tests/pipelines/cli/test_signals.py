"""Signals end a process with the documented code, wherever they arrive."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import nullcontext

import pytest

from tests.conftest import Place
from trichord.infra.lake.presence import present
from trichord.pipelines.cli.signals import exit_on_signals

# a job in the background or of nohup ignores some, and so would its children
START = """
import signal, sys
number = int(sys.argv[1])
signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
"""
IN_A_BLOCK = """
from trichord.pipelines.cli.signals import exit_on_signals
with exit_on_signals():
    signal.raise_signal(number)
"""
WHILE_THE_VERBS_ARE_IMPORTED = """
from trichord.pipelines.cli.command import main
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            signal.raise_signal(number)
sys.meta_path.insert(0, Finder())
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("program", [IN_A_BLOCK, WHILE_THE_VERBS_ARE_IMPORTED], ids=["block", "imports"])
def test_a_signal_that_no_verb_catches_ends_with_its_code(program, number):
    command = [sys.executable, "-c", START + program, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 128 + number, done.stderr
    assert number.name in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("job", "told"), [(None, None), ("reindex", "it resumes"), ("gc", "it resumes"), ("rollback", "trichord status")]
)
def test_only_a_job_on_a_lake_is_said_to_keep_its_work_and_to_resume(place: Place, capfd, job, told):
    def receive() -> None:
        with exit_on_signals(), present(place.lake, "run", job) if job is not None else nullcontext():
            signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as ended:
            receive()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 143
    said = capfd.readouterr().err
    assert "SIGTERM" in said
    assert ("next=" in said or '"next"' in said) == (told is not None)
    assert (told or "") in said
