"""What is known of families of Hugging Face models, by the `model_type` of their config.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trichord.encoders.base import Modality
from trichord.infra.errors import ConfigError

# Families whose states at an input's own positions do not depend on padding behind it: shown by tests/encoders/
# test_families.py. Inputs of all others share a pass only with inputs of their own length.
_PADDED_TEXT = frozenset((
    "albert", "bart", "bert", "bert-generation", "bloom", "camembert", "clip", "clip_text_model", "deberta",
    "deberta-v2", "distilbert", "electra", "gpt2", "llama", "m2m_100", "mamba", "marian", "mbart", "mobilebert",
    "modernbert", "mpnet", "mt5", "opt", "pegasus", "qwen3", "roberta", "siglip", "t5", "umt5", "xlm-roberta",
))  # fmt: skip
_PADDED_SOUND = frozenset(("hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm"))
_ENCODERS_ALONE = frozenset(("mt5", "t5", "umt5"))  # saved with or without a decoder, under one model_type
_REFUSED = {
    "funnel": "its first token has a type of its own, which is not given here",
    "reformer": "its attention is drawn at random",
    "yolos": "its last states are of things that it may find, not of the picture",
    "xlnet": "its tokens have types, which are not given here",
}
_BLOCKS = frozenset(("big_bird", "bigbird_pegasus"))


def may_be_padded(family: str, modality: Modality) -> bool:
    """Return True if inputs of several lengths may share a pass."""
    return family in (_PADDED_SOUND if modality == "audio" else _PADDED_TEXT)


def auto_class(family: str, modality: Modality) -> str:
    """Return the library's Auto class that loads the family: of a T5 the encoder alone."""
    return "AutoModelForTextEncoding" if modality == "text" and family in _ENCODERS_ALONE else "AutoModel"


def require_known(settings: Mapping[str, Any], folder: Path, setting: str) -> str:
    """Return the family that a config.json names.

    Raises:
        ConfigError: the model cannot be read rightly here: it names code of its own, quantised weights, or a family
            whose vectors would depend on more than their input.
    """
    file, family = folder / "config.json", str(settings.get("model_type", ""))
    coded = settings.get("auto_map")
    if isinstance(coded, Mapping) and {"AutoConfig", "AutoModel"} & set(coded):
        raise ConfigError(
            f"{file} ({setting}) names code of its own (auto_map), which is not run here.\n"
            f"If the library's own class for {family!r} is the same model, remove auto_map; else write a plug-in."
        )
    if settings.get("quantization_config") is not None:
        raise ConfigError(
            f"{file} ({setting}) says that the weights are quantised (quantization_config), which is not read here.\n"
            "Name a folder with the weights in full or half precision; set precision to halve them."
        )
    reason = _REFUSED.get(family)
    if family in _BLOCKS and settings.get("attention_type", "block_sparse") != "original_full":
        reason = "its attention_type is block_sparse, which changes for good with the first short text"
    if reason is not None:
        raise ConfigError(
            f"{folder} ({setting}) is a model of the family {family!r}, which is not read: {reason}.\n"
            + ("Set attention_type to original_full in its config.json." if family in _BLOCKS else "Take another one.")
        )
    return family
