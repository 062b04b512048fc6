"""Print index estimates in the terminal."""

from __future__ import annotations

from typing import Any

from trichord.pipelines.cli.render import console, table


def paper(result: dict[str, Any]) -> None:
    """Print the estimated cost of a first run by stage, what preparing its rows takes, and its index."""
    _stages(result)
    _preparation(result["preparation"], result["rows"])
    index = result["index"]
    chosen = ", ".join(f"{name} {index[name]}" for name in ("nlist", "bits", "parts", "refine") if name in index)
    made = index.get("predicted", {})
    table(
        f"Estimate for an index of {result['vectors']:,} vectors of {result['dimension']} dimensions",
        {"": "left", "predicted": "right"},
        [
            ["kind", index["kind"] + (f" ({chosen})" if chosen else "")],
            ["recall@10", made.get("recall", 1.0)],
            ["index shards", f"{result['shards']:,}"],
            ["index files", _bytes(result["index_bytes"])],
            ["keys files", _bytes(result["keys_bytes"])],
            ["index bytes read by every search", _bytes(result["scanned_bytes"])],
            ["memory of all build workers", _bytes(result["build_memory_bytes"])],
            ["milliseconds per query in a batch", f"{result['query_ms']:.3g}"],
            ["GPUs", result["gpus"]],
        ],
    )
    console.print(f"Why: {index['reason']}. Costs are estimated as docs/indexing.md describes; a build measures them.")
    if result["advice"]:
        console.print(f"Advice: {result['advice']}")


def _stages(result: dict[str, Any]) -> None:
    measured_rows, cores = result["measured_rows"], result["cores"]
    known = [one for one in result["stages"] if one["core_hours"] is not None]
    origin = {True: f"a run of {measured_rows:,} rows here", False: "typical costs"}
    rows = [[one["stage"], one["core_hours"], one["hours"], origin[one["measured"]]] for one in known]
    rows.append(["all of these", sum(one["core_hours"] for one in known), sum(one["hours"] for one in known), ""])
    table(
        f"Estimate for a first run of {result['rows']:,} rows",
        {"stage": "left", "core hours": "right", f"hours on {cores} core{'s' * (cores != 1)}": "right", "from": "left"},
        [[stage, _hours(core_hours), _hours(hours), basis] for stage, core_hours, hours, basis in rows],
    )
    if not measured_rows:
        console.print("Reindex 1,000 rows or more on this lake to see the other stages, and your own costs.")


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


def _preparation(result: dict[str, Any], rows: int) -> None:
    requests = result["requests"]
    table(
        f"Estimate for preparing {rows:,} rows with {', '.join(result['modalities'])}",
        {"": "left", "predicted": "right"},
        [
            ["partitions", f"{result['partitions']:,} of at most {result['rows_per_partition']:,} rows"],
            ["requests to a bucket: list, head", f"{requests['list']:,}, {requests['head']:,}"],
            ["requests to a bucket: get, put", f"{requests['get']:,}, {requests['put']:,}"],
            ["memory of the driver", _bytes(result["driver_memory_bytes"])],
            ["memory of all workers", _bytes(result["worker_memory_bytes"])],
        ],
    )
    console.print("By typical costs a picture has 1,600 x 1,200 pixels, and a sound takes 5 s.")
    if result["advice"]:
        console.print(f"Advice: {result['advice']}")


def _bytes(size: int) -> str:
    for unit, least in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if size >= least:
            return f"{size / least:.1f} {unit}"
    return f"{size} bytes"
