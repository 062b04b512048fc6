"""`trichord submit` and `trichord jobs`: verbs that run as jobs of a Ray cluster."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from trichord.infra import log, stderr
from trichord.infra.errors import ConfigError
from trichord.infra.printable import printable
from trichord.pipelines.cli.options import DEFAULT_PROJECT, Json, Overrides, ProjectFile, print_result
from trichord.pipelines.cli.render import console, table
from trichord.pipelines.core.result import plain

if TYPE_CHECKING:
    from trichord.infra.engines.ray_jobs import Resources

PASS_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False}  # what follows the verb is the verb's
_HERE = {"submit", "jobs", "demo", "init", "schema", "doctor", "search"}  # make no sense, or nothing, on a cluster
_SET_HERE = {"--project", "-p", "--set"}
jobs_app = typer.Typer(help="List, read and stop the jobs that `trichord submit` started.", no_args_is_help=True)

Address = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The cluster's dashboard, http://HOST:8265. (default: RAY_API_SERVER_ADDRESS, then RAY_ADDRESS)",
    ),
]
JobId = Annotated[str, typer.Argument(metavar="ID", help="Id of the job.")]


def submit(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="VERB [OPTIONS]", help="The verb to run, and its options.")],
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    address: Address = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Show the job's log until it ends, and exit with its code.")
    ] = True,
    key: Annotated[
        str | None,
        typer.Option(help="A further part of the job's identity, such as a logical date. (nightly: today, UTC)"),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Run it again even if the last attempt succeeded.")] = False,
    stage: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Only write what would be sent, and print the command; start nothing."),
    ] = None,
    num_cpus: Annotated[
        float | None, typer.Option("--entrypoint-num-cpus", min=0, help="Cores that the driver reserves.")
    ] = None,
    num_gpus: Annotated[
        float | None, typer.Option("--entrypoint-num-gpus", min=0, help="GPUs that the driver reserves.")
    ] = None,
    memory: Annotated[
        int | None, typer.Option("--entrypoint-memory", min=0, help="Bytes of memory that the driver reserves.")
    ] = None,
    custom: Annotated[
        str | None, typer.Option("--entrypoint-resources", metavar="JSON", help="Other resources: name to amount.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a verb as a job of a Ray cluster: `trichord submit backfill --recipe new.yaml`. Options of submit come first.

    A job that runs already is followed, one that ended well is reported, one that failed or was stopped is tried again.
    """
    from trichord.pipelines.ops.submit import submit as submit_job

    log.configure(as_json=as_json)
    verb, arguments = _verb(context, words)
    done = submit_job(
        project,
        verb,
        arguments,
        overrides=set_ or (),
        address=address,
        key=key,
        again=again,
        wait=wait,
        resources=_resources(num_cpus, num_gpus, memory, custom),
        stage=stage,
        write=_write,
    )
    print_result(done, as_json, _show)
    if done.exit_code:
        raise typer.Exit(done.exit_code)


@jobs_app.command("ls")
def list_jobs(address: Address = None, as_json: Json = False) -> None:
    """List the jobs that `trichord submit` started on a cluster, newest first."""
    from trichord.infra.engines.ray_jobs import Jobs
    from trichord.pipelines.ops.submit import PREFIX

    log.configure(as_json=as_json)
    print_result({"jobs": [plain(job) for job in Jobs(address).list(PREFIX)]}, as_json, _list)


@jobs_app.command("logs")
def show_log(
    job: JobId,
    address: Address = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the job ends, and exit with its code.")] = False,
    as_json: Json = False,
) -> None:
    """Print what a job has written."""
    from trichord.infra.engines.ray_jobs import Jobs

    log.configure(as_json=as_json)
    jobs = Jobs(address)
    if not follow:
        print_result({"id": job, "log": jobs.log(job)}, as_json, _show_log)
        return
    ended = jobs.follow(job, _write)
    print_result(plain(ended), as_json, _show_job)
    if ended.exit_code:
        raise typer.Exit(ended.exit_code)


