"""`trichord watch`: keep lake and index up to date by events."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from trichord.pipelines.cli.options import DEFAULT_PROJECT, EngineName, Json, Overrides, ProjectFile
from trichord.pipelines.cli.options import open_project as _open
from trichord.pipelines.cli.options import print_result as _print
from trichord.pipelines.cli.render import console, table


def watch(
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    once: Annotated[bool, typer.Option("--once", help="Empty the queues, act on what they held, and end.")] = False,
    as_json: Json = False,
) -> None:
    """Index what events name (S3, Cloud Storage, webhooks, folders) as they come, and everything on a clock."""
    workspace = _open(project, set_, as_json, engine)
    _print(workspace.watch(once=once), as_json, _show)


def _show(result: dict[str, Any]) -> None:
    fates = sorted({fate for found in result["messages"].values() for fate in found})
    rows = [
        [escape(channel), *(f"{found.get(fate, 0):,}" for fate in fates)]
        for channel, found in result["messages"].items()
    ]
    if rows:
        table("Messages", {"channel": "left", **dict.fromkeys(fates, "right")}, rows)
    runs = ", ".join(f"{number} {escape(ended)}" for ended, number in result["runs"].items()) or "none"
    console.print(
        f"Runs: {runs}. Not acknowledged: {result['waiting']:,}. Missed by events: {result['events_missed']:,}."
    )
    if result["lag_s"] is not None:
        console.print(f"From an event to its commit: {result['lag_s']:,.1f} s on average.")
