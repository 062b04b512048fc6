"""What a person sees in the terminal: one function a verb, rich tables, no logic."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

console = Console(highlight=False)


def error(problem: BaseException) -> None:
    """A message on stderr: what happened in red, evidence and advice below."""
    first, _, rest = str(problem).partition("\n")
    stderr = Console(stderr=True, highlight=False)
    stderr.print(f"[bold red]{type(problem).__name__}[/] {escape(first)}")
    if rest:
        stderr.print(escape(rest))


def table(title: str, columns: dict[str, str], rows: list[list[Any]]) -> None:
    """Print a table: column names with their justification, and rows of plain values."""
    drawn = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    for name, justify in columns.items():
        drawn.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        drawn.add_row(*(escape(_cell(value)) for value in row))
    console.print(drawn)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)


def initialised(result: dict[str, Any]) -> None:
    """Where the project file was written."""
    path = escape(result["path"])
    console.print(f"Wrote {path}. Name your sources in it, then: trichord plan --project {path}")


def plan(result: dict[str, Any]) -> None:
    """What a reindex would do."""
    table(
        "What a reindex would do",
        {"source": "left", "rows": "right", "partitions": "right", "to make": "right", "kept": "right"},
        [[s["source"], s["rows"], s["partitions"], s["to_make"], s["kept"]] for s in result["sources"]],
    )
    console.print(
        f"{result['to_remove']} record shards would be removed. Unchanged: {'yes' if result['unchanged'] else 'no'}."
    )
    for partition in result["make"][:20]:
        console.print(f"  make {escape(partition)}")


def prepare(result: dict[str, Any]) -> None:
    """What a preparation did."""
    _balance(result)
    table(
        "Ops",
        {"op": "left", "rows in": "right", "rejected": "right"},
        [[step["op"], step["rows_in"], step["rows_rejected"]] for step in result["funnel"]],
    )
    _touched(result)
    console.print(f"Prepared  digest {result['manifest_digest'][:16]}…  ({result['seconds']:.1f} s)")


def _balance(result: dict[str, Any]) -> None:
    added = f" + cut from them {result['rows_added']:,}" if result.get("rows_added") else ""
    console.print(
        f"rows in {result['rows_in']:,}{added} = kept {result['rows_kept']:,} + rejected {result['rows_rejected']:,}"
        f" + duplicate {result['rows_duplicate']:,}"
        + (f" + disagreeing {result['rows_disagreeing']:,}" if result.get("rows_disagreeing") else "")
    )


def _touched(result: dict[str, Any]) -> None:
    table(
        "Shards",
        {"table": "left", "made": "right", "reused": "right", "removed": "right"},
        [[t["table"], len(t["made"]), t["reused"], len(t["removed"])] for t in result["touched"]],
    )


def _timings(result: dict[str, dict[str, Any]]) -> None:
    steps = ("read", "decode", "forward", "write", "waited", "wall")
    table(
        "Encoding, seconds over all workers (reading and decoding run beside the forward pass)",
        {"table": "left", "shards": "right", "rows": "right"} | dict.fromkeys(steps, "right"),
        [
            [name.strip("_"), found["shards"], found["rows"], *(f"{found[f'{step}_s']:.1f}" for step in steps)]
            for name, found in result.items()
        ],
    )


def reindex(result: dict[str, Any]) -> None:
    """What a reindex did."""
    if result["unchanged"]:
        console.print(f"[green]Nothing changed.[/] {result['publication']} stays live. ({result['seconds']:.1f} s)")
        return
    _balance(result)
    _touched(result)
    if result["timings"]:
        _timings(result["timings"])
    if result["evaluation"]:
        evaluation(result["evaluation"])
    live = f"[green]Published[/] {result['publication']}" if result["publication"] else "Candidate built, not published"
    console.print(f"{live}  manifest {result['manifest_digest'][:16]}…  ({result['seconds']:.1f} s)")


def evaluation(result: dict[str, Any]) -> None:
    """The recall matrix and the mixed gallery."""
    galleries = list(dict.fromkeys(gallery for cells in result["recall_at_10"].values() for gallery in cells))
    rows = [[query, *(cells.get(g) for g in galleries)] for query, cells in result["recall_at_10"].items()]
    title = f"Held-out recall@{result['k']}, query → gallery ({result['records']:,} records)"
    table(title, {"query": "left"} | dict.fromkeys(galleries, "right"), rows)
    k, mixed = result["k"], result["mixed"]
    measures = (
        (f"recall_at_{k}", f"recall@{k}"),
        (f"ndcg_at_{k}", "NDCG"),
        (f"mrr_at_{k}", "MRR"),
        (f"map_at_{k}", "mAP"),
    )
    told = [f"{label} {_cell(mixed.get(name))}{_ends(mixed, name)}" for name, label in measures]
    forms = "  ".join(f"{form} {_cell(value)}" for form, value in mixed["retention"].items())
    console.print(escape(f"Mixed gallery: {', '.join(told)}; retention: {forms}"))
    if "consistency" in result:
        _consistency(result["consistency"], k)


def _ends(measured: dict[str, Any], name: str) -> str:
    ends = measured.get("intervals", {}).get(name)
    return f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""


def _consistency(told: dict[str, Any], k: int) -> None:
    columns = dict.fromkeys(("true pairs", "shuffled", "told apart", "gap", "alignment"), "right")
    rows = [
        [pair, found["true"]["p50"], found["shuffled"]["p50"], found["auc"], told["gap"][pair], told["alignment"][pair]]
        for pair, found in told["similarity"].items()
    ]
    table("Agreement of two modalities: median cosine, probability of telling pairs from shuffled ones",
          {"pair": "left"} | columns, rows)  # fmt: skip
    hubs = "  ".join(
        f"{direction.replace('_to_', '→')} {found['skewness']:.2f}"
        for direction, found in told["hubness"].items()
        if found["skewness"] is not None
    )
    console.print(f"Hubness (skewness of how often an item is in the first {k}): {hubs or '–'}")


def hits(result: dict[str, Any]) -> None:
    """The hits of a query, with what the ranking sorted them by."""
    ranked_by = [name for name in ("calibrated", "rank_score") if result["hits"] and name in result["hits"][0]]
    columns = {"score": "right"} | dict.fromkeys(ranked_by, "right") | dict.fromkeys(("key", "view", "source"), "left")
    table(
        f"Hits in {result['publication']}",
        {"#": "right"} | columns | {"text": "left"},
        [[i + 1, *(hit[name] for name in columns), (hit["text"] or "–")[:80]] for i, hit in enumerate(result["hits"])],
    )


def publication(row: dict[str, Any]) -> None:
    """What is live now."""
    counts = row["counts"] if isinstance(row["counts"], dict) else json.loads(row["counts"])
    console.print(f"[green]Live:[/] {row['publication']} ({row['kind']}), {counts['rows_kept']:,} records")


def status(result: dict[str, Any]) -> None:
    """Live index, history, tables, refused candidate."""
    live = result["live"]
    console.print(f"Lake {escape(result['lake'])}")
    console.print(
        f"Live: [bold]{live['publication']}[/] since {live['created_at']}" if live else "Nothing is published."
    )
    table(
        "Publications",
        {"id": "left", "kind": "left", "at": "left", "records": "right"},
        [[row["publication"], row["kind"], row["created_at"], row["rows"]] for row in result["history"]],
    )
    table(
        "Tables",
        {"table": "left", "version": "right", "shards": "right", "rows": "right", "bytes": "right"},
        [[name, t["version"], t["shards"], t["rows"], t["bytes"]] for name, t in result["tables"].items()],
    )
    if milvus := result["milvus"]:
        where = milvus.get("error") or f"{milvus['alias']} → {milvus['alias_of'] or 'nothing'}"
        late = "" if milvus.get("in_step", True) else " [red](not the live one: run `trichord verify`)[/]"
        console.print(f"Milvus {escape(milvus['uri'])}: {escape(where)}{late}")
        table(
            "Collections",
            {"collection": "left", "publication": "left", "stands": "left", "live": "left"},
            [
                [
                    one["collection"],
                    one["publication"],
                    *("yes" if one[is_so] else "no" for is_so in ("stands", "live")),
                ]
                for one in milvus.get("collections", ())
            ],
        )
    if result["candidate"]:
        verdict = result["candidate"]["verdict"]
        console.print(f"Candidate {result['candidate']['candidate']['manifest_digest'][:12]}: "
                      f"{'passed the gate' if verdict['passed'] else '[red]refused by the gate[/]'}")  # fmt: skip
        for check in verdict["checks"]:
            if not check["passed"]:
                console.print(
                    f"  {check['name']}: {check['value']} against {check['threshold']} {escape(check['detail'])}"
                )


def explanation(result: dict[str, Any]) -> None:
    """A record's journey."""
    console.print(f"[bold]{escape(result['key'])}[/]: {result['outcome']}")
    for step in result["journey"]:
        console.print(f"[bold]{step['step']}[/]")
        for name, value in step.items():
            if name not in ("step", "key") and value not in (None, "", [], {}):
                console.print(f"  {name}: {escape(str(value))}")


