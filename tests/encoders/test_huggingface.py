"""Hugging Face encoders of nine families: each loaded from disk, its preprocessing, pooling, gradient and laws."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image

from tests.encoders.models import BUILDERS, TEXTS, clips, loaded, modality, pictures
from trichord.encoders import huggingface
from trichord.encoders.device import torch_threads

Folder = Callable[[str], Path]
# The plain classes of the library, which the adapters never name.
MODELS: dict[str, Any] = {
    "bert": (hf.BertModel, hf.BertTokenizer),
    "roberta": (hf.RobertaModel, hf.RobertaTokenizer),
    "electra": (hf.ElectraModel, hf.BertTokenizer),
    "sentence_bert": (hf.BertModel, hf.BertTokenizer),
    "resnet": (hf.ResNetModel, hf.ConvNextImageProcessorPil),
    "efficientnet": (hf.EfficientNetModel, hf.EfficientNetImageProcessorPil),
    "vit": (hf.ViTModel, hf.ViTImageProcessorPil),
    "wav2vec2": (hf.Wav2Vec2Model, hf.Wav2Vec2FeatureExtractor),
    "wav2vec2_layer": (hf.Wav2Vec2Model, hf.Wav2Vec2FeatureExtractor),
    "hubert": (hf.HubertModel, hf.Wav2Vec2FeatureExtractor),
    "hubert_layer": (hf.HubertModel, hf.Wav2Vec2FeatureExtractor),
}
every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small models are slower on several."""
    with torch_threads(1):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The folder of a small saved model, by name."""
    return cache(lambda name: BUILDERS[name](tmp_path_factory.mktemp(name)))


def short_inputs(name: str) -> list[Any]:
    """Each is read in one window."""
    if modality(name) == "text":
        return [*TEXTS[:4], TEXTS[5], *(f"dog {'a' * n}" for n in range(1, 30, 3))]
    return pictures(6) if modality(name) == "image" else clips(0.5, 0.31, 0.9, 0.5, 0.07, 0.31)


@cache
def plain(path: Path, name: str) -> tuple[Any, Any]:
    """The model and its processor by the library's own classes."""
    model, processor = MODELS[name]
    return model.from_pretrained(path).eval(), processor.from_pretrained(path)


def read(path: Path, name: str, given: Any) -> dict[str, torch.Tensor]:
    """What the family's own processor makes of one input."""
    processor = plain(path, name)[1]
    if modality(name) == "text":
        return processor(given, return_tensors="pt")
    if modality(name) == "image":
        return processor(Image.fromarray(given), return_tensors="pt")
    return processor(given, sampling_rate=16_000, return_tensors="pt")


def states(path: Path, name: str, given: Any) -> tuple[np.ndarray, np.ndarray]:
    """States (T, H), or of a feature map (H, rows, columns), and summary of one input by the plain model, alone."""
    with torch.inference_mode():
        found = plain(path, name)[0](**read(path, name, given))
    summary = getattr(found, "pooler_output", None)
    return found.last_hidden_state[0].numpy(), np.array([]) if summary is None else summary[0].numpy().ravel()


def expected(path: Path, name: str, given: Any) -> np.ndarray:
    """The vector of one input as the documentation says: the mean, and of a convolutional model its summary."""
    found, summary = states(path, name, given)
    if name == "sentence_bert":
        return found.mean(axis=0) / np.linalg.norm(found.mean(axis=0))
    return summary if found.ndim == 3 else found[1 if name == "vit" else 0 :].mean(axis=0)


@every_model
def test_an_input_is_preprocessed_by_the_model_s_own_processor(folder, name):
    inputs = short_inputs(name)
    windows = loaded(folder(name), name).windows(inputs)
    assert [window.owner for window in windows] == list(range(len(inputs)))
    for window, given in zip(windows, inputs, strict=True):
        made = read(folder(name), name, given)
        key = {"text": "input_ids", "image": "pixel_values", "audio": "input_values"}[modality(name)]
        assert np.array_equal(window.values, made[key][0].numpy())


