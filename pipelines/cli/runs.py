"""`trichord runs`: what earlier runs on a lake did and took."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from trichord.infra.errors import ConfigError
from trichord.pipelines.cli.options import DEFAULT_PROJECT, Json, Overrides, ProjectFile, open_project, print_result
from trichord.pipelines.cli.render import console, table

runs_app = typer.Typer()


@runs_app.callback(invoke_without_command=True)
def list_runs(
    context: typer.Context,
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    limit: Annotated[int, typer.Option(min=1, max=400, help="Largest number of runs to list.")] = 20,
    failed: Annotated[bool, typer.Option("--failed", help="Show only runs that failed.")] = False,
    as_json: Json = False,
) -> None:
    """List the last runs on this lake, newest first: how each ended, rows by fate, seconds and bytes."""
    if context.invoked_subcommand is not None:
        return
    workspace = open_project(project, set_, as_json)
    found = [run for run in workspace.runs() if run.exit_code or not failed]
    print_result({"runs": [run.to_dict() for run in found[:limit]]}, as_json, _list)


@runs_app.command("show")
def show_run(
    run: Annotated[str, typer.Argument(help="Id of the run, or its first letters.")],
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    as_json: Json = False,
) -> None:
    """Show one run: how it ended, what it did, and what each stage took."""
    workspace = open_project(project, set_, as_json)
    found = [one for one in workspace.runs() if one.id.startswith(run)]
    if len(found) != 1:
        many = f"the ids of {len(found)} runs begin with this" if found else "there is no such run"
        raise ConfigError(f"{run}: {many}.\nList them: `trichord runs`.")
    print_result(found[0].to_dict(), as_json, _show)


def _list(result: dict[str, Any]) -> None:
    if not result["runs"]:
        console.print("No runs are recorded for this lake.")
        return
    priced = any(run["cost"] is not None for run in result["runs"])
    rows = [
        [
            run["id"],
            run["verb"] if run["trigger"] == "command" else run["trigger"],
            _ended(run),
            *_fates(run["counts"]),
            f"{run['seconds']:,.1f}",
            *_cost(run, priced),
        ]
        for run in result["runs"]
    ]
    counted = dict.fromkeys(("rows", "kept", "left out", "seconds", *(("cost",) if priced else ())), "right")
    table("Runs", {"id": "left", "run": "left", "ended": "left", **counted}, rows)


def _cost(run: dict[str, Any], priced: bool) -> list[str]:
    return [] if not priced else ["" if run["cost"] is None else f"{run['cost']:,.2f}"]


def _fates(counts: dict[str, int]) -> tuple[str, str, str]:
    if not counts:
        return "", "", ""
    rows, kept = counts["rows_in"] + counts["rows_added"], counts["rows_kept"]
    return f"{rows:,}", f"{kept:,}", f"{rows - kept:,}"


def _show(run: dict[str, Any]) -> None:
    console.print(f"[bold]{escape(run['id'])}[/]: `trichord {run['verb']}`, started by {run['trigger']}, {_ended(run)}")
    console.print(f"Started {run['started_at']} on {escape(run['host'])}, trichord {run['version']}.")
    if run["error"]:
        at = f"In stage {run['stage']}: " if run["stage"] else ""
        console.print(at + escape(run["error"]), soft_wrap=True)
    console.print(f"Live at its end: {escape(run['publication'] or 'nothing')}.")
    if run["inputs"]:
        console.print(f"Digest of its inputs: {run['inputs'][:16]}…")
    if run["versions"]:
        console.print("Versions: " + ", ".join(f"{name} {version}" for name, version in run["versions"].items()))
    if run["sources"]:
        held = [[escape(name), f"{one['rows']:,}", one["version"][:12]] for name, one in run["sources"].items()]
        table("Sources", {"source": "left", "rows": "right", "version": "left"}, held)
    if run["counts"]:
        table("Rows", {"fate": "left", "rows": "right"}, [[name, f"{rows:,}"] for name, rows in run["counts"].items()])
    if run["stages"]:
        stages = [
            [name, one["made"], f"{one['seconds']:,.1f}", f"{one['cpu_s']:,.1f}"] for name, one in run["stages"].items()
        ]
        table("Stages", {"stage": "left", "made": "right", "seconds": "right", "CPU seconds": "right"}, stages)
    cost = "" if run["cost"] is None else f" It cost {run['cost']:,.2f}."
    console.print(f"{run['seconds']:,.1f} s; {run['bytes_written'] / 1e6:,.1f} MB of shards and index files.{cost}")


def _ended(run: dict[str, Any]) -> str:
    if run["exit_code"]:
        return f"exit {run['exit_code']}"
    return "unchanged" if run["unchanged"] else "well"
