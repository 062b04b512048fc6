"""The verb `adapt`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from trichord.infra import log
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


def adapt(
    modality: Annotated[Literal["text", "image", "audio"], typer.Argument(help="Modality of the encoder.")],
    out: Annotated[Path, typer.Option("--out", help="New folder for the adapted model.")],
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    as_json: Json = False,
) -> None:
    """Fine-tune an encoder on the lake's records, with the settings in model.MODALITY.adapt, and save it."""
    from trichord.pipelines.model.finetune import adapt as job

    workspace = open_project(project, set_, as_json, engine)
    with log.progress("adapt"):
        result = job(workspace, modality, out)
    print_result(result, as_json, _show)


def _show(result: dict[str, object]) -> None:
    before, after = result["held_out_before"], result["held_out_after"]
    was = "" if before is None else f" (before: {before})"
    console.print(f"Validation loss {after}{was}. Loss by epoch: {result['loss']}")
    path = escape(str(result["path"]))
    console.print(
        f"Saved to {path}. To use it, set model.{result['modality']}.path to {path} and run `trichord reindex`."
    )
