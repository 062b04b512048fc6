"""The project file's types. Every default lives here and nowhere else; docs and JSON Schema are made from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

View = Literal["fused", "text", "image", "audio"]


class Strict(BaseModel):
    """A frozen section of the project file; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StorageConfig(Strict):
    """How object stores are reached; credentials come from the usual AWS environment variables."""

    endpoint: str | None = Field(None, description="S3-compatible endpoint URL; none for AWS itself.")
    region: str = Field("us-east-1", description="S3 region.")
    allow_http: bool = Field(False, description="Permit an http:// endpoint.")


class FieldMap(Strict):
    """Which field of a manifest row means what; a dot reaches into nested fields (`meta.caption`)."""

    key: str = Field("id", description="The record's stable name, unique over the lake.")
    text: str | None = Field("text", description="The record's text.")
    image: str | None = Field("image", description="Path or URI of the picture.")
    audio: str | None = Field("audio", description="Path or URI of the sound.")
    captions: str | None = Field("captions", description="A list of other wordings of the text.")
    group: str | None = Field("group", description="Records of one group are held out together.")
    subset: str | None = Field("split", description="The source's own train/test mark.")


VersionBy = Literal["auto", "etag", "mtime_size", "sha256"]


class ManifestSource(Strict):
    """Rows of a JSONL or CSV file that name text and media files."""

    kind: Literal["manifest"]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Unique name of the source.")
    path: str = Field(description="The manifest: local path (relative to the project file) or s3:// URI.")
    format: Literal["auto", "jsonl", "csv"] = Field("auto", description="auto goes by the file's ending.")
    media_root: str | None = Field(
        None, description="Media paths are relative to this and may not leave it; the manifest's folder if unset."
    )
    fields: FieldMap = FieldMap()
    version_by: VersionBy = Field(
        "auto",
        description="How a changed file is noticed; auto: etag on s3://, sha256 (cached by mtime and size) locally.",
    )


class FolderSource(Strict):
    """Loose files joined by stem: a.txt, a.jpg and a.wav are one record `a`, in any order."""

    kind: Literal["folder"]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Unique name of the source.")
    path: str = Field(description="The folder: local path (relative to the project file) or s3:// URI.")
    version_by: VersionBy = Field("auto", description="As in a manifest source.")


Source = Annotated[ManifestSource | FolderSource, Field(discriminator="kind")]


class TextConfig(Strict):
    """What a text must be."""

    min_chars: int = Field(1, ge=0, description="Shorter texts (after normalising) are rejected.")
    max_chars: int = Field(20_000, ge=1, description="Longer texts are rejected.")


class ImageConfig(Strict):
    """What a picture must be, and its canonical form."""

    max_bytes: int = Field(50_000_000, ge=1, description="Larger files are rejected unread.")
    max_pixels: int = Field(50_000_000, ge=1, description="Larger pictures are rejected before decoding.")
    min_side: int = Field(32, ge=1, description="Pixels of the shorter side below which a picture is rejected.")
    max_aspect: float = Field(6.0, ge=1, description="Long side over short side above which it is rejected.")
    min_sharpness: float = Field(
        20.0, ge=0, description="Variance of the Laplacian at canonical size below which it counts as blurred."
    )
    side: int = Field(256, ge=16, description="Canonical size: the longer side after resizing, in pixels.")
    quality: int = Field(90, ge=1, le=100, description="JPEG quality of the stored picture.")


class AudioConfig(Strict):
    """What a sound must be, and its canonical form."""

    max_bytes: int = Field(200_000_000, ge=1, description="Larger files are rejected unread.")
    min_duration_s: float = Field(0.1, ge=0, description="Shorter clips are rejected.")
    max_duration_s: float = Field(600.0, gt=0, description="Longer clips are rejected before decoding.")
    max_clipping: float = Field(
        0.02, ge=0, le=1, description="Share of samples at full scale above which a clip is rejected."
    )
    rate_hz: int = Field(16_000, ge=8_000, description="Canonical sample rate; sound is stored mono at this rate.")


class PrepareConfig(Strict):
    """From source rows to records."""

    rows_per_split: int = Field(256, ge=1, description="A split of loose files never holds more rows than this.")
    text: TextConfig = TextConfig()
    image: ImageConfig = ImageConfig()
    audio: AudioConfig = AudioConfig()


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


class EvaluateConfig(Strict):
    """What is measured on held-out records."""

    max_records: int = Field(1_000, ge=1, description="Held-out records measured at most (chosen by key digest).")


class EngineConfig(Strict):
    """Where and how tasks run."""

    kind: Literal["local", "ray"] = Field("local", description="Where tasks run.")
    workers: int = Field(2, ge=1, description="Worker processes (local) or concurrent tasks (ray).")
    address: str | None = Field(None, description="Ray cluster address; a private local cluster if unset.")
    task_timeout_s: float = Field(900.0, gt=0, description="A task that runs longer is ended and its rows bisected.")
    retries: int = Field(
        2, ge=0, description="Times a task whose worker died is tried again before its rows are bisected."
    )


class Project(Strict):
    """The whole project file, `trichord.yaml`."""

    lake: str = Field("lake", description="Folder (relative to the project file) or s3:// URI of the lake.")
    sources: tuple[Source, ...] = Field(min_length=1, description="Where records come from, in order of precedence.")
    storage: StorageConfig = StorageConfig()
    prepare: PrepareConfig = PrepareConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    index: IndexConfig = IndexConfig()
    gate: GateConfig = GateConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    engine: EngineConfig = EngineConfig()
    keep_publications: int = Field(5, ge=1, description="Publications whose files `gc` keeps.")
    gc_grace_s: float = Field(86_400.0, ge=0, description="Age below which `gc` never removes a file.")
