"""Print an evaluation in the terminal."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from trichord.pipelines.cli.render import cell, console, table


def evaluation(result: dict[str, Any]) -> None:
    """Print the recall matrix and the mixed-gallery figures."""
    galleries = list(dict.fromkeys(gallery for cells in result["recall_at_10"].values() for gallery in cells))
    rows = [[query, *(cells.get(g) for g in galleries)] for query, cells in result["recall_at_10"].items()]
    title = f"Recall@{result['k']}, query → gallery ({result['records']:,} test records)"
    table(title, {"query": "left"} | dict.fromkeys(galleries, "right"), rows)
    k, mixed = result["k"], result["mixed"]
    measures = (
        (f"recall_at_{k}", f"recall@{k}"),
        (f"ndcg_at_{k}", "NDCG"),
        (f"mrr_at_{k}", "MRR"),
        (f"map_at_{k}", "mAP"),
    )
    spread = mixed.get("spread", {})
    figures = [f"{label} {cell(mixed.get(name))}{_ends(mixed, name)}{_within(spread.get(name))}"
               for name, label in measures]  # fmt: skip
    kept = spread.get("retention", {})
    forms = "  ".join(f"{form} {cell(value)}{_within(kept.get(form))}" for form, value in mixed["retention"].items())
    draws = f" (mean ± spread of {mixed['draws']} draws of forms)" if spread else ""
    console.print(escape(f"Mixed gallery{draws}: {', '.join(figures)}; retention: {forms}"))
    if withheld := result.get("withheld"):
        console.print(f"{withheld:,} test records were withheld: the model has seen their group, picture or sound.")
    if "consistency" in result:
        _consistency(result["consistency"], k)


def _ends(measured: dict[str, Any], name: str) -> str:
    ends = measured.get("intervals", {}).get(name)
    return f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""


def _within(spread: float | None) -> str:
    return "" if spread is None else f" ± {spread:.3f}"


def _consistency(figures: dict[str, Any], k: int) -> None:
    columns = dict.fromkeys(("true pairs", "shuffled", "AUC", "gap", "alignment"), "right")
    rows = [
        [
            pair,
            found["true"]["p50"],
            found["shuffled"]["p50"],
            found["auc"],
            figures["gap"][pair],
            figures["alignment"][pair],
        ]
        for pair, found in figures["similarity"].items()
    ]
    table("Agreement of modalities: median cosine of true and shuffled pairs, and the AUC between them",
          {"pair": "left"} | columns, rows)  # fmt: skip
    hubs = "  ".join(
        f"{direction.replace('_to_', '→')} {found['skewness']:.2f}"
        for direction, found in figures["hubness"].items()
        if found["skewness"] is not None
    )
    console.print(f"Hubness (skewness of how often an item is in a top {k}): {hubs or '–'}")
