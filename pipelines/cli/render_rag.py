"""Print answers, feedback and their evaluation in the terminal."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table

from trichord.infra.printable import printable
from trichord.pipelines.cli.render import console

_SHOWN_CHARS = 70


def answer(result: dict[str, Any]) -> None:
    """Print the answer, its sources, and how to rate it."""
    console.print(escape(result["answer"]))
    table = Table(title=f"Sources in {result['publication']}", title_justify="left", header_style="dim")
    for name in ("#", "cited", "score", "reranked", "key", "text"):
        table.add_column(name, overflow="fold")
    for source in result["sources"]:
        cited = "yes" if source["number"] in result["cited"] else ""
        words = " / ".join(source["text"].splitlines())
        cells = [str(source["number"]), cited, _figure(source["score"]), _figure(source["rerank_score"]), source["key"]]
        table.add_row(*(escape(printable(cell)) for cell in (*cells, words[:_SHOWN_CHARS])))
    console.print(table)
    if result["cited_unknown"]:
        named = ", ".join(f"[{number}]" for number in result["cited_unknown"])
        console.print(f"[yellow]The answer cites {escape(named)}, which is not among the sources.[/]")
    if result["finish_reason"] == "length":
        console.print("[yellow]The answer reached its length limit (rag.max_answer_tokens) and was cut.[/]")
    if result["order_kept"]:
        console.print(f"[yellow]Not reranked:[/] {escape(result['order_kept'])}")
    console.print(f"Rate it: trichord feedback {result['id']} --rating 1")


def feedback(row: dict[str, Any]) -> None:
    """Print the rating that was saved."""
    console.print(
        f"Saved rating {row['rating']:+d} for answer {row['answer']} from publication {escape(row['publication'])}."
    )


def evaluation(result: dict[str, Any]) -> None:
    """Print the figures of rag-eval."""
    table = Table(
        title=f"{result['questions']} questions, {result['publication']}", title_justify="left", header_style="dim"
    )
    for name in ("figure", "value"):
        table.add_column(name, overflow="fold")
    for stage in ("retrieval", "reranked"):
        for name, value in (result[stage] or {}).items():
            if name != "questions":
                table.add_row(f"{stage} {name.replace('_at_k', '')}@{result['k']}", _figure(value))
    for name, value in (result["generation"] or {}).items():
        table.add_row(name, escape(_figure(value)))
    for name, value in result["citations"].items():
        table.add_row(f"answers {name.replace('_', ' ')}", _figure(value))
    for name, value in result["satisfaction"]["overall"].items():
        table.add_row(f"feedback {name}", _figure(value))
    console.print(table)
    for row in result["rows"]:
        if row["failed"]:
            console.print(f"[red]{escape(row['id'])}[/] {escape(row['failed'])}")


def _figure(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