def rejects(result: dict[str, Any]) -> None:
    """Rejects by reason, then rows."""
    table(
        f"{result['total']:,} rejects",
        {"op": "left", "reason": "left", "rows": "right"},
        [[row["op"], row["reason"], row["rows"]] for row in result["by_reason"]],
    )
    table(
        "Rows",
        {"key": "left", "op": "left", "reason": "left", "detail": "left"},
        [[row["key"], row["op"], row["reason"], row["detail"][:90]] for row in result["rows"]],
    )


def reject(result: dict[str, Any]) -> None:
    """One reject, whole."""
    for row in result["rejects"]:
        for name, value in row.items():
            console.print(f"{name}: {escape(str(value))}")


def exported(result: dict[str, Any]) -> None:
    """Where rejects were written."""
    console.print(f"Wrote {result['rows']:,} rejects to {escape(result['path'])}, {result['files']:,} media files.")
    if result["not_read"]:
        table(
            "Media that were not read", {"why": "left", "files": "right"}, [list(p) for p in result["not_read"].items()]
        )
    console.print(
        f"As a source: {{name: mended, kind: {result['kind']}, path: {escape(result['path'])}, "
        f"media_root: {escape(str(result['media_root'] or '…'))}}}"
    )


def replayed(result: dict[str, Any]) -> None:
    """What a replay did."""
    if result["nothing_to_replay"]:
        console.print(f"[green]Nothing to replay.[/] {result['advice']}")
    else:
        console.print(
            f"{result['partitions_merged']:,} partitions merged: {result['rows_replayed']:,} rows run, "
            f"{result['rows_copied']:,} copied. "
            f"{result['partitions_remade']:,} partitions prepared as a whole ({result['rows_remade']:,} rows)."
        )
        for why, partitions in result["remade_because"].items():
            console.print(f"  {partitions:,} as a whole: {escape(why)}")
    still = sum(result["rows_still_rejected"].values())
    console.print(
        f"{result['rows_recovered']:,} rejects recovered, {still:,} still rejected, {result['rows_gone']:,} gone."
    )
    table(
        "Rejects of this choice",
        {"reason": "left", "recovered": "right", "still rejected": "right"},
        [
            [code, result["rows_recovered_by_reason"].get(code, 0), result["rows_still_rejected"].get(code, 0)]
            for code in sorted({*result["rows_recovered_by_reason"], *result["rows_still_rejected"]})
        ],
    )


