"""Print a comparison in the terminal, and write it as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trichord.pipelines.cli.render import console, table

COLUMNS = ("recall_at_10", "ndcg_at_10", "retention")


def comparison(result: Mapping[str, Any]) -> None:
    """Print the settings, best mixed gallery first."""
    rows = _ranked(result["rows"])
    title = f"{result['validation']} validation records, {result['seeds']} seeds: mean ± standard deviation"
    table(title, {name: "left" if place < 2 else "right" for place, name in enumerate(_head())}, rows)
    console.print("To see every view, add --json or --report FILE.")


def markdown(result: Mapping[str, Any]) -> str:
    """Return every row as a Markdown table."""
    head = ["fusion", "loss", "share", "view", *COLUMNS]
    rows = [
        [row["fusion"], row["loss"], f"{row['share']:g}", row["view"], *(_figure(row[name]) for name in COLUMNS)]
        for row in result["rows"]
        if any(row[name] for name in COLUMNS)
    ]
    parts = [
        f"# Comparison: {result['validation']} validation records, {result['seeds']} seeds",
        "Mean ± standard deviation over seeds. `mixed`: each record appears once, in a random form; `all_views`: "
        "every item appears by itself; other views: a gallery of that view alone, queried by the other modalities "
        "(`retention`: the fraction of that recall kept in the mixed gallery).",
        _markdown_table(head, rows),
    ]
    return "\n\n".join(parts) + "\n"


def _head() -> list[str]:
    return ["fusion", "loss", "share", "mixed NDCG@10", "mixed recall@10", "retention", "all views recall@10"]


def _ranked(rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    by_setting: dict[tuple[str, str, float], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        by_setting.setdefault((row["fusion"], row["loss"], row["share"]), {})[row["view"]] = row
    ordered = sorted(by_setting.items(), key=lambda entry: -_mean(entry[1]["mixed"]["ndcg_at_10"]))
    ranked: list[list[Any]] = []
    for (fusion, loss, share), views in ordered:
        mixed = [_figure(views["mixed"][name]) for name in ("ndcg_at_10", "recall_at_10", "retention")]
        ranked.append([fusion, loss, f"{share:g}", *mixed, _figure(views["all_views"]["recall_at_10"])])
    return ranked


def _mean(found: Mapping[str, Any] | None) -> float:
    return found["mean"] if found else -1.0


def _figure(found: Mapping[str, Any] | None) -> str:
    return "–" if found is None else f"{found['mean']:.3f} ± {found['spread']:.3f}"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)
