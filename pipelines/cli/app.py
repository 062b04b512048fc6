"""The command `trichord`: every verb parses its options, calls one job, and prints. Verbs import what is heavy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from trichord.infra import log
from trichord.infra.errors import ConfigError
from trichord.pipelines.cli import render, render_evaluation, render_index, render_plan
from trichord.pipelines.cli.backfill import backfill
from trichord.pipelines.cli.compare import compare
from trichord.pipelines.cli.deploy import deploy_app
from trichord.pipelines.cli.diff import diff
from trichord.pipelines.cli.duplicates import duplicates_app
from trichord.pipelines.cli.finetune import adapt
from trichord.pipelines.cli.init import init
from trichord.pipelines.cli.metrics import metrics
from trichord.pipelines.cli.nightly import maintain, nightly
from trichord.pipelines.cli.options import (
    DEFAULT_PROJECT,
    Accepted,
    EngineName,
    Json,
    Overrides,
    ProjectFile,
)
from trichord.pipelines.cli.options import open_project as _open
from trichord.pipelines.cli.options import print_result as _print
from trichord.pipelines.cli.output_files import plan_file
from trichord.pipelines.cli.rag import rag_app
from trichord.pipelines.cli.recover import recover
from trichord.pipelines.cli.reindex import prepare, reindex
from trichord.pipelines.cli.runs import runs_app
from trichord.pipelines.cli.search import search
from trichord.pipelines.cli.submit import PASS_ON, jobs_app, submit
from trichord.pipelines.cli.watch import watch
from trichord.pipelines.demo.languages import ENGLISH, LANGUAGES

_LANGUAGES = ", ".join(f"{language.code} ({language.name})" for language in LANGUAGES.values())
app = typer.Typer(
    name="trichord",
    help="One vector space for text, images and audio, and an index that follows your data lake.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 success, 2 configuration, 3 gate failed, 4 commit conflict, 5 partial run, 6 storage, "
    "7 source, 8 service.",
)
rejects_app = typer.Typer(help="List, export and replay the rows that were rejected.", no_args_is_help=True)
app.add_typer(rejects_app, name="rejects")
app.add_typer(duplicates_app, name="duplicates")
app.add_typer(runs_app, name="runs")
app.add_typer(deploy_app, name="deploy")
app.add_typer(jobs_app, name="jobs")
app.add_typer(rag_app)
app.command()(compare)
app.command()(adapt)

Reason = Annotated[str | None, typer.Option(help="Select rejects with this reason code.")]
OpName = Annotated[str | None, typer.Option("--op", help="Select rejects of this op.")]
SourceName = Annotated[str | None, typer.Option("--source", help="Select rejects of this source.")]


app.command()(init)


@app.command()
def schema(as_json: Json = False) -> None:
    """Print the JSON Schema of the project file, for editor completion."""
    from trichord.infra.project import json_schema

    _print(json_schema(), as_json, render.schema)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder for the corpus, the lake and the HTML page.")] = Path(
        "demo-out"
    ),
    records: Annotated[int, typer.Option(min=200, help="Number of records to make.")] = 2_000,
    seed: Annotated[int, typer.Option(help="Random seed of the corpus.")] = 0,
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the HTML page in a browser when done.")
    ] = True,
    backend: Annotated[list[str] | None, typer.Option(help="milvus: also hold the index in Milvus Lite.")] = None,
    language: Annotated[str, typer.Option(help=f"Language of captions and queries: {_LANGUAGES}.")] = ENGLISH.code,
    as_json: Json = False,
) -> None:
    """Make a synthetic corpus with planted defects, and turn it into a published, searchable index."""
    if language not in LANGUAGES:
        raise ConfigError(f"--language: unknown language {language}. Known: {_LANGUAGES}.")
    from trichord.pipelines.demo.run import run_demo

    log.configure(as_json=as_json)
    result = run_demo(
        folder,
        records=records,
        seed=seed,
        open_page=open_page and sys.stdout.isatty(),
        also=backend or (),
        language=LANGUAGES[language],
    )
    _print(result, as_json, render.demo)


@app.command()
def plan(
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    rows: Annotated[
        float | None,
        typer.Option(min=1, max=1e15, help="Estimate a first run of this many rows (such as 1e9)."),
    ] = None,
    dimension: Annotated[
        int | None, typer.Option(min=1, help="With --rows: dimension of a vector. (default: the model's)")
    ] = None,
    cores: Annotated[
        int | None,
        typer.Option(min=1, help="With --rows: cores at work. (default: engine.workers)"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", callback=plan_file, help="Also write the plan here, for `trichord reindex --plan`."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a reindex would make, keep and remove. With --rows, estimate what this many rows would cost."""
    workspace = _open(project, set_, as_json, engine)
    if rows is not None:
        from trichord.pipelines.core.runs import last_runs
        from trichord.pipelines.stages.on_paper import run_on_paper

        past = last_runs(workspace.lake)
        found = run_on_paper(workspace.project, past, int(rows), dimension=dimension, cores=cores)
        _print(found, as_json, render_index.paper)
        return
    planned = workspace.plan()
    if out is not None:
        from trichord.pipelines.core.planned import write_plan

        write_plan(out, planned.to_dict())
    _print(planned, as_json, render_plan.plan)


