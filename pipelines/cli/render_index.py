"""Print index estimates in the terminal."""

from __future__ import annotations

from typing import Any

from trichord.pipelines.cli.render import console, table


def paper(result: dict[str, Any]) -> None:
    """Print the estimated cost of preparing rows, and the size and cost of their index."""
    _preparation(result["preparation"], result["rows"], result["cores"])
    index = result["index"]
    chosen = ", ".join(f"{name} {index[name]}" for name in ("nlist", "bits", "parts", "refine") if name in index)
    made = index.get("predicted", {})
    table(
        f"Estimate for an index of {result['rows']:,} vectors of {result['dimension']} dimensions",
        {"": "left", "predicted": "right"},
        [
            ["kind", index["kind"] + (f" ({chosen})" if chosen else "")],
            ["recall@10", made.get("recall", 1.0)],
            ["index shards", f"{result['shards']:,}"],
            ["index files", _bytes(result["index_bytes"])],
            ["keys files", _bytes(result["keys_bytes"])],
            ["index bytes read by every search", _bytes(result["scanned_bytes"])],
            ["memory of all build workers", _bytes(result["build_memory_bytes"])],
            [f"hours on {result['cores']} cores", result["build_hours"]],
            ["core hours", result["core_hours"]],
            ["milliseconds per query in a batch", result["query_ms"]],
            ["GPUs", result["gpus"]],
        ],
    )
    console.print(f"Why: {index['reason']}. Costs are estimated as docs/indexing.md describes; a build measures them.")
    if result["advice"]:
        console.print(f"Advice: {result['advice']}")


def _preparation(result: dict[str, Any], rows: int, cores: int) -> None:
    requests = result["requests"]
    table(
        f"Estimate for preparing {rows:,} rows with {', '.join(result['modalities'])}",
        {"": "left", "predicted": "right"},
        [
            ["partitions", f"{result['partitions']:,} of at most {result['rows_per_partition']:,} rows"],
            [f"hours of planning on {cores} cores", result["plan_hours"]],
            [f"hours of preparation on {cores} cores", result["prepare_hours"]],
            ["core hours", round(result["plan_core_hours"] + result["prepare_core_hours"], 3)],
            ["requests to a bucket: list, head", f"{requests['list']:,}, {requests['head']:,}"],
            ["requests to a bucket: get, put", f"{requests['get']:,}, {requests['put']:,}"],
            ["memory of the driver", _bytes(result["driver_memory_bytes"])],
            ["memory of all workers", _bytes(result["worker_memory_bytes"])],
        ],
    )
    console.print(
        "A picture counts as 1,600 x 1,200 pixels, a sound as 5 s. Prepare a part of the data to measure yours."
    )
    if result["advice"]:
        console.print(f"Advice: {result['advice']}")


def _bytes(size: int) -> str:
    for unit, least in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if size >= least:
            return f"{size / least:.1f} {unit}"
    return f"{size} bytes"
