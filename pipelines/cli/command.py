"""The entry point of the command: it answers signals before it imports the verbs, which takes most of its start."""

from __future__ import annotations

import sys

from trichord.pipelines.cli.signals import exit_on_signals


def main() -> None:
    """Run the command line; turn errors into a message and an exit code."""
    with exit_on_signals():
        from trichord.pipelines.cli.app import app
        from trichord.pipelines.cli.process import run

        sys.exit(run(app))
