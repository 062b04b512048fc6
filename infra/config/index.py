"""What is indexed, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trichord.infra.config.base import Strict, View

IndexKind = Literal[
    "flat",
    "flat_fp16",
    "sq8",
    "sq4",
    "rabitq",
    "pq_fast",
    "hnsw",
    "ivf_flat",
    "ivf_fp16",
    "ivf_sq8",
    "ivf_sq4",
    "ivf_rabitq",
    "ivf_pq",
    "ivf_pq_fast",
]
Refine = Literal["flat", "fp16", "sq8"]


class IndexConfig(Strict):
    """What is indexed, and how."""

    views: tuple[View, ...] = Field(("fused",), min_length=1, description="Views of a record that are indexed.")
    backends: tuple[Literal["faiss", "milvus", "annoy"], ...] = Field(
        ("faiss",),
        min_length=1,
        description="Where the index is held; all switch together, and the first answers queries.",
    )
    metadata: tuple[str, ...] = Field(
        (),
        max_length=64,
        description="Fields of the records' metadata that a search can choose rows by, for example `license`; values "
        "that are not words, numbers, true or false are left out.",
    )
    kind: Literal["auto", IndexKind] = Field(
        "auto", description="auto: by size, targets and measured costs (docs/indexing.md)."
    )
    flat_max_rows: int = Field(50_000, ge=1, description="Rows below which auto takes Flat if the memory allows.")
    recall: float = Field(0.95, gt=0, le=1, description="Recall@10 that auto and the tuning of searches aim at.")
    memory_bytes: int | None = Field(None, ge=1, description="Bytes that all index files may take; no limit if unset.")
    latency_ms: float | None = Field(
        None, gt=0, description="Time that a query asked alone may take; no limit if unset."
    )
    bits: int | None = Field(None, ge=1, le=9, description="rabitq: bits a value; chosen if unset.")
    parts: int | None = Field(None, ge=1, description="pq, pq_fast: codes a row; chosen if unset.")
    refine: Literal["auto", "none", Refine] = Field(
        "auto", description="Second, finer code by which the best candidates are ranked again."
    )
    max_error_growth: float = Field(
        0.25, ge=0, description="Retrain when the quantization error grows by more than this fraction."
    )
    rows_per_shard: int = Field(100_000, ge=1, description="An index shard never holds more records than this.")
    nlist: int | None = Field(None, ge=1, description="IVF cells; by row count if unset.")
    trees: int | None = Field(None, ge=1, le=1_000, description="Annoy: trees of a shard; chosen on a sample if unset.")
    device: Literal["cpu", "cuda"] = Field(
        "cpu",
        description="cuda: IVF cells are trained, and found for each row, on a GPU (faiss-gpu); its bytes differ.",
    )
    nprobe: int | None = Field(None, ge=1, description="IVF cells searched; chosen for the gate's recall if unset.")
    vector_dtype: Literal["float32", "float16"] = Field(
        "float32", description="How vectors are stored; float16 takes half the space and keeps cosines to about 0.0005."
    )
