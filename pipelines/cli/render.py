"""Print results in the terminal: one function per command, no logic."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Any

from rich.markup import escape
from rich.table import Table

from trichord.infra.endings import tell_unread
from trichord.infra.printable import printable
from trichord.infra.terminal import stdout_console

console = stdout_console()


def schema(result: dict[str, Any]) -> None:
    """Print the schema as indented JSON."""
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


def table(title: str, columns: dict[str, str], rows: list[list[Any]]) -> None:
    """Print a table of plain values; `columns` maps each name to its justification."""
    drawn = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    for name, justify in columns.items():
        drawn.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]  # a key must be whole
    for row in rows:
        drawn.add_row(*(escape(cell(value)) for value in row))
    console.print(drawn)


def cell(value: Any) -> str:
    """Return a value as a table shows it."""
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if type(value) is int else printable(value)


def prepare(result: dict[str, Any]) -> None:
    """Print what a preparation did."""
    _balance(result)
    _unread(result)
    table(
        "Ops",
        {"op": "left", "rows in": "right", "rejected": "right"},
        [[step["op"], step["rows_in"], step["rows_rejected"]] for step in result["funnel"]],
    )
    _touched(result)
    console.print(f"Prepared  digest {result['manifest_digest'][:16]}…  ({result['seconds']:.1f} s)")


def _balance(result: dict[str, Any]) -> None:
    added = f" + added by cutting {result['rows_added']:,}" if result.get("rows_added") else ""
    console.print(
        f"rows in {result['rows_in']:,}{added} = kept {result['rows_kept']:,} + rejected {result['rows_rejected']:,}"
        f" + duplicate {result['rows_duplicate']:,}"
        + (f" + disagreeing {result['rows_disagreeing']:,}" if result.get("rows_disagreeing") else "")
    )


def _unread(result: dict[str, Any]) -> None:
    if found := tell_unread(result.get("ignored_endings", {})):
        console.print(f"[yellow]{escape(found)}[/]")


def _touched(result: dict[str, Any]) -> None:
    table(
        "Shards",
        {"table": "left", "made": "right", "reused": "right", "removed": "right"},
        [[t["table"], len(t["made"]), t["reused"], len(t["removed"])] for t in result["touched"]],
    )


def _timings(result: dict[str, dict[str, Any]]) -> None:
    steps = ("read", "decode", "forward", "write", "waited", "wall")
    table(
        "Encoding: seconds summed over all workers (reading and decoding overlap the forward pass)",
        {"table": "left", "shards": "right", "rows": "right"} | dict.fromkeys(steps, "right"),
        [
            [name.strip("_"), found["shards"], found["rows"], *(f"{found[f'{step}_s']:.1f}" for step in steps)]
            for name, found in result.items()
        ],
    )


def skipped(result: dict[str, Any]) -> None:
    """Print why a run did not start."""
    console.print(f"Skipped: {escape(result['reason'])}")


def reindex(result: dict[str, Any]) -> None:
    """Print what a reindex did."""
    if result["unchanged"]:
        console.print(f"[green]Nothing changed.[/] {result['publication']} stays live. ({result['seconds']:.1f} s)")
        _unread(result)
        return
    _balance(result)
    _unread(result)
    _touched(result)
    if result["timings"]:
        _timings(result["timings"])
    if result["evaluation"]:
        from trichord.pipelines.cli.render_evaluation import evaluation  # which prints by the tables here

        evaluation(result["evaluation"])
    live = f"[green]Published[/] {result['publication']}" if result["publication"] else "Candidate built, not published"
    console.print(f"{live}  manifest {result['manifest_digest'][:16]}…  ({result['seconds']:.1f} s)")


def hits(result: dict[str, Any]) -> None:
    """Print a query's hits, with the scores that ranked them."""
    if not result["hits"]:
        console.print(f"No record in {result['publication']} matches.")
        return
    ranked_by = [name for name in ("calibrated", "rank_score") if result["hits"] and name in result["hits"][0]]
    columns = {"score": "right"} | dict.fromkeys(ranked_by, "right") | dict.fromkeys(("key", "view", "source"), "left")
    table(
        f"Hits in {result['publication']}",
        {"#": "right"} | columns | {"text": "left"},
        [[i + 1, *(hit[name] for name in columns), (hit["text"] or "–")[:80]] for i, hit in enumerate(result["hits"])],
    )


