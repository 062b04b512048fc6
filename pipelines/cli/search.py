"""The verb `search`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from trichord.infra.errors import ConfigError
from trichord.pipelines.cli import render
from trichord.pipelines.cli.options import (
    DEFAULT_PROJECT,
    EngineName,
    Json,
    Overrides,
    ProjectFile,
    open_project,
    print_result,
)


def search(
    text: Annotated[str | None, typer.Option(help="Words to search by.")] = None,
    image: Annotated[Path | None, typer.Option(help="Picture file to search by.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Sound file to search by.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1_000, help="Number of hits.")] = 10,
    ranking: Annotated[
        str | None, typer.Option(help="plain, calibrated, rank_fusion or quota; query.ranking by default.")
    ] = None,
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    model: Annotated[
        Path | None, typer.Option(help="Encode the query with this model; refused if of another space.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="faiss, milvus or annoy: which of index.backends answers; the first by default.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only records of this source.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE", help="Only records of this metadata (index.metadata names fields); repeatable."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Search the published index by text, picture, sound, or any combination."""
    from trichord.pipelines.search.search import search as job

    changes = [*(set_ or []), *([f"query.ranking={ranking}"] if ranking else [])]
    workspace = open_project(project, changes, as_json, engine)
    chosen = conditions(where or [])
    hits = job(
        workspace, text=text, image=image, audio=audio, k=k, model=model, backend=backend, source=source, where=chosen
    )
    print_result(hits, as_json, render.hits)


def conditions(given: Sequence[str]) -> dict[str, str | int | float | bool]:
    """Conditions `field=value`: a number, true or false where the value is one in JSON, else words.

    Raises:
        ConfigError: one has no `=`, or a field is named twice.
    """
    found: dict[str, str | int | float | bool] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not (name and equals):
            raise ConfigError(f"--where {one!r} is not of the form field=value.")
        if name in found:
            raise ConfigError(f"--where names {name} twice; every condition must hold, so one value is asked for.")
        try:
            parsed = json.loads(value, parse_constant=str)
        except ValueError:
            parsed = value
        scalar = isinstance(parsed, str | int | float) and parsed not in (math.inf, -math.inf)
        found[name] = parsed if scalar else value
    return found
