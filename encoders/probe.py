"""Probing a Hugging Face model: the shape of its output, found without its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trichord.encoders.base import Modality
from trichord.encoders.pretrained import quiet_transformers

_TOWERS: dict[Modality, str] = {"text": "text_model", "image": "vision_model", "audio": "audio_model"}
FAULTS = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NotImplementedError, RuntimeError,
          TypeError, ValueError)  # fmt: skip  # of a model's code that is given what it does not expect
_POSITIONS = ("position_embeddings", "position_embedding", "embed_positions", "wpe")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """Width of a model's states and of its own summary (0: it makes none), and the most positions it has learned."""

    width: int
    summary: int
    feature_map: bool
    positions: int | None


def probe_model(
    folder: Path, modality: Modality, inputs: Mapping[str, torch.Tensor], auto: str, load: Callable[[], Any]
) -> ModelShape:
    """Return the shape of the model in a folder, from a forward pass of `inputs`.

    It is made on PyTorch's `meta` device. Models whose code looks at values (DeBERTa, Longformer) cannot do that; they
    are loaded.

    Args:
        folder: of the model.
        modality: whose tower is asked.
        inputs: arguments of its `forward`.
        auto: the library's Auto class.
        load: returns the model with its weights.

    Raises:
        One of `FAULTS`: the model does not take these inputs, or gives no states.
    """
    transformers = quiet_transformers()
    config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    try:
        with torch.device("meta"), torch.inference_mode():
            built = getattr(transformers, auto).from_config(config, trust_remote_code=False).eval()
            return _shape(tower(built, modality), {name: value.to("meta") for name, value in inputs.items()})
    except FAULTS:
        with torch.inference_mode():
            return _shape(tower(load(), modality).float(), inputs)


def _shape(model: Any, inputs: Mapping[str, torch.Tensor]) -> ModelShape:
    found = model(**inputs)
    states, summary = found.last_hidden_state, getattr(found, "pooler_output", None)
    return ModelShape(
        width=states.shape[1] if states.ndim == 4 else states.shape[-1],
        summary=0 if summary is None else summary.shape[1],
        feature_map=states.ndim == 4,
        positions=_positions(model),
    )


def tower(model: Any, modality: Modality) -> Any:
    """Return the part of a model that reads one modality: of a CLIP its text or image model, of a T5 its encoder."""
    part = getattr(model, _TOWERS[modality], None)
    if part is not None:
        return part
    return model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model


def _positions(model: Any) -> int | None:
    """Return the most positions. RoBERTa's begin behind the number of its padding token."""
    for name, part in model.named_modules():
        if name.endswith(_POSITIONS) and isinstance(part, torch.nn.Embedding):
            return part.num_embeddings - (0 if part.padding_idx is None else part.padding_idx + 1)
    return None
