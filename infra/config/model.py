"""The encoders, and the fusion that is trained on top of them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from trichord.infra.choices import Fusion
from trichord.infra.config.base import Strict


class AdaptConfig(Strict):
    """How `trichord adapt` adapts an encoder to the lake's own data; it writes a model folder for `path` to name.

    The objective needs no labels: hidden words (text), two augmented views of one input (text: two dropout masks), or
    the frozen features of the record's other modalities.
    """

    objective: Literal["none", "masked_language", "views", "paired"] = Field(
        "none",
        description="none: the encoder stays as it is; masked_language (text): guess hidden words; views: two views "
        "of one input agree; paired: agree with the other modalities of the record.",
    )
    layers: Literal["all", "last", "lora"] = Field(
        "lora", description="What is trained: every weight, the last layers, or low-rank adapters (merged at the end)."
    )
    last_layers: int = Field(2, ge=1, description="Layers trained where layers is `last`.")
    lora_rank: int = Field(8, ge=1, le=256, description="Rank of the adapters where layers is `lora`.")
    epochs: int = Field(1, ge=1, description="Passes over the training records.")
    batch_size: int = Field(32, ge=2, description="Records a step.")
    learning_rate: float = Field(5e-5, gt=0, description="AdamW's peak rate (linear warm-up, cosine decay).")
    temperature: float = Field(0.05, gt=0, description="Softmax temperature of the contrastive objectives.")
    mask_share: float = Field(0.15, gt=0, lt=1, description="Share of the words hidden (masked_language).")
    max_records: int = Field(50_000, ge=2, description="Most records to use in an epoch.")
    seed: int = Field(0, description="Seed of everything drawn.")


class EncoderConfig(Strict):
    """One encoder of a modality. It is frozen while the fusion is trained; `adapt` changes it beforehand."""

    kind: Literal["embedded", "huggingface", "plugin"] = Field(
        "embedded", description="embedded: weight-free features; plugin: a class of your own."
    )
    path: str | None = Field(None, description="Hugging Face model name or folder (safetensors only).")
    plugin: str | None = Field(
        None, description="`module:Class` of an encoder of your own; it is given `options` (docs/model.md)."
    )
    options: dict[str, str | int | float | bool] = Field({}, description="Arguments of the plug-in's class, by name.")
    pooling: Literal["auto", "mean", "cls", "max", "pooler"] = Field(
        "auto",
        description="How states become one vector. auto: what a Sentence-BERT model says, pooled output of a "
        "convolutional model, else the mean.",
    )
    tokens: int = Field(
        1, ge=1, le=64, description="Vectors per input: 1, or the means of this many equal parts of its states."
    )
    max_tokens: int = Field(256, ge=8, description="Tokens of a window; a longer text is read in several.")
    max_s: float = Field(20.0, gt=0, le=600, description="Seconds of a window; a longer sound is read in several.")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Precision of weights and states; features are float32."
    )
    adapt: AdaptConfig = AdaptConfig()


class ModelConfig(Strict):
    """The encoders, and the fusion that is trained on top of them."""

    text: EncoderConfig = EncoderConfig()
    image: EncoderConfig = EncoderConfig()
    audio: EncoderConfig = EncoderConfig()
    dimension: int = Field(128, ge=8, description="Values of an indexed vector.")
    hidden: int = Field(256, ge=8, description="Width of the heads.")
    fusion: Fusion = Field("gated_attention", description="How modalities become one vector.")
    layers: int = Field(2, ge=1, le=24, description="Layers of the cross-modal transformer.")
    attention_heads: int = Field(4, ge=1, le=64, description="Attention heads of the cross-modal transformer.")
    numerics: Literal["strict", "fast"] = Field(
        "strict",
        description="strict: fixed shapes, bit-equal on equal hardware; fast: bfloat16 products where CPUs have them.",
    )

    @model_validator(mode="after")
    def _heads(self) -> Self:
        if self.fusion == "transformer" and self.dimension % self.attention_heads:
            raise ValueError(f"{self.attention_heads} attention_heads do not divide a dimension of {self.dimension}")
        return self
