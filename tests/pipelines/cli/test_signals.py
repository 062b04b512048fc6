"""Signals end a process with the documented code, wherever they arrive."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

IN_A_BLOCK = """
import signal, sys
from trichord.pipelines.cli.signals import exit_on_signals
with exit_on_signals():
    signal.raise_signal(int(sys.argv[1]))
"""
WHILE_THE_VERBS_ARE_IMPORTED = """
import signal, sys
from trichord.pipelines.cli.command import main
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            signal.raise_signal(int(sys.argv[1]))
sys.meta_path.insert(0, Finder())
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("program", [IN_A_BLOCK, WHILE_THE_VERBS_ARE_IMPORTED], ids=["block", "imports"])
def test_a_signal_that_no_verb_catches_ends_with_its_code(program, number):
    hear = lambda: signal.signal(number, signal.SIG_DFL)  # noqa: E731 - a job in the background or of nohup ignores it
    command = [sys.executable, "-c", program, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, preexec_fn=hear)
    assert done.returncode == 128 + number, done.stderr
    assert number.name in done.stderr
    assert "Traceback" not in done.stderr
