"""Vectors as the benches of indexes need them: overlapping clusters, written as vector shards of a lake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trichord.infra.config import Project
from trichord.infra.digest import address, generator
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.schema import vectors_schema
from trichord.infra.lake.shard import ShardRef, ShardWriter
from trichord.infra.lake.storage import Storage
from trichord.pipelines.core.model_store import TrainedModel
from trichord.pipelines.core.workspace import Workspace

SPACE = "bench-space"
ROWS_PER_CLUSTER = 10
NOISE = 1.5  # of a cluster against its centre: neighbours lie in other clusters as often as in a row's own
PARTITION_ROWS = 5_000


def partition_vectors(number: int, rows: int, dimension: int, clusters: int, seed: str = "rows") -> np.ndarray:
    """float32 (rows, D) of one partition, L2-normalised: a random member of random clusters each."""
    random = generator("bench-vectors", seed, number)
    chosen = random.integers(clusters, size=rows)
    vectors = random.standard_normal((rows, dimension), dtype=np.float32) * np.float32(NOISE)
    for cluster in np.unique(chosen // 256):  # centres are drawn 256 at a time: none need be held
        block = generator("bench-centres", int(cluster)).standard_normal((256, dimension), dtype=np.float32)
        here = np.flatnonzero(chosen // 256 == cluster)
        vectors[here] += block[chosen[here] % 256]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def partitions(rows: int, dimension: int) -> Iterator[tuple[int, np.ndarray]]:
    """All vectors, partition by partition."""
    clusters = max(1, rows // ROWS_PER_CLUSTER)
    for number in range(-(-rows // PARTITION_ROWS)):
        size = min(PARTITION_ROWS, rows - number * PARTITION_ROWS)
        yield number, partition_vectors(number, size, dimension, clusters)


def queries(rows: int, dimension: int, count: int) -> np.ndarray:
    """float32 (count, D): other members of the same clusters, none of which is indexed."""
    return partition_vectors(0, count, dimension, max(1, rows // ROWS_PER_CLUSTER), "queries")


def workspace_at(
    lake: Path, index: dict[str, Any], workers: int = 2, milvus: dict[str, Any] | None = None
) -> Workspace:
    """A project with these sections `index` and `milvus` on a lake."""
    settings = {
        "lake": str(lake),
        "sources": [{"name": "bench", "kind": "folder", "path": str(lake)}],
        "index": index,
        "milvus": milvus or {},
        "engine": {"workers": workers},
        "gate": {"min_ann_recall": 0.0},
    }
    return Workspace(Project.model_validate(settings))


def model_of(dimension: int) -> TrainedModel:
    """The space that the vectors are said to be of."""
    return TrainedModel(path="models/bench", fingerprint=SPACE, dimension=dimension)


def key_of(number: int, row: int) -> str:
    """The key of a row of a partition."""
    return f"source{number % 4}/{number:05d}-{row:05d}"


def write_vectors(storage: Storage, lake: Path, number: int, vectors_ND: np.ndarray, version: str = "") -> ShardRef:
    """One partition's vectors shard, in the lake."""
    rows, dimension = vectors_ND.shape
    source = f"source{number % 4}"
    keys = [f"{key_of(number, row)}{version}" for row in range(rows)]
    columns = {
        "key": keys,
        "view": ["fused"] * rows,
        "source": [source] * rows,
        "partition": [f"{source}/{number:05d}"] * rows,
        "row_digest": [address(key) for key in keys],
        "meta": ["{}"] * rows,
        "fingerprint": [SPACE] * rows,
        "vector": pa.ListArray.from_arrays(
            np.arange(0, rows * dimension + 1, dimension, dtype=np.int32), pa.array(vectors_ND.ravel())
        ),
    }
    schema = vectors_schema(dimension)
    columns["vector"] = columns["vector"].cast(schema.field("vector").type)
    with ShardWriter(
        Lake(storage, str(lake)), "vectors", address("bench", number, rows, dimension, version), schema
    ) as file:
        file.write(pa.table(columns, schema=schema))
        return file.finish({})


def write_corpus(workspace: Workspace, lake: Path, rows: int, dimension: int) -> dict[str, ShardRef]:
    """All vectors shards by partition."""
    return write_partitions(workspace, lake, partitions(rows, dimension))


def write_partitions(workspace: Workspace, lake: Path, parts: Iterable[tuple[int, np.ndarray]]) -> dict[str, ShardRef]:
    """Write given vectors, (N, D) each, as shards; returns them by partition."""
    return {
        f"source{number % 4}/{number:05d}": write_vectors(workspace.storage, lake, number, vectors)
        for number, vectors in parts
    }
