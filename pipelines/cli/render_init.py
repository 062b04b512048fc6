"""Print the result of `init` in the terminal."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from trichord.pipelines.cli.render import console, table

_SHOWN_CHARS = 60


def started(result: dict[str, Any]) -> None:
    """Print the guessed source, its first records, and where the project file is."""
    path, source = escape(result["path"]), result["source"]
    if source is None:
        console.print(f"Wrote {path}. Describe your data in it, then run: trichord plan --project {path}")
        return
    console.print(f"{escape(source['path'])}: kind {source['kind']}, looked at {escape(result['looked_at'])}")
    for meaning, name in source.get("fields", {}).items():
        console.print(f"  {meaning}: {'no column' if name is None else escape(str(name))}")
    names = list(dict.fromkeys(name for record in result["records"] for name in record))
    rows = [[_cell(record.get(name)) for name in names] for record in result["records"]]
    table("The first records", dict.fromkeys(names, "left"), rows)
    for note in result["notes"]:
        console.print(f"[yellow]Note[/] {escape(note)}")
    console.print(f"Wrote {path}. Next, run: trichord plan --project {path}")


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, dict):
        size = "not fetched" if value["bytes"] is None else f"{value['bytes']:,} bytes"
        text = f"{value['path']} ({size})" if value["path"] else size
    else:
        text = " | ".join(value) if isinstance(value, list) else str(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
