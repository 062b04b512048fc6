"""Vector tables to index: clustered unit vectors in several sources and views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from trichord.index_builders.faiss_sharded import FaissBuilder, put_quantiser
from trichord.index_builders.index_kinds import IndexPlan
from trichord.index_builders.manifest import IndexManifest, write_manifest
from trichord.infra.config import StorageConfig
from trichord.infra.digest import address, canonical_json, generator
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.schema import vectors_schema
from trichord.infra.lake.storage import Storage

SPACE = "space-a"
FIELDS = ("licence", "new", "page")  # of the metadata, that rows can be chosen by
STORAGE = Storage(StorageConfig())


def unit(rows: int, dimension: int, *seed: Any, clusters: int = 20) -> np.ndarray:
    """float32 (rows, dimension), L2-normalised, in overlapping clusters."""
    random = generator("vectors", *seed)
    centres = generator("centres", dimension).normal(size=(clusters, dimension))
    vectors = centres[random.integers(clusters, size=rows)] + 0.7 * random.normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def vector_table(vectors_ND: np.ndarray, name: str, *, views: Sequence[str] = ("fused",)) -> pa.Table:
    """Rows of one partition, each record in every view (with a vector of its own)."""
    rows, dimension = vectors_ND.shape
    keys = [f"{name}-{row // len(views):05d}" for row in range(rows)]
    columns = {
        "key": keys,
        "view": [views[row % len(views)] for row in range(rows)],
        "source": [name.split("/")[0]] * rows,
        "partition": [name] * rows,
        "row_digest": [address(key) for key in keys],
        "meta": [_meta(row // len(views)) for row in range(rows)],
        "fingerprint": [SPACE] * rows,
        "vector": list(vectors_ND),
    }
    return pa.table(columns, schema=vectors_schema(dimension))


def _meta(record: int) -> str:
    """Words, a number, yes or no, and what cannot be asked for: a list."""
    given = {"licence": ("CC0", 'CC "BY"')[record % 2], "page": record % 5, "new": record % 3 == 0, "tags": ["a"]}
    return canonical_json(given).decode()


def tables(count: int, rows: int, dimension: int, *, views: Sequence[str] = ("fused",)) -> dict[str, pa.Table]:
    """Vector shards by address, as the `vectors` table holds them."""
    made = {}
    for number in range(count):
        name = f"source{number % 2}/{number}"
        made[address(name)] = vector_table(unit(rows, dimension, number), name, views=views)
    return made


def build(
    lake: str,
    shards: dict[str, pa.Table],
    groups: Sequence[Sequence[str]],
    *,
    views: Sequence[str] = ("fused",),
    nlist: int | None = None,
    plan: IndexPlan | None = None,
) -> IndexManifest:
    """Build an index of these groups of vector shards and write its manifest."""
    dimension = len(next(iter(shards.values())).column("vector")[0])
    plan = plan or (IndexPlan(kind="ivf_flat", nlist=nlist) if nlist else IndexPlan(kind="flat"))
    quantiser = put_quantiser(Lake(STORAGE, lake), matrix(shards), plan, seed=7) if plan.trained else None
    builder = FaissBuilder(
        plan=plan, dimension=dimension, fingerprint=SPACE, views=tuple(views), quantiser=quantiser, metadata=FIELDS
    )
    made = [builder.build(Lake(STORAGE, lake), sorted(group), (shards[a] for a in sorted(group))) for group in groups]
    manifest = builder.manifest(made)
    write_manifest(Lake(STORAGE, lake), manifest)
    return manifest


def matrix(shards: dict[str, pa.Table]) -> np.ndarray:
    """All vectors, in order of address."""
    return np.concatenate(list(blocks(shards)))


def blocks(shards: dict[str, pa.Table]) -> Iterator[np.ndarray]:
    """The vectors of each shard, in order of address."""
    for name in sorted(shards):
        yield np.array(shards[name].column("vector").to_pylist(), dtype=np.float32)


def damaged(data: bytes, random: np.random.Generator, *, flip: bool) -> bytes:
    """The bytes with one bit turned, or cut off anywhere."""
    if not flip:
        return data[: int(random.integers(len(data)))]
    bit = int(random.integers(len(data) * 8))
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]
