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
    text: Annotated[str | None, typer.Option(help="Text to search for.")] = None,
    image: Annotated[Path | None, typer.Option(help="Picture to search with.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Sound to search with.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1_000, help="Number of hits.")] = 10,
    ranking: Annotated[
        str | None, typer.Option(help="plain, calibrated, rank_fusion or quota. (default: query.ranking)")
    ] = None,
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    model: Annotated[
        Path | None, typer.Option(help="Folder of the model that encodes the query; must match the index.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="faiss, milvus or annoy. (default: the first of index.backends)")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Search only records of this source.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE", help="Search only records with this metadata (fields of index.metadata); repeatable."
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
    names = [known.name for known in workspace.project.sources]
    if source is not None and source not in names and not hits["hits"]:
        raise ConfigError(f"There is no source {source!r}. Known: {', '.join(names)}.")
    print_result(hits, as_json, render.hits)


def conditions(given: Sequence[str]) -> dict[str, str | int | float | bool]:
    """Parse conditions `field=value`: a value that is a JSON number, true or false is taken as such, else as text.

    Raises:
        ConfigError: a condition has no `=`, or names a field twice.
    """
    found: dict[str, str | int | float | bool] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not (name and equals):
            raise ConfigError(f"--where {one!r} does not have the form FIELD=VALUE.")
        if name in found:
            raise ConfigError(f"--where names {name} twice. All conditions must hold, so give each field one value.")
        try:
            parsed = json.loads(value, parse_constant=str)
        except (ValueError, RecursionError):
            parsed = value
        found[name] = parsed if _can_be_stored(parsed) else value
    return found


def _can_be_stored(value: object) -> bool:
    """Return True for a string, a finite number, true or false that a column of an index can hold."""
    if isinstance(value, str):
        return not any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, int):
        return abs(value) < 1 << 63
    return isinstance(value, float) and math.isfinite(value)
