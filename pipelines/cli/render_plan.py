"""Print plans in the terminal."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from trichord.pipelines.cli.render import console, table


def plan(result: dict[str, Any]) -> None:
    """Print what a reindex would do, stage by stage."""
    table(
        "Sources",
        {"source": "left", "rows": "right", "partitions": "right", "to prepare": "right", "kept": "right"},
        [[s["source"], s["rows"], s["partitions"], s["to_make"], s["kept"]] for s in result["sources"]],
    )
    for source in result["sources"]:
        for one in source["fields"]:
            if one["filled"] < one["rows"]:
                most = "" if one["exact"] else "at most "
                console.print(
                    f"{source['source']}: {one['field']} is filled in {most}{one['filled']:,} of {one['rows']:,} rows",
                    markup=False,
                )
    for warning in result["warnings"]:
        console.print(f"[yellow]{escape(warning)}[/]")
    if result["unchanged"]:
        console.print(f"[green]Nothing to do.[/] {result['live']} is up to date with the sources.")
        return
    for name, rows in result["rows"].items():
        if name != "unknown_partitions" and rows["count"]:
            more = ", …" if rows["count"] > len(rows["first"]) else ""
            console.print(f"{name} {rows['count']:,} rows: {escape(', '.join(rows['first']))}{more}")
    if result["rows"]["unknown_partitions"]:
        unknown = result["rows"]["unknown_partitions"]
        console.print(f"{unknown:,} changed partitions: their changed rows are known only when they are read.")
    table(
        "What a reindex would do",
        {"stage": "left", "to make": "right", "": "left", "kept": "right", "removed": "right", "rows": "right",
         "seconds": "right"},
        [
            [s["stage"], _to_make(s), s["unit"], s["kept"], s["removed"], s["rows"], s["seconds"]]
            for s in result["stages"]
        ],
    )  # fmt: skip
    for stage in result["stages"]:
        for line in (stage["why"], *stage["details"]):
            if line:
                console.print(f"  [bold]{stage['stage']}[/]: {escape(line)}", soft_wrap=True)
    if any(stage["about"] for stage in result["stages"]):
        console.print("~ about: how many rows a changed partition keeps is known only afterwards.")
    if any(stage["at_least"] and stage["to_make"] for stage in result["stages"]):
        console.print("+ more may be made: it depends on what an earlier stage finds.")
    if result["seconds"] is not None:
        console.print(f"About {result['seconds']:,.0f} s, estimated from this lake's earlier runs.")
    console.print(_cost(result["cost"]), soft_wrap=True)


def _cost(cost: dict[str, Any]) -> str:
    """Say what a run would cost, as far as it is known."""
    parts = [f"{cost['bytes'] / 1e6:,.1f} MB written"] if cost["bytes"] else []
    parts += [
        f"{amount:,.3f} {name.replace('_', ' ')}" for name in ("core_hours", "gpu_hours") if (amount := cost[name])
    ]
    if cost["requests"]:
        parts.append(f"{sum(cost['requests'].values()):,} requests")
    if cost["money"] is not None:
        parts.append(f"{cost['money']:,.2f} {escape(cost['currency'])}")
    return f"About {', '.join(parts)}." if parts else ""


def _to_make(stage: dict[str, Any]) -> str:
    more = "+" if stage["at_least"] and stage["to_make"] else ""
    return f"{'~' if stage['about'] else ''}{stage['to_make']:,}{more}"