@every_model
@pytest.mark.parametrize("numerics", ["strict", "fast"])
def test_a_vector_is_the_pooled_output_of_the_plain_model_alone(folder, name, numerics, monkeypatch):
    monkeypatch.setattr(huggingface, "multiplies_bfloat16", lambda: False)
    inputs = short_inputs(name)
    encoder = loaded(folder(name), name, numerics)
    reference = np.stack([expected(folder(name), name, given) for given in inputs])
    assert encoder.dimension == reference.shape[1]
    assert reference.std(axis=0).mean() > 1e-3  # the inputs differ
    np.testing.assert_allclose(encoder.encode(inputs), reference, atol=2e-5)
    assert encoder.encode([]).shape == (0, encoder.dimension)


@every_model
def test_a_gradient_reaches_the_weights_through_the_same_vectors(folder, name):
    encoder = loaded(folder(name), name)
    inputs = short_inputs(name)
    encoder.encode(inputs[:1])  # a model that has encoded can still be trained
    vectors = encoder.pooled(inputs)
    np.testing.assert_allclose(vectors.detach().numpy(), encoder.encode(inputs), atol=2e-5)
    (vectors * torch.arange(vectors.numel()).reshape(vectors.shape)).sum().backward()
    unread = ("pooler.", "masked_spec_embed", "mask_token")
    trained = {n: weight for n, weight in encoder.module.named_parameters() if not n.startswith(unread)}
    without = [n for n, weight in trained.items() if weight.grad is None or not weight.grad.any()]
    assert len(without) < len(trained) / 4, without  # biases of keys and before a normalisation have none
    assert any("0" in n and weight.grad is not None and weight.grad.any() for n, weight in trained.items())


@every_model
def test_a_strict_vector_depends_on_neither_neighbours_nor_their_order(folder, name):
    inputs = [*short_inputs(name), *([TEXTS[4]] if modality(name) == "text" else [])]
    inputs += clips(2.6) if modality(name) == "audio" else []
    encoder = loaded(folder(name), name)
    together = encoder.encode(inputs)
    assert np.array_equal(encoder.encode(inputs[::-1])[::-1], together)
    for i in (0, 2, len(inputs) - 1):
        assert np.array_equal(encoder.encode([inputs[i]])[0], together[i])


@every_model
def test_the_mean_of_the_parts_is_the_mean_of_the_whole(folder, name):
    inputs = short_inputs(name)
    whole = loaded(folder(name), name, pooling="mean")
    parts = loaded(folder(name), name, tokens=6)
    vectors = parts.encode(inputs).reshape(len(inputs), 6, whole.dimension)
    assert (parts.tokens, parts.dimension) == (6, 6 * whole.dimension)
    np.testing.assert_allclose(vectors.mean(axis=1), whole.encode(inputs), atol=2e-5)
    assert (vectors.std(axis=1).max(axis=1) > 1e-4).sum() > 2  # the parts differ


@every_model
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_close_to_full(folder, name, precision):
    inputs = short_inputs(name)
    full = loaded(folder(name), name).encode(inputs)
    half = loaded(folder(name), name, precision=precision)
    vectors = half.encode(inputs)
    dtypes = {isinstance(part, torch.nn.Conv1d | torch.nn.Conv2d): {one.dtype for one in part.parameters(recurse=False)}
              for part in half.module.modules() if [*part.parameters(recurse=False)]}  # fmt: skip
    assert dtypes.get(False) == {getattr(torch, precision)}
    assert dtypes.get(True, {torch.float32}) == {torch.float32}
    assert vectors.dtype == np.float32
    error = np.linalg.norm(vectors - full, axis=1) / np.linalg.norm(full, axis=1)
    assert 0 < error.max() < (0.1 if precision == "bfloat16" else 0.02)


