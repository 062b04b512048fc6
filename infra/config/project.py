"""The whole project file, and the sections of storage, index and engine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trichord.infra.config.agreement import AgreementConfig
from trichord.infra.config.augment import AugmentConfig
from trichord.infra.config.base import Strict, View
from trichord.infra.config.evaluate import EvaluateConfig, GateConfig
from trichord.infra.config.milvus import MilvusConfig
from trichord.infra.config.model import ModelConfig
from trichord.infra.config.prepare import PrepareConfig
from trichord.infra.config.query import QueryConfig
from trichord.infra.config.rag import RagConfig
from trichord.infra.config.sources import Source
from trichord.infra.config.train import TrainConfig
from trichord.infra.config.web import WebConfig


class StorageConfig(Strict):
    """How object stores are reached; credentials come from the usual AWS environment variables."""

    endpoint: str | None = Field(None, description="S3-compatible endpoint URL; none for AWS itself.")
    region: str = Field("us-east-1", description="S3 region.")
    allow_http: bool = Field(False, description="Permit an http:// endpoint.")


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
        description="Where the index is held; all switch together, and queries are answered by the first.",
    )
    metadata: tuple[str, ...] = Field(
        (),
        max_length=64,
        description="Fields of the records' metadata that a search can choose rows by, for example `license`; values "
        "that are no words, numbers, true or false are left out.",
    )
    kind: Literal["auto", IndexKind] = Field(
        "auto", description="auto: by size, targets and measured costs (docs/indexing.md)."
    )
    flat_max_rows: int = Field(50_000, ge=1, description="Rows below which auto takes Flat if the memory allows.")
    recall: float = Field(0.95, gt=0, le=1, description="Recall@10 that auto and the tuning of searches aim at.")
    memory_bytes: int | None = Field(None, ge=1, description="Bytes that all index files may take; no limit if unset.")
    latency_ms: float | None = Field(
        None, gt=0, description="Time a query may take in a batch on all workers' cores; no limit if unset."
    )
    bits: int | None = Field(None, ge=1, le=9, description="rabitq: bits a value; chosen if unset.")
    parts: int | None = Field(None, ge=1, description="pq, pq_fast: codes a row; chosen if unset.")
    refine: Literal["auto", "none", Refine] = Field(
        "auto", description="Second, finer code by which the best candidates are ranked again."
    )
    max_error_growth: float = Field(
        0.25, ge=0, description="Share by which the error of the trained codes may grow before they are trained anew."
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


class EngineConfig(Strict):
    """Where and how tasks run."""

    kind: Literal["local", "ray", "beam"] = Field("local", description="Where tasks run.")
    workers: int = Field(2, ge=1, description="Worker processes (local, beam) or concurrent tasks (ray).")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where encoders run (local, ray). auto: on GPUs where there are some; cpu hides them."
    )
    actors_per_gpu: int = Field(
        1, ge=1, le=64, description="Encoding workers that share a GPU: several fill it when models are small."
    )
    address: str | None = Field(None, description="Ray cluster address; a private local cluster if unset.")
    runner: str = Field("DirectRunner", description="beam: DirectRunner, DataflowRunner, FlinkRunner, SparkRunner ...")
    options: tuple[str, ...] = Field((), description="beam: pipeline options, for example --setup_file=./setup.py.")
    task_timeout_s: float = Field(900.0, gt=0, description="A task that runs longer is ended and its rows bisected.")
    worker_memory_bytes: int | None = Field(
        None, ge=1 << 28, description="Memory a worker may take; one that needs more is ended like one that crashed."
    )
    retries: int = Field(
        2, ge=0, description="Times a task whose worker died is tried again before its rows are bisected."
    )


class Project(Strict):
    """The whole project file, `trichord.yaml`."""

    lake: str = Field("lake", description="Folder (relative to the project file) or s3:// URI of the lake.")
    sources: tuple[Source, ...] = Field(min_length=1, description="Where records come from, in order of precedence.")
    storage: StorageConfig = StorageConfig()
    web: WebConfig = WebConfig()
    prepare: PrepareConfig = PrepareConfig()
    augment: AugmentConfig = AugmentConfig()
    agreement: AgreementConfig = AgreementConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    index: IndexConfig = IndexConfig()
    milvus: MilvusConfig = MilvusConfig()
    gate: GateConfig = GateConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    query: QueryConfig = QueryConfig()
    rag: RagConfig = RagConfig()
    engine: EngineConfig = EngineConfig()
    keep_publications: int = Field(5, ge=1, description="Publications whose files `gc` keeps.")
    gc_grace_s: float = Field(86_400.0, ge=0, description="Age below which `gc` never removes a file.")
