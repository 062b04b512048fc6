"""Options of verbs that wait for another run on the lake, or skip their turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from trichord.infra.errors import ConfigError, LeaseTaken
from trichord.pipelines.cli import render
from trichord.pipelines.cli.options import print_result

Wait = Annotated[bool, typer.Option("--wait", help="Wait for another run on this lake to end.")]
Skip = Annotated[bool, typer.Option("--skip", help="Exit with code 0 if another run is at work on this lake.")]

WAITS = "Or let this one wait for it: --wait."


@contextmanager
def naming(options: str) -> Iterator[None]:
    """Add the options of the verb to the message where the block finds another run at work on the lake."""
    try:
        yield
    except LeaseTaken as taken:
        taken.args = (f"{taken} {options}",)
        raise


@contextmanager
def taking_turn(*, wait: bool, skip: bool, as_json: bool) -> Iterator[None]:
    """End the command with exit code 0, if `skip`, where the block finds another run at work on the lake.

    Raises:
        ConfigError: both are asked for.
        LeaseTaken: another run is at work, and it was not to be skipped.
    """
    if wait and skip:
        raise ConfigError("--wait and --skip cannot be combined.")
    try:
        with naming(f"{WAITS} Or skip its turn: --skip."):
            yield
    except LeaseTaken as taken:
        if not skip:
            raise
        print_result({"skipped": True, "reason": str(taken).splitlines()[0]}, as_json, render.skipped)
        raise typer.Exit from taken