@jobs_app.command("stop")
def stop_job(job: JobId, address: Address = None, as_json: Json = False) -> None:
    """Ask a job to end in order. What it has finished is kept, and the same `trichord submit` goes on from there."""
    from trichord.infra.engines.ray_jobs import Jobs

    log.configure(as_json=as_json)
    print_result(plain(Jobs(address).stop(job)), as_json, _show_job)


def _verb(context: typer.Context, words: list[str]) -> tuple[list[str], list[str]]:
    """Return the verb and its arguments, which it must take.

    Raises:
        ConfigError: there is no such verb, it does not work on a project, or it refuses an argument.
    """
    command: Any = context.find_root().command
    verb: list[str] = []
    while words and words[0] in getattr(command, "commands", ()):
        verb, words, command = [*verb, words[0]], words[1:], command.commands[words[0]]
    options = {option for parameter in command.params for option in parameter.opts}
    if not verb or verb[0] in _HERE or "--project" not in options:
        raise ConfigError(
            f"`{' '.join(verb or words[:1])}` is not a verb that runs on a cluster.\nNext: trichord submit reindex"
        )
    if doubled := sorted(_SET_HERE & {word.partition("=")[0] for word in words}):
        raise ConfigError(f"{doubled[0]} is given before the verb: trichord submit {doubled[0]} … {' '.join(verb)}")
    command.make_context("trichord " + " ".join(verb), list(words))  # a usage error is reported as of the verb itself
    if "--engine" in options and not any(word.partition("=")[0] == "--engine" for word in words):
        words = [*words, "--engine", "ray"]
    return verb, words


def _resources(num_cpus: float | None, num_gpus: float | None, memory: int | None, custom: str | None) -> Resources:
    from trichord.infra.engines.ray_jobs import Resources

    try:
        amounts = json.loads(custom) if custom else {}
        if not all(isinstance(amount, int | float) for amount in amounts.values()):
            raise ValueError("an amount is not a number")
    except (ValueError, AttributeError) as error:
        raise ConfigError(f'--entrypoint-resources {custom}: expected JSON such as {{"disk": 1}}: {error}') from error
    return Resources(num_cpus=num_cpus, num_gpus=num_gpus, memory=memory, custom=amounts)


def _write(text: str) -> None:
    """Write a piece of a job's log: on stderr, as stdout is for the result."""
    where = stderr.stream()
    with suppress(OSError):  # nobody reads it: the job goes on
        where.write(printable(text, keep="\n\t"))
        where.flush()


def _show(result: dict[str, Any]) -> None:
    said = {
        "started": f"Job {result['id']}: {result['status']}.",
        "attached": f"Job {result['id']} was already running: {result['status']}.",
        "done_before": f"Job {result['id']} has already succeeded; nothing was started. To run it again, add --again.",
        "staged": "Nothing was submitted.",
    }
    console.print(escape(said[result["did"]]), soft_wrap=True)
    console.print(f"The same command with Ray alone: {escape(result['command'])}", soft_wrap=True)


def _list(result: dict[str, Any]) -> None:
    if not result["jobs"]:
        console.print("No job was submitted to this cluster by trichord.")
        return
    rows = [
        [job["id"], job["status"], "" if job["exit_code"] is None else str(job["exit_code"]), _time(job["started_s"])]
        for job in result["jobs"]
    ]
    table("Jobs", {"id": "left", "status": "left", "exit": "right", "started": "left"}, rows)


def _show_log(result: dict[str, Any]) -> None:
    sys.stdout.write(result["log"])


def _show_job(result: dict[str, Any]) -> None:
    code = "" if result["exit_code"] is None else f", exit {result['exit_code']}"
    console.print(f"{escape(result['id'])}: {result['status']}{code}. {escape(result['message'])}", soft_wrap=True)


def _time(seconds: float | None) -> str:
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
