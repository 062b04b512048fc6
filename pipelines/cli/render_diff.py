"""Print what changed between two publications."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from trichord.pipelines.cli.render import console, table

SHOWN = 12  # rows of a table; the page and --json have all
_FIRST = ("mixed.", "recall_at_")  # figures that say most


def diff(result: dict[str, Any]) -> None:
    """Print a comparison, part by part; parts without a difference are left out."""
    console.print(f"[bold]{escape(result['before'])}[/] → [bold]{escape(result['after'])}[/]")
    for name in ("added", "changed", "removed"):
        found = result[name]
        more = ", …" if found["count"] > len(found["first"]) else ""
        fates = {fate: count for fate, count in found["fates"].items() if count != found["count"]}
        split = f" ({', '.join(f'{count:,} {fate}' for fate, count in fates.items())})" if fates else ""
        console.print(f"{name} {found['count']:,}{split}: {escape(', '.join(found['first'])) or '–'}{more}")
    _fields(result)
    if result["moved"]:
        rows = [[one["before"], one["after"], one["count"], ", ".join(one["first"][:3])] for one in result["moved"]]
        _table("Moved", {"before": "left", "after": "left", "records": "right", "first": "left"}, rows)
    rejects = [[name, *pair] for name, pair in result["rejects"].items() if pair[0] != pair[1]]
    _pairs("Rejects by reason", rejects)
    if result["model_changed"] is not None:
        console.print(f"model: {'another one' if result['model_changed'] else 'the same'}")
    _pairs("Counts", [[name, *pair] for name, pair in result["counts"].items()])
    _gate(result["gate"])
    figures = [[name, *pair] for name, pair in result["figures"].items() if not _is_detail(name)]
    _pairs("Figures", sorted(figures, key=lambda row: (not row[0].startswith(_FIRST), row[0])))
    _scores(result["scores"])
    _vectors(result["vectors"])
    _queries(result["queries"])


def _fields(result: dict[str, Any]) -> None:
    found = result["fields"]
    if found["fields"]:
        of = f" of {found['compared']:,} compared" if found["compared"] < result["changed"]["count"] else ""
        named = ", ".join(f"{name} {count:,}" for name, count in found["fields"].items())
        console.print(f"changed fields{of}: {escape(named)}")


def _gate(checks: list[dict[str, Any]]) -> None:
    def cells(check: dict[str, Any] | None) -> list[Any]:
        if check is None:
            return [None, "not checked"]
        return [check["value"], "passed" if check["passed"] else "accepted" if check["accepted"] else "failed"]

    rows = [[one["name"], *cells(one["before"]), *cells(one["after"])] for one in checks if _differs(one)]
    alone = sum(one["before"] is None or one["after"] is None for one in checks)
    columns = {"check": "left", "before": "right", "": "left", "after": "right", " ": "left"}
    if rows:
        _table("Gate: checks that differ", columns, rows)
    if alone:
        console.print(f"gate: {alone:,} checks exist for one of the two only (--json, --report)")


def _differs(check: dict[str, Any]) -> bool:
    was, now = check["before"], check["after"]
    if was is None or now is None:
        return any(one is not None and not one["passed"] for one in (was, now))
    return (was["value"], was["passed"]) != (now["value"], now["passed"])


def _is_detail(name: str) -> bool:
    """Return True for a figure that belongs to another one: an end of its interval, its spread, chance, a count."""
    return any(part in ("intervals", "spread", "histogram", "chance", "counts", "share") for part in name.split("."))


def _scores(drifts: list[dict[str, Any]]) -> None:
    drifted = [(one, found) for one in drifts for found in one["comparisons"] if found["drifted"]]
    if not drifted:
        console.print(f"scores: {len(drifts)} compared, none drifted" if drifts else "scores: nothing to compare")
        return
    rows = [
        [one["source"], one["score"], found["of"], found["before"]["p50"], found["after"]["p50"],
         _over(found["distance"], found["limit"])]
        for one, found in drifted
    ]  # fmt: skip
    columns = {"source": "left", "score": "left", "records": "left", "median": "right", "after": "right",
               "distance": "right"}  # fmt: skip
    scores = sum(one["drifted"] for one in drifts)
    _table(f"{scores} of {len(drifts)} scores drifted (Kolmogorov-Smirnov distance > limit)", columns, rows)


def _over(value: float, limit: float) -> str:
    return f"{value:.2f} {'>' if value > limit else '≤'} {limit:.2f}"


def _vectors(found: dict[str, Any]) -> None:
    if found["why_not"]:
        console.print(f"vectors: not compared: {escape(found['why_not'])}")
        return
    rows = []
    for one in found["views"]:
        told = {item["of"]: _over(item["separability"], item["limit"]) for item in one["comparisons"]}
        cosine = one["cosines"]["p50"] if one["cosines"] else None
        named = f"{one['source']}, {one['view']}"
        rows.append([named, one["shift"], cosine, told.get("changed", "too few"), told.get("added", "too few"),
                     "drifted" if one["drifted"] else ""])  # fmt: skip
    columns = {"source, view": "left", "shift": "right", "cosine": "right", "changed": "right", "added": "right",
               "": "left"}  # fmt: skip
    _table("Vectors: shift of the centroid, cosine of changed records, separability", columns, rows)


def _queries(found: dict[str, Any]) -> None:
    if found["why_not"]:
        console.print(f"queries: not compared: {escape(found['why_not'])}")
        return
    console.print(
        f"queries: {found['changed']:,} of {found['asked']:,} find other records among the first {found['k']}, "
        f"{found['reordered']:,} more in another order; mean overlap {found['mean_overlap']:.3f}, "
        f"Jaccard {found['mean_jaccard']:.3f}"
    )
    rows = []
    for one in found["most_changed"]:
        was, now = ({hit["key"]: hit for hit in one[side]} for side in ("before", "after"))
        lost, came = (
            [_named(hit) for key, hit in mine.items() if key not in other] for mine, other in ((was, now), (now, was))
        )
        rows.append([one["key"], one["by"], one["overlap"], ", ".join(lost), ", ".join(came)])
    if rows:
        columns = {"query": "left", "by": "left", "overlap": "right", "lost": "left", "found instead": "left"}
        _table("Queries that changed most", columns, rows)


def _named(hit: dict[str, Any]) -> str:
    return f"{hit['key']} ({hit['change']})" if hit["change"] else str(hit["key"])


def _pairs(title: str, rows: list[list[Any]]) -> None:
    if rows:
        _table(title, {"name": "left", "before": "right", "after": "right"}, rows)


def _table(title: str, columns: dict[str, str], rows: list[list[Any]]) -> None:
    table(title, columns, rows[:SHOWN])
    if len(rows) > SHOWN:
        console.print(f"… and {len(rows) - SHOWN:,} more (--json, --report)")
