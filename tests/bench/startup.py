"""What it costs to start: CPU seconds (user + system) of each verb, of this checkout and of another one, interleaved.

`python -m tests.bench.startup PROJECT [--against CHECKOUT] [--runs 5]`: PROJECT is a project file whose lake is
published and up to date, such as `trichord demo --records 200` makes. CHECKOUT is a folder whose `.venv/src` holds the
other package. A first run of each, which compiles the modules for all later ones, is not counted.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parents[2]
VERBS = (
    ("--help",),
    ("status", "--project", "PROJECT"),
    ("plan", "--project", "PROJECT"),
    ("reindex", "--project", "PROJECT"),
    ("search", "--project", "PROJECT", "--text", "two red circles"),
)


def cpu_s(command: Sequence[str], checkout: Path) -> float:
    """Run a verb with the package of a checkout; return the CPU seconds of it and its children."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "trichord.pipelines", *command],
        env={**environment, "PYTHONPATH": str(checkout / ".venv" / "src")},
        cwd=checkout,
        capture_output=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    checkouts = [*([asked.against.resolve()] if asked.against else []), HERE]
    out = sys.stdout
    out.write(f"| verb | {'old, s | ' if asked.against else ''}now, s |\n|---|{'---|' * len(checkouts)}\n")
    for verb in VERBS:
        command = [str(asked.project.resolve()) if part == "PROJECT" else part for part in verb]
        taken = [[cpu_s(command, checkout) for checkout in checkouts] for _ in range(asked.runs + 1)]
        medians = [statistics.median(times) for times in zip(*taken[1:], strict=True)]
        out.write(f"| `{verb[0]}` | {' | '.join(f'{seconds:.2f}' for seconds in medians)} |\n")


if __name__ == "__main__":
    main()
