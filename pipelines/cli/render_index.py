"""Print index estimates in the terminal."""

from __future__ import annotations

from typing import Any

from trichord.pipelines.cli.render import console, table


def paper(result: dict[str, Any]) -> None:
    """Print the estimated size and cost of an index."""
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


def _bytes(size: int) -> str:
    for unit, least in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if size >= least:
            return f"{size / least:.1f} {unit}"
    return f"{size} bytes"
