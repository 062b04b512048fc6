"""CPU seconds of a process and of what it started, while these live and after."""

from __future__ import annotations

import subprocess
import sys

from trichord.infra.cpu_time import used_cpu_s

BUSY = """
import sys, time
while time.process_time() < 0.15: pass
sys.stdout.write("done")
sys.stdout.flush()
sys.stdin.read()
"""


def test_a_grandchild_counts_while_it_lives_and_once_it_is_gone():
    before = used_cpu_s()
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"
    with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.read(4) == b"done"
        living = used_cpu_s() - before
        process.stdin.close()
    gone = used_cpu_s() - before
    assert 0.12 <= living <= gone < 5  # what lives is told in hundredths of a second
