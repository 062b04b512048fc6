"""duplicates ls and show."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from trichord.pipelines.cli.options import (
    DEFAULT_PROJECT,
    EngineName,
    Json,
    Overrides,
    ProjectFile,
    open_project,
    print_result,
)
from trichord.pipelines.cli.render import console, table

duplicates_app = typer.Typer(
    help="List the records that were dropped for another, and those that are only alike.", no_args_is_help=True
)


@duplicates_app.command("ls")
def duplicates_ls(
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    kind: Annotated[
        str | None, typer.Option(help="Select near, exact_content, same_key (dropped), uncertain or match (kept).")
    ] = None,
    source: Annotated[str | None, typer.Option("--source", help="Select pairs with a record of this source.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Largest number of pairs to list.")] = 50,
    as_json: Json = False,
) -> None:
    """List pairs: the dropped with their survivors, then the alike that were both kept, and why."""
    from trichord.pipelines.rejects.duplicates import list_duplicates

    workspace = open_project(project, set_, as_json, engine)
    print_result(list_duplicates(workspace, kind=kind, source=source, limit=limit), as_json, _print_list)


@duplicates_app.command("show")
def duplicates_show(
    key: Annotated[str, typer.Argument(help="The key of either record.")],
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    engine: EngineName = None,
    as_json: Json = False,
) -> None:
    """Show every pair that a record is part of, with both texts."""
    from trichord.pipelines.rejects.duplicates import show_duplicates

    print_result(show_duplicates(open_project(project, set_, as_json, engine), key), as_json, _print_pairs)


def _print_list(result: dict[str, Any]) -> None:
    if not result["total"]:
        console.print("No record is a duplicate of another, and no two are alike.")
        return
    table(
        f"{result['total']:,} pairs, {result['dropped']:,} records dropped",
        {"outcome": "left", "kind": "left", "pairs": "right"},
        [[row["outcome"], row["kind"], row["pairs"]] for row in result["by_kind"]],
    )
    table(
        "Pairs",
        {"outcome": "left", "key": "left", "source": "left", "other key": "left", "other source": "left",
         "evidence": "left", "why kept": "left"},
        [[row["outcome"], row["key"], row["source"], row["other_key"], row["other_source"], row["evidence"], row["why"]]
         for row in result["rows"]],
    )  # fmt: skip


def _print_pairs(result: dict[str, Any]) -> None:
    for sides in result["pairs"]:
        pair = sides["pair"]
        verb = "was dropped for" if pair["outcome"] == "dropped" else "was kept beside"
        console.print(
            f"[bold]{escape(pair['key'])}[/] ({escape(pair['source'])}) {verb} [bold]{escape(pair['other_key'])}[/] "
            f"({escape(pair['other_source'])})",
            soft_wrap=True,
        )
        for name, value in (
            ("evidence", pair["evidence"]), ("why both were kept", pair["why"]), ("text", sides["text"]),
            ("other text", sides["other_text"]), ("differs in", " ".join(sides["words"])),
            ("from", " ".join(sides["other_words"])),
        ):  # fmt: skip
            if value:
                console.print(f"  {name}: {escape(str(value)[:500])}", soft_wrap=True)
