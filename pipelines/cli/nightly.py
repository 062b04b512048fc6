"""`trichord nightly` and `trichord maintain`: the night's run, and what keeps a lake tidy."""

from __future__ import annotations

from typing import Any

import typer
from rich.markup import escape

from trichord.infra import log
from trichord.pipelines.cli import render
from trichord.pipelines.cli.options import (
    DEFAULT_PROJECT,
    Accepted,
    EngineName,
    Json,
    Overrides,
    ProjectFile,
    open_project,
    print_result,
)
from trichord.pipelines.cli.render import console
from trichord.pipelines.cli.turn import WAITS, Skip, Wait, naming, taking_turn


def nightly(
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    accept: Accepted = None,
    wait: Wait = False,
    skip: Skip = False,
    as_json: Json = False,
) -> None:
    """Reindex, make up for missed nights, then maintain the lake; for cron, systemd, Kubernetes or Airflow.

    The lake is maintained also if the gate refuses the new index. The exit code is the reindex's.
    """
    workspace = open_project(project, set_, as_json, engine)
    with taking_turn(wait=wait, skip=skip, as_json=as_json), log.progress("nightly"):
        summary = workspace.nightly(accept=accept or (), wait=wait)
    print_result(summary, as_json, _show_night)
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


def maintain(
    project: ProjectFile = DEFAULT_PROJECT, set_: Overrides = None, wait: Wait = False, as_json: Json = False
) -> None:
    """Shorten the tables' logs and remove files that no kept publication needs; `nightly` does it, too."""
    workspace = open_project(project, set_, as_json)
    with naming(WAITS):
        maintained = workspace.maintain(wait=wait)
    print_result(maintained, as_json, _show_maintained)


def _show_night(result: dict[str, Any]) -> None:
    if result["missed"]:
        console.print(f"{result['missed']} missed nights were made up for.")
    if result["run"] is not None:
        render.reindex(result["run"])
    if result["error"]:
        console.print(f"[red]{escape(result['error'])}[/]")
    if result["maintained"] is not None:
        _show_maintained(result["maintained"])


def _show_maintained(result: dict[str, Any]) -> None:
    if result["commits"]:
        tables = ", ".join(f"{name} {count:,}" for name, count in result["commits"].items())
        console.print(f"Removed old commits: {tables}.")
    render.collected(result["collected"])
    for advice in result["advice"]:
        console.print(f"[yellow]{escape(advice)}[/]")
