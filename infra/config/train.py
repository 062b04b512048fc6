"""How the fusion is trained, and what is held out from it."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from trichord.infra.choices import Loss
from trichord.infra.config.base import Strict
from trichord.infra.marks import Part


class TrainConfig(Strict):
    """How the fusion is trained, and what is held out from it."""

    loss: Loss = Field("mixed_gallery_infonce", description="Training objective.")
    epochs: int = Field(30, ge=0, description="Most passes over the training records.")
    batch_size: int = Field(256, ge=2, description="Records a step.")
    chunk_size: int | None = Field(
        None, ge=2, description="Records a forward pass holds in memory at once (gradient caching); a step if unset."
    )
    learning_rate: float = Field(1e-3, gt=0, description="AdamW's peak rate (cosine decay).")
    weight_decay: float = Field(0.05, ge=0, description="AdamW's weight decay.")
    temperature: float = Field(0.07, gt=0, description="Initial softmax temperature (learned).")
    temperature_by_pair: bool = Field(
        False,
        description="Learn a temperature for every pair of modalities (mixed gallery: for every modality of a query "
        "and whether the item is of its own kind, another or fused).",
    )
    pair_weights: dict[str, float] = Field(
        {}, description="Weight of a pair of modalities in the loss, for example `image-audio: 0.5`."
    )
    margin: float = Field(0.2, ge=0, le=2, description="Margin of the contrastive and the triplet loss, in cosine.")
    triplets: Literal["random", "semi_hard", "hard"] = Field("semi_hard", description="Negatives of the triplet loss.")
    negatives: Literal["content", "group"] = Field(
        "content",
        description="Records that are never each other's negatives: those that share a text, a picture or a sound, or "
        "also those of one group.",
    )
    precision: Literal["float32", "bfloat16"] = Field("float32", description="Precision of the forward pass.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout inside the heads.")
    patience: int = Field(6, ge=1, description="Epochs without a better mixed validation score before stopping.")
    seed: int = Field(0, description="Seed of everything random.")
    validation: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of groups that stop the training and fit the calibration, where the source marks none.",
    )
    test: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Share of groups that are measured and seen by nothing else, where the source marks none.",
    )
    marks: dict[str, Part] = Field(
        {},
        description="What a source's marks mean, for example `fold5: test`. Usual words (`train`, `dev`, `Test`, "
        "`holdout` …) need no line; an unknown mark is an error.",
    )
    policy: Literal["reuse", "always"] = Field(
        "reuse", description="reuse: keep the live model while these settings stay the same; always: train every run."
    )
    workers: int = Field(1, ge=1, le=64, description="Training processes that share each step.")
    threads: int = Field(2, ge=1, description="Torch threads of a training process (part of the result's bits).")
    tensorboard: str | None = Field(None, description="Folder that receives TensorBoard logs.")

    @field_validator("marks", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """Read the number of a fold (`1: train`) as a mark."""
        if not isinstance(given, dict):
            return given
        return {str(key) if type(key) is int else key: part for key, part in given.items()}

    @model_validator(mode="after")
    def _parts(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation and test are {self.validation + self.test:g} of all: nothing is left to train"
            )
        folded = [mark.strip().casefold() for mark in self.marks]
        if repeated := [mark for mark in self.marks if folded.count(mark.strip().casefold()) > 1]:
            raise ValueError(f"marks names {repeated[0]!r} twice; case does not count")
        return self

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        known = ("text-image", "text-audio", "image-audio")
        if unknown := sorted(set(self.pair_weights) - set(known)):
            raise ValueError(f"pair_weights names {unknown[0]!r}, which is none of {', '.join(known)}")
        if any(weight < 0 for weight in self.pair_weights.values()):
            raise ValueError("pair_weights must not be negative")
        return self
