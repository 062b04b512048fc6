"""`trichord prepare` and `trichord reindex`: what makes the lake follow its sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trichord.infra import log
from trichord.infra.errors import ConfigError, GateFailed
from trichord.pipelines.cli import render
from trichord.pipelines.cli.options import (
    DEFAULT_PROJECT,
    Accepted,
    EngineName,
    Json,
    Overrides,
    ProjectFile,
    read_lines,
)
from trichord.pipelines.cli.options import open_project as _open
from trichord.pipelines.cli.options import print_result as _print
from trichord.pipelines.cli.output_files import CARD, preparation_file
from trichord.pipelines.cli.turn import Skip, Wait, taking_turn

if TYPE_CHECKING:
    from trichord.pipelines.api import Workspace
    from trichord.pipelines.core.planned import Basis


def prepare(
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    report: Annotated[
        Path | None,
        typer.Option(
            callback=preparation_file, help="Also write this run's HTML page here, and dataset_card.md beside it."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Collect, clean, align and deduplicate the sources' rows, without training, indexing or publishing."""
    workspace = _open(project, set_, as_json, engine)
    try:
        with log.progress("prepare"):
            summary = workspace.prepare()
    except GateFailed:
        _write_preparation(workspace, report, project.stem)  # a failed run needs its page most
        raise
    _write_preparation(workspace, report, project.stem)
    _print(summary, as_json, render.prepare)


def reindex(
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    publishing: Annotated[bool, typer.Option("--publish/--no-publish", help="Publish if the gate passes.")] = True,
    accept: Accepted = None,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train even if the live model could be kept: its space may change.")
    ] = False,
    source: Annotated[
        str | None, typer.Option(help="Look only at this source; the last plan of the others is reused.")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(help="With --source: look only at rows whose key, or file, begins with this.")
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --source: look only at rows whose key is a line of this file."),
    ] = None,
    wait: Wait = False,
    skip: Skip = False,
    plan: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A plan of `trichord plan --out`: refuse if anything has changed since."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(callback=preparation_file, help="Also write an HTML page about the published index here."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring lake and index up to date with the sources, measure, and publish."""
    workspace = _open(project, set_, as_json, engine)
    if plan is not None and source is not None:
        raise ConfigError("--plan and --source cannot be combined: a plan covers all sources.")
    listed = read_lines(keys) if keys is not None else None
    planned = _basis(plan) if plan is not None else None
    with taking_turn(wait=wait, skip=skip, as_json=as_json), log.progress("reindex"):
        summary = workspace.reindex(
            publish=publishing,
            accept=accept or (),
            retrain=retrain,
            source=source,
            prefix=prefix,
            keys=listed,
            wait=wait,
            planned=planned,
        )
    if report is not None and summary.publication:
        from trichord.pipelines.report.page import write_page

        write_page(workspace, report, title=f"Trichord: {project.stem}")
    else:
        _write_preparation(workspace, report, project.stem)
    _print(summary, as_json, render.reindex)


def _basis(plan: Path) -> Basis:
    from trichord.pipelines.core.planned import read_basis

    return read_basis(plan)


def _write_preparation(workspace: Workspace, report: Path | None, name: str) -> None:
    if report is not None:
        from trichord.pipelines.report.dataset_card import write_card
        from trichord.pipelines.report.facts import read_facts
        from trichord.pipelines.report.page import write_preparation_page

        facts = read_facts(workspace)
        write_preparation_page(facts, report, title=f"Trichord: {name}")
        write_card(facts, report.with_name(CARD))
