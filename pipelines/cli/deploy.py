"""`trichord deploy`: the files that run a project somewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from trichord.infra import log
from trichord.pipelines.cli.options import DEFAULT_PROJECT, Json, ProjectFile, print_result
from trichord.pipelines.cli.render import console, table

deploy_app = typer.Typer(
    help="Write the files that run a project every night and on events: containers, Kubernetes, Ray, systemd, …",
    no_args_is_help=True,
)


@deploy_app.command("ls")
def deploy_ls(as_json: Json = False) -> None:
    """List the targets and the files of each."""
    from trichord.infra.deploy.render import files_of, targets

    log.configure(as_json=as_json)
    print_result({"targets": {target: sorted(files_of(target)) for target in targets()}}, as_json, _show_targets)


@deploy_app.command("render")
def deploy_render(
    targets: Annotated[
        list[str],
        typer.Argument(metavar="TARGET", help="Targets that `trichord deploy ls` lists; `all` for all of them."),
    ],
    project: ProjectFile = DEFAULT_PROJECT,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to; each target gets a folder in it.")] = Path(
        "deploy"
    ),
    name: Annotated[str, typer.Option(help="Name of the namespace, the user and the jobs.")] = "trichord",
    image: Annotated[str | None, typer.Option(help="Container image with its tag. (default: trichord:VERSION)")] = None,
    gpu_image: Annotated[str | None, typer.Option(help="Container image for GPUs. (default: --image and -gpu)")] = None,
    lake: Annotated[str | None, typer.Option(help="Lake of the deployment. (default: the project's)")] = None,
    schedule: Annotated[str, typer.Option(help="When the night runs: five fields of cron.")] = "0 2 * * *",
    timezone: Annotated[str, typer.Option(help="Time zone of the schedule, such as Europe/Berlin.")] = "Etc/UTC",
    secret: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Environment variable that holds a secret; its name only. Repeatable."),
    ] = None,
    program: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Path of the command, for systemd, Airflow and Dagster. (default: this one)"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    as_json: Json = False,
) -> None:
    """Write a target's files for a project. They hold names of secrets, never secrets."""
    from trichord.infra.deploy import render
    from trichord.pipelines.ops.deploy import Wishes, render_deployment

    log.configure(as_json=as_json)
    wishes = Wishes(
        name=name,
        image=image,
        gpu_image=gpu_image,
        lake=lake,
        schedule=schedule,
        timezone=timezone,
        secrets=secret or (),
        program=program,
    )
    chosen = render.targets() if targets == ["all"] else targets
    print_result(render_deployment(chosen, project, out, wishes, force=force), as_json, _show_rendered)


def _show_targets(result: dict[str, Any]) -> None:
    rows = [[target, ", ".join(one.partition("/")[2] for one in files)] for target, files in result["targets"].items()]
    table("Targets", {"target": "left", "files": "left"}, rows)


def _show_rendered(result: dict[str, Any]) -> None:
    for name in result["files"]:
        console.print(f"{escape(result['folder'])}/{escape(name)}", soft_wrap=True)
    for note in result["notes"]:
        console.print(f"[yellow]{escape(note)}[/]", soft_wrap=True)