def verified(result: dict[str, Any]) -> None:
    """What verify looked at."""
    console.print(
        f"[green]Whole:[/] {result['files']:,} files, {result['bytes']:,} bytes, {result['publications']} publications."
    )


def collected(result: dict[str, Any]) -> None:
    """What gc found or removed."""
    verb = "Removed" if result["removed"] else "Would remove (add --delete)"
    console.print(f"{verb}: {result['files']:,} files, {result['bytes']:,} bytes.")
    for path in result["paths"][:20]:
        console.print(f"  {escape(path)}")
    for name in result["collections"]:
        console.print(f"  collection {escape(name)}")


def doctor(result: dict[str, Any]) -> None:
    """Every check with its advice."""
    for check in result["checks"]:
        mark = "[green]ok[/] " if check["ok"] else "[red]bad[/]"
        console.print(f"{mark} {check['name']}: {escape(check['found'])} {escape(check['advice'])}")


def demo(result: dict[str, Any]) -> None:
    """What the demo showed."""
    table(
        "What was cleaned out, and why",
        {"planted defect": "left", "planted": "right", "found": "right", "as": "left"},
        [[d["defect"], d["planted"], d["found"], d["as"]] for d in result["defects"]],
    )
    table(
        "Recall@10 before and after alignment",
        {"query → gallery": "left", "chance": "right", "before": "right", "after": "right"},
        [[d["direction"], d["chance"], d["before"], d["after"]] for d in result["alignment"]],
    )
    for query in result["queries"]:
        console.print(f"\nQuery by {query['by']}: [italic]{escape(query['query'])}[/]")
        hits(query)
    console.print(f"\n[green]Published[/] {result['publication']}; page: {result['page']}  ({result['seconds']:.0f} s)")
    console.print(f"Go on: trichord search --project {result['project']} --text 'two red circles'")
