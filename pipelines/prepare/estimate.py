"""Estimate a preparation of a given size, from measured costs alone."""

from __future__ import annotations

import math
from typing import Any

from trichord.infra.config import Project
from trichord.transforms.collect.partitions import MAX_PARTITIONS, limit_of_rows

# Milliseconds of CPU on one core, with reading, hashing, Parquet and deduplication (tests/bench/RESULTS.md).
PLAN_MS, DRIVER_MS = 0.04, 0.005  # a row that is planned on its own; what the driver alone does with it
ROW_MS = 0.6  # a row with a text of 50 characters
PICTURE_MS = 14.0  # of 1,600 x 1,200
SOUND_MS = 11.0  # of 5 s, 44.1 kHz
DRIVER_BYTES, PARTITION_BYTES = 210 << 20, 30_000  # of the driver, and what it holds of a partition
WORKER_BYTES = 1_400 << 20
LIST_ROWS = 1_000  # objects that one request lists
GETS, HEADS, PUTS = 20, 5, 3  # of a partition: plan, shards and their checks; each medium is one more
_MEDIA = ("image", "audio")


def prepare_on_paper(project: Project, rows: int, *, cores: int | None = None) -> dict[str, Any]:
    """Estimate hours, requests and memory of planning and preparing rows, before any source is read.

    Args:
        project: its sources, `index.views` (which modalities a row has) and `prepare.rows_per_partition` count.
        rows: number of rows.
        cores: cores that prepare; the engine's workers if None.

    Returns:
        JSON-ready: `modalities` of a row, `rows_per_partition` (most), `partitions`, `plan_core_hours`, `plan_hours`,
        `prepare_core_hours`, `prepare_hours` (all cores), `requests` to a bucket (`list`, `head`, `get`, `put`),
        `driver_memory_bytes`, `worker_memory_bytes` (all workers), `advice` (may be empty).
    """
    cores = cores or project.engine.workers
    views = set(project.index.views) - {"fused"}
    modalities = [name for name in ("text", *_MEDIA) if name in views or not views]
    limit = limit_of_rows(project.prepare.rows_per_partition, rows)
    partitions = max(1, round(_count_leaves(rows, limit)))
    media = sum(name in _MEDIA for name in modalities)
    row_ms = ROW_MS + PICTURE_MS * ("image" in modalities) + SOUND_MS * ("audio" in modalities)
    planned, prepared = (rows * ms / 3_600_000 for ms in (PLAN_MS, row_ms))
    listed = 0 if all(source.kind == "inventory" for source in project.sources) else math.ceil(rows * media / LIST_ROWS)
    divided = all(source.kind in ("manifest", "folder") for source in project.sources)
    waited = planned / cores + rows * DRIVER_MS / 3_600_000 if divided else planned
    advice = ""
    if partitions > MAX_PARTITIONS:
        advice = (
            f"prepare.rows_per_partition is {limit:,}: {partitions:,} partitions. Each is a task and three files; set "
            f"it to auto, which keeps them under {MAX_PARTITIONS:,}."
        )
    return {
        "modalities": modalities,
        "rows_per_partition": limit,
        "partitions": partitions,
        "plan_core_hours": round(planned, 3),
        "plan_hours": round(waited, 3),
        "prepare_core_hours": round(prepared, 3),
        "prepare_hours": round(prepared / cores, 3),
        "requests": {
            "list": listed,
            "head": HEADS * partitions,
            "get": rows * media + GETS * partitions,
            "put": PUTS * partitions,
        },
        "driver_memory_bytes": DRIVER_BYTES + PARTITION_BYTES * partitions,
        "worker_memory_bytes": cores * WORKER_BYTES,
        "advice": advice,
    }


def _count_leaves(mean: float, limit: int) -> float:
    """Return how many leaves below a node of the trie of partitions are to be expected, if it has this many rows."""
    split = 0.5 * math.erfc((limit + 0.5 - mean) / math.sqrt(2 * mean))  # the chance that it has more than its limit
    if split < 1e-6:
        return 1.0
    return 1.0 - split + 2 * split * _count_leaves(mean / 2, limit)
