"""A cross-encoder, built small and saved to disk, scores pairs as its own model does; what is none is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
)

from trichord.encoders.crossencoder import CrossEncoder
from trichord.infra.errors import ConfigError

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a red blue bus dog runs on the street grass".split()  # noqa: SIM905
TEXTS = ["a red bus on the street", "a dog runs", "the blue dog on the grass " * 4, "red"]


def build(folder: Path, labels: int | None = 1, seed: int = 0) -> Path:
    """A tiny BERT with a classifier of `labels` outputs (None: without one), its tokenizer beside it."""
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizer(vocab=str(folder / "vocab.txt"), model_max_length=24).save_pretrained(folder)
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    sizes |= {"vocab_size": len(WORDS), "max_position_embeddings": 24, "num_labels": labels or 1}
    config = BertConfig(initializer_range=0.5, **sizes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertModel(config) if labels is None else BertForSequenceClassification(config)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("labels", [1, 2])
def test_scores_are_those_of_the_model_on_each_pair_alone(tmp_path, labels):
    folder = build(tmp_path / "model", labels)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    expected = []
    for text in TEXTS:
        pair = tokenizer("the red bus", text, truncation=True, max_length=24, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**pair).logits[0]
        expected.append(float(logits[0] if labels == 1 else logits[1] - logits[0]))
    scores = CrossEncoder(str(folder), 256).scores("the red bus", TEXTS)
    assert scores.dtype == np.float32
    assert scores == pytest.approx(expected, abs=1e-5)
    assert len(set(expected)) > 1


def test_more_pairs_than_one_pass_takes_keep_their_order(tmp_path):
    encoder = CrossEncoder(str(build(tmp_path / "model")), 256)
    many = [TEXTS[i % 4] for i in range(40)]
    scores = encoder.scores("the red bus", many)
    assert scores == pytest.approx(np.tile(encoder.scores("the red bus", TEXTS), 10), abs=1e-5)
    assert encoder.scores("the red bus", []).shape == (0,)


def test_question_and_text_are_read_together(tmp_path):
    encoder = CrossEncoder(str(build(tmp_path / "model")), 256)
    assert encoder.scores("the red bus", TEXTS)[1] != encoder.scores("the blue dog", TEXTS)[1]


def test_a_longer_pair_than_the_limit_is_cut(tmp_path):
    encoder = CrossEncoder(str(build(tmp_path / "model")), 12)
    assert encoder.scores("a", ["red " * 9 + "bus", "red " * 9 + "dog"]).std() == 0  # [CLS] a [SEP], 8 words, [SEP]
    assert encoder.scores("a", ["red " * 7 + "bus", "red " * 7 + "dog"]).std() > 0


def test_a_folder_without_safetensors_is_refused(tmp_path):
    folder = build(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"no \*\.safetensors"):
        CrossEncoder(str(folder), 256)
    with pytest.raises(ConfigError, match=r"no config\.json and no"):
        CrossEncoder(str(tmp_path), 256)


def test_an_encoder_without_a_classifier_is_refused_and_gets_no_random_one(tmp_path):
    encoder = CrossEncoder(str(build(tmp_path / "model", None)), 256)
    with pytest.raises(ConfigError, match=r"not a trained classifier: it has no classifier\.bias"):
        encoder.scores("the red bus", TEXTS)


def test_a_classifier_of_three_classes_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="3 outputs"):
        CrossEncoder(str(build(tmp_path / "model", 3)), 256).scores("the red bus", TEXTS)
