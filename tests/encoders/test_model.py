"""A fusion model: masked, independent of neighbours, and refused if a bit of it has changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.encoders import models
from tests.encoders.planted import ENCODERS, MODEL, planted, without
from tests.pipelines.model.planted_shard import fusion_model
from trichord.encoders.heads import FeatureStats
from trichord.encoders.model import FusionModel, load_encoders
from trichord.encoders.views import MODALITIES, Features
from trichord.infra.config import EncoderConfig, ModelConfig
from trichord.infra.digest import generator
from trichord.infra.errors import ConfigError, FingerprintMismatch, StorageError

STATS = {name: FeatureStats(np.zeros(24, np.float32), np.ones(24, np.float32)) for name in MODALITIES}


@pytest.fixture(scope="module")
def model() -> FusionModel:
    return FusionModel.initial(MODEL, ENCODERS, STATS, seed=0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[FusionModel, Path]:
    """A model on the real encoders, and the folder it was saved in."""
    config = ModelConfig(dimension=8, hidden=8)
    encoders = load_encoders(config)
    widths = encoders.dimensions
    stats = {
        name: FeatureStats(np.zeros(widths[name], np.float32), np.ones(widths[name], np.float32)) for name in MODALITIES
    }
    made = FusionModel.initial(config, encoders, stats, seed=1)
    folder = tmp_path_factory.mktemp("model")
    made.save(str(folder))
    return made, folder


def absent(*rows: tuple[int, int, int]) -> np.ndarray:
    return np.array(rows, dtype=bool)


def test_what_stands_in_an_absent_modality_cannot_reach_a_vector(model):
    features = planted(4, 0)
    gone = absent((0, 1, 0), (1, 0, 1), (0, 0, 1), (1, 1, 1))
    garbage = without(features, gone)  # NaN
    zeros = {name: np.where(gone[:, m, None], 0, features.values[name]) for m, name in enumerate(MODALITIES)}
    clean = Features(values=zeros, present=~gone, captions=features.captions, offsets=features.offsets)
    for view in ("fused", "text", "image+audio"):
        vectors, present = model.embed(garbage, view)
        expected, _ = model.embed(clean, view)
        assert np.array_equal(vectors, expected)
        assert np.array_equal(vectors.any(axis=1), present)
        np.testing.assert_allclose(np.linalg.norm(vectors[present], axis=1), 1, atol=1e-5)
    assert model.embed(garbage, "fused")[1].tolist() == [True, True, True, False]


def test_a_fused_vector_of_one_modality_is_that_modality_s_vector(model):
    features = planted(3, 1)
    only = np.ones((3, 3), bool)
    only[np.arange(3), np.arange(3)] = False
    fused, _ = model.embed(without(features, only), "fused")
    for row, name in enumerate(MODALITIES):
        assert np.array_equal(fused[row], model.embed(features, name)[0][row])
    assert not np.allclose(model.embed(features, "fused")[0], model.embed(features, "text")[0], atol=1e-3)


def test_a_strict_vector_depends_on_neither_neighbours_nor_place_nor_threads(model):
    features = planted(600, 2)
    together, _ = model.embed(features, "fused")
    order = generator("order").permutation(600)
    assert np.array_equal(model.embed(features.take(order), "fused")[0], together[order])
    for rows in ([3], [3, 599], list(range(255, 258))):
        assert np.array_equal(model.embed(features.take(np.array(rows)), "fused")[0], together[rows])
    everywhere = features.take(np.full(300, 7))  # each place of a block, and of the one after
    assert np.array_equal(model.embed(everywhere, "fused")[0], np.repeat(together[7:8], 300, axis=0))
    before = torch.get_num_threads()
    torch.set_num_threads(3 - min(before, 2))
    try:
        assert np.array_equal(model.embed(features, "fused")[0], together)
    finally:
        torch.set_num_threads(before)


def test_captions_are_embedded_as_texts_are(model):
    features = planted(3, 3)
    as_text = Features(
        values={name: np.repeat(values, 2, axis=0) for name, values in features.values.items()}
        | {"text": features.captions},
        present=np.ones((6, 3), bool),
        captions=features.captions[:0],
        offsets=np.zeros(7, int),
    )
    assert np.array_equal(model.embed_captions(features), model.embed(as_text, "text")[0])


def test_features_of_another_width_are_refused(model):
    features = planted(2, 0)
    values = {name: values[:, :-1] for name, values in features.values.items()}
    narrow = Features(
        values=values, present=features.present, captions=features.captions[:, :-1], offsets=features.offsets
    )
    with pytest.raises(ValueError, match="takes 24"):
        model.embed(narrow, "image")


def test_a_saved_model_comes_back_with_its_fingerprint_from_any_folder(saved, tmp_path):
    made, folder = saved
    loaded = FusionModel.load(str(shutil.copytree(folder, tmp_path / "elsewhere")))
    assert loaded.fingerprint == made.fingerprint == json.loads((folder / "model.json").read_bytes())["fingerprint"]
    rng = generator("inputs")
    values = {name: rng.normal(size=(5, width)).astype(np.float32) for name, width in made.input_dimensions.items()}
    features = Features(values=values, present=np.ones((5, 3), bool), captions=values["text"], offsets=np.arange(6))
    assert np.array_equal(loaded.embed(features, "fused")[0], made.embed(features, "fused")[0])
    loaded.save(str(tmp_path / "again"))
    for name in ("model.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def model_at(encoder: Path, folder: Path) -> str:
    """The fingerprint of a model on a text encoder that lies somewhere, saved in a folder."""
    made = fusion_model(config_at(encoder))
    made.save(str(folder))
    return made.fingerprint


def config_at(encoder: Path) -> ModelConfig:
    return ModelConfig(dimension=8, hidden=8, text=EncoderConfig(kind="huggingface", path=str(encoder)))


def test_a_model_has_equal_bytes_wherever_its_encoder_lies_and_finds_it_where_the_project_says(tmp_path):
    one, two = tmp_path / "one" / "ours", tmp_path / "two" / "ours"
    one.mkdir(parents=True)
    models.bert(one)
    expected = model_at(one, tmp_path / "saved")
    shutil.copytree(one, two)
    assert model_at(two, tmp_path / "again") == expected
    for name in ("model.json", "model.safetensors"):
        assert (tmp_path / "saved" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    shutil.rmtree(two)
    folder = str(tmp_path / "saved")
    assert FusionModel.load(folder).fingerprint == expected
    assert FusionModel.load(folder, config_at(two)).fingerprint == expected, "the project names a newer encoder"
    one.rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match="no folder"):
        FusionModel.load(folder)
    loaded = FusionModel.load(folder, config_at(tmp_path / "moved"))
    assert loaded.fingerprint == expected
    other = tmp_path / "other"
    other.mkdir()
    models.electra(other)
    with pytest.raises(FingerprintMismatch, match="text encoder"):
        FusionModel.load(folder, config_at(other))


def test_one_flipped_bit_of_a_weight_is_refused(saved, tmp_path):
    _, folder = saved
    weights = (folder / "model.safetensors").read_bytes()
    body = 8 + int.from_bytes(weights[:8], "little")
    copy = shutil.copytree(folder, tmp_path / "flipped")
    for position in generator("flips").integers(body, len(weights), size=12).tolist():
        damaged = bytearray(weights)
        damaged[position] ^= 1 << (position % 8)
        (copy / "model.safetensors").write_bytes(damaged)
        with pytest.raises(FingerprintMismatch, match="changed"):
            FusionModel.load(str(copy))


@pytest.mark.parametrize("key", ["numerics", "hidden", "encoders"])
def test_a_changed_setting_or_encoder_is_refused(saved, tmp_path, key):
    _, folder = saved
    copy = shutil.copytree(folder, tmp_path / "changed")
    stored = json.loads((copy / "model.json").read_bytes())
    if key == "numerics":
        stored["config"]["numerics"] = "fast"
    elif key == "hidden":
        stored["config"]["hidden"] = 16
    else:
        stored["encoders"]["image"] = "0" * 32
    (copy / "model.json").write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(FingerprintMismatch):
        FusionModel.load(str(copy))


@pytest.mark.parametrize("damage", ["no folder", "cut weights", "no json", "deep json", "no head"])
def test_an_unreadable_model_is_a_storage_error(saved, tmp_path, damage):
    _, folder = saved
    copy = shutil.copytree(folder, tmp_path / "damaged")
    if damage == "no folder":
        shutil.rmtree(copy)
    elif damage == "cut weights":
        (copy / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9])
    elif damage == "no json":
        (copy / "model.json").write_text("{", encoding="utf-8")
    elif damage == "deep json":
        (copy / "model.json").write_text("[" * 100_000, encoding="utf-8")
    else:
        save_file({"heads.text.mean": torch.zeros(3)}, copy / "model.safetensors")
    with pytest.raises(StorageError, match="cannot be read"):
        FusionModel.load(str(copy))