@every_model
def test_fast_numerics_multiply_in_bfloat16_where_the_processor_does_and_stay_close(folder, name, monkeypatch):
    inputs = short_inputs(name)
    found = {}
    for able in (False, True):
        monkeypatch.setattr(huggingface, "multiplies_bfloat16", lambda able=able: able)
        fast, strict = loaded(folder(name), name, "fast"), loaded(folder(name), name)
        found[able] = fast.encode(inputs), strict.encode(inputs), fast.fingerprint
    assert np.array_equal(found[True][1], found[False][1])  # strict numerics stay as they are
    assert found[True][2] == found[False][2]  # a fingerprint does not depend on the machine
    half, full = found[True][0], found[False][0]
    assert np.array_equal(half, full) == (name in ("resnet", "efficientnet"))  # convolutions stay in float32
    cosines = (half * full).sum(axis=1) / np.linalg.norm(half, axis=1) / np.linalg.norm(full, axis=1)
    assert cosines.min() >= 0.9999


@pytest.mark.parametrize("name", ["efficientnet", "vit", "wav2vec2"])
def test_convolutions_stay_in_float32_and_the_other_products_do_not(folder, name, monkeypatch):
    monkeypatch.setattr(huggingface, "multiplies_bfloat16", lambda: True)
    encoder, seen = loaded(folder(name), name, "fast"), {}

    def watch(part: torch.nn.Module, _given: Any, made: torch.Tensor) -> None:
        seen[part] = made.dtype

    for part in encoder.module.modules():
        if isinstance(part, torch.nn.Conv1d | torch.nn.Conv2d | torch.nn.Linear):
            part.register_forward_hook(watch)
    encoder.encode(short_inputs(name))
    linear = {part for part in seen if isinstance(part, torch.nn.Linear)}
    assert {seen[part] for part in seen.keys() - linear} == {torch.float32}
    assert {seen[part] for part in linear} == (set() if name == "efficientnet" else {torch.bfloat16})


@every_model
def test_the_fingerprint_is_of_bytes_and_settings_and_not_of_the_path(folder, name, tmp_path):
    moved = shutil.copytree(folder(name), tmp_path / "elsewhere")
    (moved / "README.md").write_text("says nothing about vectors", encoding="utf-8")
    original = loaded(folder(name), name).fingerprint
    assert loaded(moved, name).fingerprint == original
    prints = {
        original,
        loaded(moved, name, pooling="max").fingerprint,
        loaded(moved, name, tokens=2).fingerprint,
        loaded(moved, name, precision="bfloat16").fingerprint,
        loaded(moved, name, "fast").fingerprint,
    }
    windows: dict[str, dict[str, Any]] = {"text": {"max_tokens": 9}, "image": {}, "audio": {"max_s": 2.0}}
    window = windows[modality(name)]
    if window:
        prints.add(loaded(moved, name, **window).fingerprint)
    files = ("model.safetensors", "tokenizer.json" if modality(name) == "text" else "preprocessor_config.json")
    for file in files:
        data = bytearray((moved / file).read_bytes())
        data[-3] ^= 1
        (moved / file).write_bytes(data)
        prints.add(loaded(moved, name).fingerprint)
    assert len(prints) == 5 + len(window) + len(files)
    unused: dict[str, dict[str, Any]] = {
        "text": {"max_s": 5.0},
        "image": {"max_s": 5.0, "max_tokens": 9},
        "audio": {"max_tokens": 9},
    }
    assert loaded(folder(name), name, **unused[modality(name)]).fingerprint == original


@every_model
def test_an_encoder_travels_to_a_worker_without_its_weights(folder, name):
    encoder = loaded(folder(name), name)
    inputs = short_inputs(name)[:2]
    vectors = encoder.encode(inputs)
    travelled = copy.copy(encoder)  # made of the state that a pickle would hold
    assert "module" in vars(encoder)
    assert not {"module", "processor"} & set(vars(travelled))
    assert np.array_equal(travelled.encode(inputs), vectors)


@pytest.mark.gpu
@every_model
def test_a_gpu_gives_the_vectors_of_the_cpu(folder, name, monkeypatch):
    inputs = short_inputs(name)
    found = loaded(folder(name), name)
    assert found.module.device.type == "cuda"
    monkeypatch.setattr("trichord.encoders.huggingface.compute_device", lambda: torch.device("cpu"))
    np.testing.assert_allclose(found.encode(inputs), loaded(folder(name), name).encode(inputs), atol=1e-4)
