"""The verb `init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trichord.pipelines.cli import render_init
from trichord.pipelines.cli.options import DEFAULT_PROJECT, Json, print_result


def init(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[PATH]",
            help="Your data: CSV, TSV, JSONL or Parquet, captions (COCO, Flickr), a folder, a tar, or a Delta table. "
            "Without it, `init` writes a short file to fill in.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Project file to write.")] = DEFAULT_PROJECT,
    full: Annotated[bool, typer.Option("--full", help="Write a file with all settings and comments instead.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    as_json: Json = False,
) -> None:
    """Look at your data, guess how to read it, show three records, and write a project file."""
    from trichord.pipelines.ops.start import start

    print_result(start(data, out, full=full, force=force).to_dict(), as_json, render_init.started)
