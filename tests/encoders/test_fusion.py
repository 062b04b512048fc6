"""Fusions: of any subset, deaf to what is absent, and a transformer that shows its attention."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import gelu, normalize

from tests.encoders.planted import DIMENSION, ENCODERS, MODEL, Planted, planted, without
from trichord.encoders.frozen import Encoders
from trichord.encoders.fusion import FusionNetwork
from trichord.encoders.heads import FeatureStats, Head
from trichord.encoders.model import FusionModel
from trichord.encoders.transformer import CrossModalTransformer, Layer
from trichord.encoders.views import MODALITIES
from trichord.infra.config import ModelConfig
from trichord.infra.digest import generator

FUSIONS = ("gated_attention", "concatenation", "transformer")
TOKENS = {"text": 3, "image": 4, "audio": 1}
MANY = Encoders({name: Planted(name, tokens=TOKENS[name]) for name in MODALITIES})
STATS = {name: FeatureStats(np.zeros(24, np.float32), np.ones(24, np.float32)) for name in MODALITIES}
VIEWS = torch.tensor([[subset >> m & 1 for m in range(3)] for subset in range(8)], dtype=torch.bool)


def config(fusion: str) -> ModelConfig:
    return MODEL.model_copy(update={"fusion": fusion})


def model(fusion: str, encoders: Encoders = MANY, **settings: int) -> FusionModel:
    return FusionModel.initial(config(fusion).model_copy(update=settings), encoders, STATS, seed=3)


def states(network: FusionNetwork, rows: int) -> Tensor:
    drawn = torch.Generator().manual_seed(rows)
    return torch.randn(rows, len(network.positions), network.dimension, generator=drawn)


@pytest.mark.parametrize("encoders", [ENCODERS, MANY], ids=["pooled", "tokens"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_stands_in_an_absent_modality_reaches_neither_a_vector_nor_a_gradient(fusion, encoders):
    network = model(fusion, encoders).network.requires_grad_(True)
    clean = states(network, 8)
    absent = ~VIEWS[:, [MODALITIES.index(name) for name in network.positions]]
    dirty = clean.masked_fill(absent[..., None], math.nan).requires_grad_()
    found = network.fuse(dirty, VIEWS[:, None])[:, 0]
    assert torch.equal(found, network.fuse(clean, VIEWS[:, None])[:, 0])
    assert not found[0].any()  # the empty view
    torch.testing.assert_close(found[1:].norm(dim=1), torch.ones(7))
    (found * torch.arange(16)).sum().backward()
    assert dirty.grad is not None
    assert not dirty.grad[absent].any()
    assert dirty.grad[1:].abs().sum(dim=(1, 2)).min() > 0
    for parameter in network.fusion.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_garbled_feature_of_an_absent_modality_changes_no_vector(fusion):
    features, garbage = planted(7, 0), ~VIEWS[1:].numpy()
    for view in ("fused", "text", "text+audio"):
        found, there = model(fusion).embed(without(features, garbage), view)
        zeros = {name: np.where(garbage[:, m, None], 0, features.values[name]) for m, name in enumerate(MODALITIES)}
        for m, name in enumerate(MODALITIES):
            features.values[name][:] = np.where(garbage[:, m, None], 9, zeros[name])
        other = without(features, np.zeros_like(garbage))
        other.present[:] = ~garbage
        assert np.array_equal(found, model(fusion).embed(other, view)[0])
        assert np.array_equal(found.any(axis=1), there)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_many_views_at_once_are_what_they_are_one_by_one(fusion):
    network = model(fusion).network
    given = states(network, 5)
    together = network.fuse(given, VIEWS.expand(5, 8, 3))
    for place, view in enumerate(VIEWS):
        torch.testing.assert_close(together[:, place], network.fuse(given, view.expand(5, 1, 3))[:, 0])
    views = ["fused", "text", "image+audio"]
    embedded = model(fusion).embed_views(planted(3, 1), views)
    for view, vectors in zip(views, embedded, strict=True):
        np.testing.assert_allclose(vectors, model(fusion).embed(planted(3, 1), view)[0], atol=1e-6)


def test_a_gated_mean_weighs_the_states_that_are_there():
    network = model("gated_attention").network
    given = normalize(states(network, 1), dim=2)
    alone = network.fuse(given, torch.eye(3, dtype=torch.bool)[None])[0]
    assert torch.equal(alone, normalize(given[0], dim=1))
    both = network.fuse(given, torch.tensor([[[True, True, False]]]))[0, 0]
    plane = torch.linalg.lstsq(given[0, :2].T, both).solution
    torch.testing.assert_close(given[0, :2].T @ plane, both)
    assert (plane > 0).all()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_only_the_transformer_sees_the_order_of_an_input_s_vectors(fusion):
    features = planted(4, 2)
    turned = planted(4, 2)
    turned.values["image"][:] = turned.values["image"].reshape(4, 4, 6)[:, ::-1].reshape(4, 24)
    same = np.allclose(model(fusion).embed(features, "fused")[0], model(fusion).embed(turned, "fused")[0], atol=1e-5)
    assert same == (fusion != "transformer")


def test_states_of_several_vectors_are_the_head_s_of_each_and_their_mean_where_they_are_pooled():
    head = model("transformer").network.head("text")
    features = torch.from_numpy(planted(5, 3).values["text"])
    single = Head(DIMENSION // 3, 1, MODEL.hidden, MODEL.dimension)
    single.load_state_dict(head.state_dict() | {"mean": torch.zeros(8), "spread": torch.ones(8)})
    each = torch.stack([single(part)[:, 0] for part in features.split(8, dim=1)], dim=1)
    torch.testing.assert_close(head(features), each)
    pooled = model("concatenation").network
    torch.testing.assert_close(pooled.state("text", features), pooled.head("text")(features).mean(dim=1, keepdim=True))


def test_attention_maps_are_the_weights_that_make_the_vectors():
    chosen = model("transformer", layers=3)
    gone = ~VIEWS[[7, 3, 1, 4, 0]].numpy()
    features = without(planted(5, 4), gone)
    maps = chosen.attention(features, "fused")
    assert maps.positions == ("text",) * 3 + ("image",) * 4 + ("audio",)
    assert maps.weights.shape == (3, 5, MODEL.attention_heads, 8, 8)
    there = features.present[:, [MODALITIES.index(name) for name in maps.positions]]
    expected = np.broadcast_to(there[None, :, None, :], maps.weights.shape[:4])
    np.testing.assert_allclose(maps.weights.sum(axis=4), expected, atol=1e-6)
    assert not maps.weights[:, ~there[:, None, None, :].repeat(4, 1).repeat(8, 2)].any()
    # the same pass, with the weights read out in place of queries and keys
    fusion, view = chosen.network.fusion, torch.from_numpy(features.present)
    assert isinstance(fusion, CrossModalTransformer)
    values = {name: torch.from_numpy(np.nan_to_num(features.values[name])) for name in MODALITIES}
    current = chosen.network.states(values, view) * torch.from_numpy(there)[..., None]
    current = current + fusion.modalities[fusion.modality_T] + fusion.places[fusion.place_T]
    for layer, weights in zip(fusion.layers, torch.from_numpy(maps.weights), strict=True):
        assert isinstance(layer, Layer)
        taken = layer.inputs(layer.before_attention(current))[..., 2 * MODEL.dimension :].unflatten(2, (4, -1))
        current = current + layer.output((weights @ taken.transpose(1, 2)).transpose(1, 2).flatten(2))
        current = current + layer.outer(gelu(layer.inner(layer.before_perceptron(current))))
    means = [fusion.norm(current)[:, start:stop].mean(dim=1) for start, stop in ((0, 3), (3, 7), (7, 8))]
    fused = normalize((torch.stack(means, dim=1) * view[..., None]).sum(dim=1), dim=1)
    torch.testing.assert_close(torch.from_numpy(chosen.embed(features, "fused")[0]), fused, rtol=1e-4, atol=1e-5)


def test_attention_of_a_single_modality_stays_within_it_and_of_nothing_is_nothing():
    chosen = model("transformer")
    maps = chosen.attention(planted(300, 5), "image")
    within = np.array([name == "image" for name in maps.positions])
    assert not maps.weights[..., ~within].any()
    assert not maps.weights[..., ~within, :].any()
    np.testing.assert_allclose(maps.weights[..., within, :].sum(axis=-1), 1, atol=1e-5)
    again = chosen.attention(planted(300, 5).take(np.array([299])), "image").weights
    assert np.array_equal(again[:, 0], maps.weights[:, 299])
    assert chosen.attention(planted(3, 5).take(np.zeros(0, int)), "fused").weights.shape == (2, 0, 4, 8, 8)


@pytest.mark.parametrize("fusion", ["gated_attention", "concatenation"])
def test_a_fusion_without_attention_maps_says_so(fusion):
    with pytest.raises(ValueError, match="transformer"):
        model(fusion).attention(planted(2, 0), "fused")


def test_what_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="5 vectors"):
        FusionNetwork(ENCODERS.dimensions, {"text": 5, "image": 1, "audio": 1}, MODEL)
    with pytest.raises(ValueError, match="do not divide"):
        model("transformer", attention_heads=3)
    with pytest.raises(ValidationError, match="do not divide"):
        ModelConfig(fusion="transformer", dimension=16, attention_heads=3)
    assert ModelConfig(dimension=16, attention_heads=3).attention_heads == 3  # without a user


def test_a_setting_that_shapes_no_weight_still_shapes_the_space():
    for fusion, differs in (("transformer", True), ("gated_attention", False)):
        one, other = model(fusion, attention_heads=2), model(fusion, attention_heads=4)
        assert (one.fingerprint != other.fingerprint) == differs
    assert model("concatenation").fingerprint != model("gated_attention").fingerprint


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_strict_vector_depends_on_neither_neighbours_nor_place(fusion):
    chosen, features = model(fusion), planted(300, 6)
    together, _ = chosen.embed(features, "fused")
    order = generator("order").permutation(300)
    assert np.array_equal(chosen.embed(features.take(order), "fused")[0], together[order])
    everywhere = features.take(np.full(256, 7))
    assert np.array_equal(chosen.embed(everywhere, "fused")[0], np.repeat(together[7:8], 256, axis=0))
    alone = features.take(np.array([7]))
    assert np.array_equal(chosen.embed(alone, "text")[0], chosen.embed(features, "text")[0][7:8])
