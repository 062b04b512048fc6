"""The whole project file, and the sections of model, training, index and engine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from infra.config.agreement import AgreementConfig
from infra.config.augment import AugmentConfig
from infra.config.base import Strict
from infra.config.prepare import PrepareConfig
from infra.config.sources import Source
from infra.config.web import WebConfig

View = Literal["fused", "text", "image", "audio"]


class StorageConfig(Strict):
    """How object stores are reached; credentials come from the usual AWS environment variables."""

    endpoint: str | None = Field(None, description="S3-compatible endpoint URL; none for AWS itself.")
    region: str = Field("us-east-1", description="S3 region.")
    allow_http: bool = Field(False, description="Permit an http:// endpoint.")


class EncoderConfig(Strict):
    """One frozen encoder."""

    kind: Literal["embedded", "huggingface"] = Field("embedded", description="embedded: weight-free features.")
    path: str | None = Field(None, description="Hugging Face model name or folder (safetensors only).")
    pooling: Literal["mean", "cls"] = Field("mean", description="How token states become one vector.")
    max_tokens: int = Field(256, ge=1, description="Longer texts are cut to this many tokens.")


class ModelConfig(Strict):
    """The encoders, and the fusion that is trained on top of them."""

    text: EncoderConfig = EncoderConfig()
    image: EncoderConfig = EncoderConfig()
    audio: EncoderConfig = EncoderConfig()
    dimension: int = Field(128, ge=8, description="Values of an indexed vector.")
    hidden: int = Field(256, ge=8, description="Width of the heads.")
    fusion: Literal["gated_attention"] = Field("gated_attention", description="How modalities become one vector.")
    numerics: Literal["strict", "fast"] = Field(
        "strict", description="strict: fixed shapes, bit-equal on equal hardware."
    )


class TrainConfig(Strict):
    """How the fusion is trained, and what is held out from it."""

    loss: Literal["mixed_gallery_infonce", "infonce"] = Field(
        "mixed_gallery_infonce", description="Training objective."
    )
    epochs: int = Field(30, ge=0, description="Passes over the training records at most.")
    batch_size: int = Field(256, ge=2, description="Records a step.")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW's peak rate (cosine decay).")
    weight_decay: float = Field(0.05, ge=0, description="AdamW's weight decay.")
    temperature: float = Field(0.07, gt=0, description="Initial softmax temperature (learned).")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout inside the heads.")
    patience: int = Field(6, ge=1, description="Epochs without a better held-out mixed score before stopping.")
    seed: int = Field(0, description="Seed of everything random.")
    held_out: float = Field(0.2, ge=0, lt=1, description="Share of groups held out where the source marks no subset.")
    held_out_subsets: tuple[str, ...] = Field(
        ("test", "validation", "val"), description="Subset marks that mean held out."
    )
    policy: Literal["reuse", "always"] = Field(
        "reuse", description="reuse: keep the live model while these settings stay the same; always: train every run."
    )
    threads: int = Field(2, ge=1, description="Torch threads of the training worker (part of the result's bits).")


class IndexConfig(Strict):
    """What is indexed, and how."""

    views: tuple[View, ...] = Field(("fused",), min_length=1, description="Views of a record that are indexed.")
    kind: Literal["auto", "flat", "ivf_flat"] = Field(
        "auto", description="auto: Flat below ivf_min_rows, else IVF-Flat."
    )
    ivf_min_rows: int = Field(50_000, ge=1, description="Rows from which auto chooses IVF-Flat.")
    rows_per_shard: int = Field(100_000, ge=1, description="An index shard never holds more records than this.")
    nlist: int | None = Field(None, ge=1, description="IVF cells; by row count if unset.")
    nprobe: int | None = Field(None, ge=1, description="IVF cells searched; chosen for the gate's recall if unset.")


class GateConfig(Strict):
    """What a new index must reach before it is published."""

    min_ann_recall: float = Field(0.95, ge=0, le=1, description="Recall@10 of the index against exact search.")
    min_over_chance: float = Field(1.0, ge=0, description="Least cross-modal recall@10 over chance, each direction.")
    max_row_drop: float = Field(
        0.2, ge=0, le=1, description="Share of rows the new index may lose against the live one."
    )
    max_recall_drop: float = Field(0.05, ge=0, le=1, description="Mixed recall@10 it may lose against the live one.")
    max_reject_ratio: float = Field(0.5, ge=0, le=1, description="Share of all rows that one op may reject.")
    max_reject_ratio_of: dict[str, float] = Field(
        {}, description="The same for single ops by name, for example `threshold:image_blurred: 0.1`."
    )


class EvaluateConfig(Strict):
    """What is measured on held-out records."""

    max_records: int = Field(1_000, ge=1, description="Held-out records measured at most (chosen by key digest).")


class EngineConfig(Strict):
    """Where and how tasks run."""

    kind: Literal["local", "ray", "beam"] = Field("local", description="Where tasks run.")
    workers: int = Field(2, ge=1, description="Worker processes (local, beam) or concurrent tasks (ray).")
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
    gate: GateConfig = GateConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    engine: EngineConfig = EngineConfig()
    keep_publications: int = Field(5, ge=1, description="Publications whose files `gc` keeps.")
    gc_grace_s: float = Field(86_400.0, ge=0, description="Age below which `gc` never removes a file.")
