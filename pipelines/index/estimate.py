"""Estimate an index of a given size, from measured costs alone."""

from __future__ import annotations

import math
from typing import Any

from trichord.index_builders.choose import choose
from trichord.index_builders.costs import KEYS_BYTES, code_bytes
from trichord.infra.config import Project

MANY_SHARDS = 20_000  # each costs a file, a task and a search, which the estimate does not include


def plan_on_paper(
    project: Project, rows: int, *, dimension: int | None = None, cores: int | None = None
) -> dict[str, Any]:
    """Estimate size, shards, memory and hours of an index before any vectors exist.

    Args:
        project: sections `index`, `model` and `engine` describe the index.
        rows: number of vectors.
        dimension: dimension of a vector; the model's if None.
        cores: cores that build and search; the engine's workers if None.

    Returns:
        JSON-ready: `rows`, `dimension`, `cores`, `index` (kind, parameters, reason, prediction), `shards`,
        `index_bytes`, `keys_bytes`, `scanned_bytes` (what every search reads, so what should stay in memory;
        the rest is mapped), `build_memory_bytes` (all workers), `build_hours`, `core_hours`, `query_ms`, `gpus`,
        `advice` (what to change first; may be empty).

    Raises:
        ConfigError: no index meets the targets of section `index`.
    """
    dimension = dimension or project.model.dimension
    cores = cores or project.engine.workers
    target = max(project.index.recall, project.gate.min_ann_recall)
    plan = choose(rows, dimension, project.index, cores=cores, recall=target)
    made = plan.predicted
    a_shard = project.index.rows_per_shard
    shards = max(1, math.ceil(rows / a_shard))
    advice = ""
    if shards > MANY_SHARDS:
        advice = (
            f"index.rows_per_shard is {a_shard}: {shards:,} shards. The time to open and search that many is "
            f"not in these figures. Set it to {math.ceil(rows / MANY_SHARDS):,} or more."
        )
    refine = {None: 0, "flat": 4 * dimension, "fp16": 2 * dimension, "sq8": dimension}[plan.refine]
    return {
        "rows": rows,
        "dimension": dimension,
        "cores": cores,
        "index": plan.to_json(),
        "shards": shards,
        "index_bytes": made.index_bytes if made else 0,
        "keys_bytes": rows * KEYS_BYTES,
        "scanned_bytes": rows * (code_bytes(plan, dimension) - refine),
        "build_memory_bytes": made.build_memory_bytes if made else 0,
        "build_hours": round(made.build_s / 3600, 3) if made else 0.0,
        "core_hours": round(made.build_s * cores / 3600, 3) if made else 0.0,
        "query_ms": made.query_ms if made else 0.0,
        "gpus": 1 if plan.device == "cuda" else 0,  # one is enough: its share of the hours is small
        "advice": advice,
    }
