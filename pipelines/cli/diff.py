"""The verb `diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trichord.pipelines.cli import render, render_diff
from trichord.pipelines.cli.options import (
    DEFAULT_PROJECT,
    EngineName,
    Json,
    Overrides,
    ProjectFile,
    open_project,
    print_result,
)
from trichord.pipelines.cli.output_files import page_file

_SIDE = "a publication's id; publications@N, the one live at version N of that table; or records@N, the tables as of it"


def diff(
    before: Annotated[
        str | None, typer.Argument(metavar="BEFORE", help=f"The earlier side: {_SIDE}. (default: the one before AFTER)")
    ] = None,
    after: Annotated[
        str | None, typer.Argument(metavar="AFTER", help="The later side, the same. (default: the live publication)")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", callback=page_file, help="Write a page with pictures about it to this HTML file."),
    ] = None,
    queries: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=10_000,
            help="Test records that ask both indexes by text, picture and sound; 0: none. (default: 200)",
        ),
    ] = None,
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    as_json: Json = False,
) -> None:
    """Compare two publications: records by key and field, rejects, drift, gate figures, and answers to queries."""
    workspace = open_project(project, set_, as_json, engine)
    asked = {} if queries is None else {"queries": queries}
    print_result(workspace.diff(before, after, report=report, **asked), as_json, render_diff.diff)
    if report is not None and not as_json:
        render.console.print(f"Page: {report}", markup=False, soft_wrap=True)