app.command()(prepare)
app.command()(backfill)
app.command()(reindex)
app.command()(watch)
app.command()(nightly)
app.command()(maintain)
app.command(context_settings=PASS_ON)(submit)


app.command()(search)


@app.command()
def evaluate(
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    all_records: Annotated[
        bool, typer.Option("--all", help="Measure all test records, not just evaluate.max_records of them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure the live publication on test records: recall by query and gallery, and in the mixed gallery."""
    _print(
        _open(project, set_, as_json, engine).evaluate(all_records=all_records), as_json, render_evaluation.evaluation
    )


@app.command()
def publish(
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    accept: Accepted = None,
    as_json: Json = False,
) -> None:
    """Publish the candidate of the last `reindex`, if it passed the gate or every check that failed is accepted."""
    published = _open(project, set_, as_json, engine).publish(accept=accept or ())
    _print(published.to_dict(), as_json, render.publication)


@app.command()
def rollback(
    to: Annotated[
        str | None, typer.Argument(metavar="PUBLICATION", help="Its id. (default: the one before the live one)")
    ] = None,
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    as_json: Json = False,
) -> None:
    """Make an earlier publication live again, in one commit."""
    _print(_open(project, set_, as_json, engine).rollback(to).to_dict(), as_json, render.publication)


app.command()(diff)


@app.command()
def status(
    project: ProjectFile = DEFAULT_PROJECT, set_: Overrides = None, engine: EngineName = None, as_json: Json = False
) -> None:
    """Show what is live, what the lake holds, and the gate's last verdict."""
    _print(_open(project, set_, as_json, engine).status(), as_json, render.status)


@app.command()
def explain(
    key: Annotated[str, typer.Argument(help="The record's key, or SOURCE/KEY.")],
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    as_json: Json = False,
) -> None:
    """Show a record's journey from source bytes to index row, or to the op that rejected it."""
    _print(_open(project, set_, as_json, engine).explain(key), as_json, render.explanation)


@rejects_app.command("ls")
def rejects_ls(
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    reason: Reason = None,
    op: OpName = None,
    source: SourceName = None,
    limit: Annotated[int, typer.Option(min=1, help="Largest number of rows to list.")] = 50,
    as_json: Json = False,
) -> None:
    """List rejected rows: counts by op and reason, then the rows."""
    from trichord.pipelines.rejects.query import list_rejects

    workspace = _open(project, set_, as_json, engine)
    _print(list_rejects(workspace, reason=reason, op=op, source=source, limit=limit), as_json, render.rejects)


@rejects_app.command("show")
def rejects_show(
    key: Annotated[str, typer.Argument(help="The rejected record's key.")],
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    as_json: Json = False,
) -> None:
    """Show everything about one rejected row."""
    from trichord.pipelines.rejects.query import show_reject

    _print(show_reject(_open(project, set_, as_json, engine), key), as_json, render.reject)


@rejects_app.command("export")
def rejects_export(
    out: Annotated[Path, typer.Option("--out", help="File to write: .jsonl or .parquet.")],
    media: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also write the rows' original media here.")
    ] = None,
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    reason: Reason = None,
    op: OpName = None,
    source: SourceName = None,
    as_json: Json = False,
) -> None:
    """Write rejects to a file that you can fix and use as a manifest source."""
    from trichord.pipelines.rejects.export import export_rejects
    from trichord.pipelines.rejects.query import Choice

    workspace, choice = _open(project, set_, as_json, engine), Choice(reason=reason, op=op, source=source)
    _print(export_rejects(workspace, choice, out=out, media=media), as_json, render.exported)


@rejects_app.command("replay")
def rejects_replay(
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    reason: Reason = None,
    op: OpName = None,
    source: SourceName = None,
    as_json: Json = False,
) -> None:
    """After a fix, run the affected rows again; the result is that of a whole prepare."""
    from trichord.pipelines.rejects.query import Choice
    from trichord.pipelines.rejects.replay import replay

    workspace, choice = _open(project, set_, as_json, engine), Choice(reason=reason, op=op, source=source)
    with log.progress("replay"):
        summary = replay(workspace, choice)
    _print(summary, as_json, render.replayed)


@app.command()
def verify(
    project: ProjectFile = DEFAULT_PROJECT, set_: Overrides = None, engine: EngineName = None, as_json: Json = False
) -> None:
    """Hash every file of the lake again, and check the counts of the kept publications."""
    _print(_open(project, set_, as_json, engine).verify(), as_json, render.verified)


app.command()(recover)
app.command()(metrics)


@app.command()
def gc(
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the files; without it, only list them.")] = False,
    as_json: Json = False,
) -> None:
    """List (and with --delete remove) files that no kept publication needs."""
    _print(_open(project, set_, as_json, engine).gc(delete=delete), as_json, render.collected)


@app.command()
def doctor(
    project: Annotated[
        Path | None, typer.Option("--project", "-p", help="Also check this project's sources, lake and index.")
    ] = None,
    set_: Overrides = None,
    engine: EngineName = None,
    as_json: Json = False,
) -> None:
    """Check the installation, and a project's sources, lake and live index."""
    from trichord.pipelines.publish.doctor import doctor as job

    log.configure(as_json=as_json)
    result = job(_open(project, set_, as_json, engine) if project is not None else None)
    _print(result, as_json, render.doctor)
    if not result.ok:
        raise typer.Exit(result.exit_code)
