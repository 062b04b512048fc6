"""`trichord recover`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from trichord.pipelines.cli.options import (
    DEFAULT_PROJECT,
    EngineName,
    Json,
    Overrides,
    ProjectFile,
    open_project,
    print_result,
)
from trichord.pipelines.cli.render import console


def recover(
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    yes: Annotated[bool, typer.Option("--yes", help="Carry the steps out; without it, only show them.")] = False,
    as_json: Json = False,
) -> None:
    """Find what is damaged in the lake, and (with --yes) bring it back to its last whole state."""
    print_result(open_project(project, set_, as_json, engine).recover(yes=yes), as_json, render)


def render(result: dict[str, Any]) -> None:
    """Print the steps, what is live afterwards, and the next command."""
    steps, verb = result["steps"], "Done" if result["done"] else "Would do"
    if not steps:
        console.print("[green]Intact:[/] nothing is damaged.")
    for step in steps[:50]:
        console.print(escape(f"{step['path']} {step['problem']}"), soft_wrap=True)
        console.print(f"  {verb}: {escape(step['action'])}", soft_wrap=True)
    if len(steps) > 50:
        console.print(f"… and {len(steps) - 50:,} more; `--json` lists all.")
    live = result["live"] or "nothing"
    state = "searches work" if result["searchable"] else "[red]searches fail until `trichord reindex` has run[/]"
    if steps or result["live"]:
        console.print(f"Live{'' if result['done'] or not steps else ' afterwards'}: [bold]{live}[/]; {state}.")
    if result["next"]:
        console.print(f"Next: {result['next']}")
