"""A plan on paper: what an index of so many rows would take, from the measured costs alone."""

from __future__ import annotations

import math
from typing import Any

from trichord.index_builders.choose import choose
from trichord.index_builders.costs import KEYS_BYTES, code_bytes
from trichord.infra.config import Project

MANY_SHARDS = 20_000  # each is a file, a task and a search of its own, which the prediction does not count


def plan_on_paper(
    project: Project, rows: int, *, dimension: int | None = None, cores: int | None = None
) -> dict[str, Any]:
    """Predict size, shards, memory and hours of an index before there are any vectors.

    Args:
        project: its sections `index`, `model` and `engine` say what is asked for.
        rows: vectors.
        dimension: values of each; the model's if None.
        cores: cores that build and search; the engine's workers if None.

    Returns:
        JSON-ready: `rows`, `dimension`, `cores`, `index` (kind, parameters, reason, prediction), `shards`,
        `index_bytes`, `keys_bytes`, `scanned_bytes` (what a search reads of every row, so what should stay in memory;
        the rest is mapped), `build_memory_bytes` (all workers), `build_hours`, `core_hours`, `query_ms`, `gpus`,
        `advice` (what to change first, or empty).

    Raises:
        ConfigError: no index keeps the targets of section `index`.
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
            f"index.rows_per_shard is {a_shard}: {shards:,} shards, whose opening and searching is not in these "
            f"figures. Set it to {math.ceil(rows / MANY_SHARDS):,} or more."
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
        "gpus": 1 if plan.device == "cuda" else 0,  # one is enough: its part of the hours is the smallest
        "advice": advice,
    }
