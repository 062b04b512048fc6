"""A model that embeds by NumPy gives the vectors of the one that torch runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.encoders.planted import ENCODERS, MODEL, Planted, planted, without
from trichord.encoders.frozen import Encoders, load_encoders
from trichord.encoders.heads import FeatureStats
from trichord.encoders.model import FusionModel
from trichord.encoders.query_model import QueryModel, load_embedder
from trichord.encoders.stored_model import StoredModel
from trichord.encoders.views import MODALITIES
from trichord.infra.config import ModelConfig
from trichord.infra.digest import generator
from trichord.infra.errors import FingerprintMismatch, StorageError

TOKENS = {"text": 3, "image": 4, "audio": 1}
MANY = Encoders({name: Planted(name, tokens=TOKENS[name]) for name in MODALITIES})
FUSIONS = ("gated_attention", "concatenation")


def trained(fusion: str, encoders: Encoders) -> FusionModel:
    """A model each of whose weights was moved away from where it starts."""
    rng = generator("query model", fusion)
    stats = {
        name: FeatureStats(rng.normal(size=24).astype(np.float32), rng.uniform(0.1, 1, 24).astype(np.float32))
        for name in MODALITIES
    }
    made = FusionModel.initial(MODEL.model_copy(update={"fusion": fusion}), encoders, stats, seed=3)
    with torch.no_grad():
        for weight in made.network.parameters():
            weight.add_(torch.from_numpy(rng.normal(scale=0.3, size=weight.shape).astype(np.float32)))
    return made


def stored(model: FusionModel) -> StoredModel:
    return StoredModel(
        folder="model",
        fingerprint=model.fingerprint,
        config=model.config,
        encoders=model.encoders,
        weights={name: tensor.numpy() for name, tensor in model.network.state_dict().items()},
        calibration=None,
    )


@pytest.mark.parametrize("encoders", [ENCODERS, MANY], ids=["pooled", "tokens"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_vectors_of_every_view_are_those_of_torch(fusion, encoders):
    by_torch = trained(fusion, encoders)
    by_numpy = QueryModel(stored(by_torch))
    absent = np.array([[row >> m & 1 for m in range(3)] for row in range(8)] * 4, dtype=bool)
    features = without(planted(32, seed=1, noise=3.0), absent)
    for view in ("fused", "text", "image", "audio", "text+image", "image+audio"):
        expected, there = by_torch.embed(features, view)
        found, found_there = by_numpy.embed(features, view)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found_there, there)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        assert not found[~there].any()
    alone = by_numpy.embed(features.take(np.array([5])), "fused")[0]
    np.testing.assert_allclose(alone[0], by_numpy.embed(features, "fused")[0][5], rtol=0, atol=1e-7)


def test_features_of_another_width_and_unknown_views_are_refused():
    model = QueryModel(stored(trained("gated_attention", ENCODERS)))
    features = planted(2, seed=1)
    wide = replace(features, values={**features.values, "image": np.zeros((2, 25), np.float32)})
    with pytest.raises(ValueError, match="25 values, this model takes 24"):
        model.embed(wide, "image")
    with pytest.raises(ValueError, match="no such view"):
        model.embed(features, "smell")


@pytest.mark.parametrize("fusion", FUSIONS)
def test_weights_that_do_not_fit_the_settings_are_refused(fusion):
    whole = stored(trained(fusion, ENCODERS))
    for name in whole.weights:
        rest = {other: values for other, values in whole.weights.items() if other != name}
        for weights in (rest, {**rest, name: whole.weights[name][:-1]}, {**whole.weights, "more": np.zeros(1)}):
            with pytest.raises(StorageError, match="cannot be read"):
                QueryModel(replace(whole, weights=weights))


def test_a_folder_is_opened_by_numpy_unless_its_fusion_is_a_transformer(tmp_path):
    for fusion, kind in (("gated_attention", QueryModel), ("concatenation", QueryModel), ("transformer", FusionModel)):
        config = ModelConfig(dimension=8, hidden=8, fusion=fusion)
        made = FusionModel.initial(config, load_encoders(config), {}, seed=1)
        made.save(str(tmp_path / fusion))
        found = load_embedder(str(tmp_path / fusion), expected=made.fingerprint)
        assert type(found) is kind
        assert found.fingerprint == made.fingerprint
        with pytest.raises(FingerprintMismatch, match="expected other"):
            load_embedder(str(tmp_path / fusion), expected="other")
