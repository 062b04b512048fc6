"""The verb `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trichord.infra import log
from trichord.infra.choices import FUSIONS, LOSSES
from trichord.infra.errors import ConfigError
from trichord.pipelines.cli import render_compare
from trichord.pipelines.cli.options import (
    DEFAULT_PROJECT,
    EngineName,
    Json,
    Overrides,
    ProjectFile,
    open_project,
    print_result,
)
from trichord.pipelines.cli.output_files import comparison_file


def compare(
    fusion: Annotated[
        list[str] | None, typer.Option(help=f"Fusion to train; repeatable. (default: all of {', '.join(FUSIONS)})")
    ] = None,
    loss: Annotated[
        list[str] | None, typer.Option(help=f"Loss to train with; repeatable. (default: all of {', '.join(LOSSES)})")
    ] = None,
    share: Annotated[
        list[float] | None,
        typer.Option(min=0.01, max=1, help="Share of the training groups to use; repeatable. (default: 1)"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Number of training runs for each setting.")] = 3,
    report: Annotated[
        Path | None, typer.Option(callback=comparison_file, help="Also write every row as a Markdown table here.")
    ] = None,
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    as_json: Json = False,
) -> None:
    """Train every fusion with every loss on several seeds; compare them on validation records. Publish nothing."""
    from trichord.pipelines.model.compare import Grid
    from trichord.pipelines.model.compare import compare as job

    grid = Grid(
        fusions=_chosen("--fusion", fusion, FUSIONS),
        losses=_chosen("--loss", loss, LOSSES),
        shares=tuple(dict.fromkeys(share or [1.0])),
        seeds=seeds,
    )
    workspace = open_project(project, set_, as_json, engine)
    with log.progress("compare"):
        result = job(workspace, grid)
    if report is not None:
        report.write_text(render_compare.markdown(result.to_dict()), encoding="utf-8")
    print_result(result, as_json, render_compare.comparison)


def _chosen(option: str, given: list[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := [name for name in given or [] if name not in known]:
        raise ConfigError(f"{option}: unknown name {unknown[0]}. Known: {', '.join(known)}.")
    return tuple(dict.fromkeys(given or known))
