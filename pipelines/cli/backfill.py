"""`trichord backfill`: fills the lake for another model or recipe beside the live index, then switches."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from trichord.infra import log
from trichord.infra.errors import ConfigError
from trichord.pipelines.cli import render
from trichord.pipelines.cli.options import (
    DEFAULT_PROJECT,
    Accepted,
    EngineName,
    Json,
    Overrides,
    ProjectFile,
    open_project,
    print_result,
)
from trichord.pipelines.cli.render import console

MODEL = ("model", "train", "augment", "agreement")
RECIPE = ("prepare",)


def backfill(
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"YAML with other settings of the sections {', '.join(MODEL)}."),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML with other settings of the section prepare.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Prepare only this source's rows now.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Prepare only data files written at or after this time (ISO 8601)."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Prepare only data files written before this time (ISO 8601).")
    ] = None,
    max_concurrent: Annotated[
        int | None, typer.Option(min=1, help="Tasks at a time. (default: engine.workers)")
    ] = None,
    switch: Annotated[
        bool, typer.Option("--switch/--no-switch", help="Gate and publish when everything is made.")
    ] = True,
    accept: Accepted = None,
    as_json: Json = False,
) -> None:
    """Make what another model or recipe needs beside the live index, then measure it and switch to it.

    Queries and nights go on meanwhile. Run it again after any end: it goes on from what exists.
    """
    from trichord.pipelines.backfill import Window

    given = list(_settings(model, MODEL, "--model")) + list(_settings(recipe, RECIPE, "--recipe"))
    wanted = [*(set_ or []), *given, *([f"engine.workers={max_concurrent}"] if max_concurrent else [])]
    workspace = open_project(project, wanted, as_json, engine)
    window = Window(source=source, since=_time(since, "--since"), until=_time(until, "--until"))
    with log.progress("backfill"):
        summary = workspace.backfill(window=window, accept=accept or (), switch=switch)
    print_result(summary, as_json, lambda result: _show(result, project, model or recipe))


def _settings(path: Path | None, sections: tuple[str, ...], option: str) -> Iterator[str]:
    """Yield the settings of a file as overrides.

    Raises:
        ConfigError: it cannot be read, is not YAML, or holds other sections.
    """
    if path is None:
        return
    from trichord.infra.layers import read_tree

    if not path.exists():
        raise ConfigError(f"{option} {path} cannot be used: there is no such file.")
    tree = read_tree(os.fspath(path), os.environ)
    if tree.problems or not isinstance(tree.value, dict):
        why = "; ".join(problem.text for problem in tree.problems) or "it holds no settings"
        raise ConfigError(f"{option} {path} cannot be used: {why}")
    if other := sorted(map(str, tree.value.keys() - set(sections))):
        raise ConfigError(f"{option} {path} sets {', '.join(other)}; it may set {', '.join(sections)}.")
    yield from (f"{'.'.join(keys)}={json.dumps(value)}" for keys, value in _leaves(tree.value, ()))


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    else:
        yield path, value


def _time(text: str | None, option: str) -> float | None:
    """Return a time in seconds since 1970; without a zone it is UTC."""
    if text is None:
        return None
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text}: expected a time such as 2026-11-30 or 2026-11-30T22:00:00Z.") from error
    return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()


def _show(result: dict[str, Any], project: Path, other: Path | None) -> None:
    console.print(
        f"{result['prepared']:,} of {result['partitions']:,} partitions are prepared; {result['made']:,} shards made. "
        f"({result['seconds']:.1f} s)"
    )
    if result["switch"] is None:
        console.print("The live index is as it was. Run the command again; it goes on from what exists.")
        return
    render.reindex(result["switch"])
    if other is not None:
        console.print(
            f"Put the settings of {escape(str(other))} into {escape(str(project))} now: the next reindex follows it."
        )
