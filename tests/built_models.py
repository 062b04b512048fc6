"""Hugging Face models built from their configs with drawn weights, saved as `save_pretrained` lays them out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

VOCABULARY = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghijklmnopqrstuvwxyz",
    *(f"##{c}" for c in "abcdeot"),
)


def bert(folder: Path, *, width: int = 16, layers: int = 2, heads: int = 2) -> Path:
    """Text: a BERT of so many layers, words spelt by letters."""
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=128,
    )
    return _saved(BertModel, config, folder)


def vit(folder: Path, *, width: int = 16, layers: int = 2, heads: int = 2, side: int = 32, patch: int = 8) -> Path:
    """Image: a ViT; 384, 12, 6, 224, 16 is ViT-small."""
    folder.mkdir(parents=True)
    ViTImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)
    config = ViTConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        image_size=side,
        patch_size=patch,
    )
    return _saved(ViTModel, config, folder)


def wav2vec2(folder: Path, *, width: int = 16, layers: int = 2, heads: int = 2, channels: int = 16) -> Path:
    """Audio: a wav2vec 2.0 with layer norms, which may be padded; 768, 12, 12, 512 is the base model."""
    folder.mkdir(parents=True)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    config = Wav2Vec2Config(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        conv_dim=(channels,) * 7,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embedding_groups=4,
        num_conv_pos_embeddings=16,
    )
    return _saved(Wav2Vec2Model, config, folder)


def _saved(kind: Any, config: Any, folder: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind(config).save_pretrained(folder)
    return folder