def publication(row: dict[str, Any]) -> None:
    """Print which publication is live."""
    console.print(f"[green]Live:[/] {row['publication']} ({row['kind']}), {row['counts']['rows_kept']:,} records")
    _accepted(row["verdict"])


def _accepted(verdict: dict[str, Any]) -> None:
    for check in verdict["checks"]:
        if check.get("accepted"):
            console.print(escape(f"  accepted: {check['name']}: {check['value']} against {check['threshold']}"))


def status(result: dict[str, Any]) -> None:
    """Print the live publication, the history, the tables and a failed candidate."""
    live = result["live"]
    console.print(f"Lake {escape(result['lake'])}")
    console.print(
        f"Live: [bold]{live['publication']}[/] since {live['created_at']}" if live else "Nothing is published."
    )
    if live:
        _accepted(live["verdict"])
    for one in result["held_back"]:
        console.print(
            f"[yellow]Held back:[/] {one['publication']} was rolled back at {one['rolled_back_at']}, so "
            "`trichord reindex` does not publish this index again.\n"
            "  To publish it: `trichord reindex --no-publish`, then `trichord publish`."
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
        late = "" if milvus.get("in_step", True) else " [red](not the live collection: run `trichord verify`)[/]"
        console.print(f"Milvus {escape(milvus['uri'])}: {escape(where)}{late}")
        table(
            "Collections",
            {"collection": "left", "publication": "left", "exists": "left", "live": "left"},
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
                      f"{'passed the gate' if verdict['passed'] else '[red]failed the gate[/]'}")  # fmt: skip
        _accepted(verdict)
        for check in verdict["checks"]:
            if not check["passed"] and not check.get("accepted"):
                console.print(
                    escape(f"  {check['name']}: {check['value']}, threshold {check['threshold']}. {check['detail']}")
                )
                for line in check.get("evidence", ()):
                    console.print(escape(f"    {line}"))


def explanation(result: dict[str, Any]) -> None:
    """Print a record's journey, step by step."""
    console.print(f"[bold]{escape(result['key'])}[/]: {result['outcome']}")
    for one in result["history"]:
        console.print(f"  {_when(one['at'])}: {escape(_event(one))}", soft_wrap=True)
    for step in result["journey"]:
        console.print(f"[bold]{step['step']}[/]")
        for name, value in step.items():
            if name not in ("step", "key") and value not in (None, "", [], {}):
                console.print(f"  {name}: {escape(str(value))}")


def _when(at: str) -> str:
    return at[:16].replace("T", " ") + " UTC"


def _event(one: dict[str, Any]) -> str:
    """Return what happened to a record, in words."""
    by = "publication" if one["kind"] == "publish" else f"the {one['kind']}"
    if one["event"] == "went":
        why = "deleted from its source" if one["kind"] == "publish" else "gone"
        return f"{why}: last in publication {one['last']} ({one['before']}), absent from {by} {one['publication']}"
    if one["event"] == "came":
        return f"came with {by} {one['publication']} ({one['after']})"
    what = "changed" if one["event"] == "changed" else f"{one['before']} → {one['after']}"
    return f"{what} in {by} {one['publication']}"


def rejects(result: dict[str, Any]) -> None:
    """Print rejects counted by reason, then as rows."""
    if not result["total"]:
        console.print("No row was rejected.")
        return
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
    """Print all fields of a rejected row."""
    for row in result["rejects"]:
        for name, value in row.items():
            console.print(f"{name}: {escape(str(value))}")


def exported(result: dict[str, Any]) -> None:
    """Print where rejects were written."""
    console.print(f"Wrote {result['rows']:,} rejects and {result['files']:,} media files to {escape(result['path'])}.")
    if result["not_read"]:
        table(
            "Media that could not be read",
            {"reason": "left", "files": "right"},
            [list(p) for p in result["not_read"].items()],
        )
    console.print(
        f"To use it as a source: {{name: fixed, kind: {result['kind']}, path: {escape(result['path'])}, "
        f"media_root: {escape(str(result['media_root'] or '…'))}}}"
    )


def replayed(result: dict[str, Any]) -> None:
    """Print what a replay did."""
    if result["nothing_to_replay"]:
        console.print(f"[green]Nothing to replay.[/] {result['advice']}")
    else:
        console.print(
            f"Merged {result['partitions_merged']:,} partitions: {result['rows_replayed']:,} rows replayed, "
            f"{result['rows_copied']:,} copied. "
            f"Prepared {result['partitions_remade']:,} partitions in full ({result['rows_remade']:,} rows)."
        )
        for why, partitions in result["remade_because"].items():
            console.print(f"  {partitions:,} in full: {escape(why)}")
    still = sum(result["rows_still_rejected"].values())
    console.print(
        f"Rejects: {result['rows_recovered']:,} recovered, {still:,} still rejected, "
        f"{result['rows_gone']:,} deleted from their sources."
    )
    table(
        "Selected rejects",
        {"reason": "left", "recovered": "right", "still rejected": "right"},
        [
            [code, result["rows_recovered_by_reason"].get(code, 0), result["rows_still_rejected"].get(code, 0)]
            for code in sorted({*result["rows_recovered_by_reason"], *result["rows_still_rejected"]})
        ],
    )


def verified(result: dict[str, Any]) -> None:
    """Print the result of verify."""
    console.print(
        f"[green]Intact:[/] {result['files']:,} files, {result['bytes']:,} bytes, "
        f"{result['publications']} publications."
    )
    if result["damaged_caches"]:
        console.print(
            f"[yellow]{result['damaged_caches']:,} caches are damaged[/], or files that nothing needs. No index is "
            "affected. `trichord recover --yes` sets them aside:"
        )
        for path in result["notes"][:20]:
            console.print(f"  {escape(path)}")


def collected(result: dict[str, Any]) -> None:
    """Print what gc lists or removed."""
    verb = "Removed" if result["removed"] else "Would remove (add --delete)"
    if result["at_work"]:
        verb = f"Nothing was removed: {' and '.join(result['at_work'])} at work on this lake may use any file.\n"
        verb += "Run `trichord gc --delete` again afterwards. It would remove"
    console.print(f"{verb}: {result['files']:,} files, {result['bytes']:,} bytes.")
    for path in result["paths"][:20]:
        console.print(f"  {escape(path)}")
    for name in result["collections"]:
        console.print(f"  collection {escape(name)}")


def doctor(result: dict[str, Any]) -> None:
    """Print every check with its advice."""
    for check in result["checks"]:
        mark = "[green]ok[/] " if check["ok"] else "[red]bad[/]"
        console.print(f"{mark} {check['name']}: {escape(check['found'])} {escape(check['advice'])}")


def demo(result: dict[str, Any]) -> None:
    """Print the results of the demo."""
    table(
        "Planted defects and their outcome",
        {"defect": "left", "planted": "right", "found": "right", "outcome": "left"},
        [[d["defect"], d["planted"], d["found"], d["as"]] for d in result["defects"]],
    )
    table(
        "Recall@10 on validation records, before and after training",
        {"query → gallery": "left", "chance": "right", "before": "right", "after": "right"},
        [[d["direction"], d["chance"], d["before"], d["after"]] for d in result["alignment"]],
    )
    for query in result["queries"]:
        console.print(f"\nQuery by {query['by']}: [italic]{escape(query['query'])}[/]")
        hits(query)
    console.print(f"\n[green]Published[/] {result['publication']}; page: {result['page']}  ({result['seconds']:.0f} s)")
    words = escape(f"--project {shlex.quote(result['project'])} --text {shlex.quote(result['example'])}")
    console.print(f"Next: trichord search {words}")
