"""Signals end a process with the documented code, wherever they arrive."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys
from trichord.pipelines.cli.signals import exit_on_signals
with exit_on_signals():
    signal.raise_signal(int(sys.argv[1]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_no_verb_catches_ends_with_its_code(number):
    hear = lambda: signal.signal(number, signal.SIG_DFL)  # noqa: E731 - a job in the background or of nohup ignores it
    command = [sys.executable, "-c", PROGRAM, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, preexec_fn=hear)
    assert done.returncode == 128 + number, done.stderr
    assert number.name in done.stderr
    assert "Traceback" not in done.stderr
