"""Every fusion learns by every loss, and what shapes a loss (weights, temperatures, negatives) does what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from tests.encoders.planted import ENCODERS, MODEL, planted
from tests.encoders.test_fusion import FUSIONS
from tests.encoders.test_gradient_cache import LOSSES
from tests.encoders.test_train import KilledError, recall_at_1
from trichord.encoders.data import Part, TrainingData
from trichord.encoders.losses import infonce
from trichord.encoders.model import FusionModel
from trichord.encoders.objective import PAIR_NAMES, Objective
from trichord.encoders.step import represent
from trichord.encoders.train import train
from trichord.encoders.views import MODALITIES
from trichord.infra.config import TrainConfig
from trichord.infra.digest import generator

CONFIG = TrainConfig(epochs=12, batch_size=64, learning_rate=5e-3, threads=1)
GROUPS = np.arange(100, dtype=np.uint64) // 2 + 1  # pairs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    parts = [Part(features=planted(100, seed), groups=GROUPS + 50 * seed) for seed in (1, 2)]
    return TrainingData.write(str(tmp_path_factory.mktemp("losses") / "data"), parts)


def fitted(
    data: TrainingData,
    *,
    fusion: str = "gated_attention",
    checkpoint: str | None = None,
    log=lambda entry: None,
    **settings: object,
):
    config, shape = CONFIG.model_copy(update=settings), MODEL.model_copy(update={"fusion": fusion})
    return train(data, ENCODERS, shape, config, score=None, checkpoint=checkpoint, log=log, checkpoint_s=0)


@pytest.mark.parametrize(("fusion", "loss"), list(product(FUSIONS, LOSSES)))
def test_every_fusion_learns_by_every_loss(data, fusion, loss):
    model, history = fitted(data, fusion=fusion, loss=loss)
    unseen = planted(100, 7)
    for query, gallery in product(MODALITIES, (*MODALITIES, "text+image", "image+audio")):
        if query not in gallery:
            assert recall_at_1(model, unseen, query, gallery) > 0.15  # by chance: 0.01
    assert history[-1]["loss"] < history[1]["loss"]


@pytest.mark.parametrize("triplets", ["random", "hard"])
def test_every_mining_of_triplets_learns(data, triplets):
    model, _ = fitted(data, loss="triplet", triplets=triplets)
    assert recall_at_1(model, planted(100, 7), "image", "audio") > 0.3


def test_bfloat16_learns_as_float32_does_and_leaves_float32(data):
    found = {}
    for precision in ("float32", "bfloat16"):
        model, history = fitted(data, precision=precision)
        assert {tensor.dtype for tensor in model.network.state_dict().values()} == {torch.float32}
        found[precision] = (recall_at_1(model, planted(100, 7), "text", "image"), history[-1]["loss"])
    assert found["float32"][1] != found["bfloat16"][1]
    assert found["bfloat16"][0] > found["float32"][0] - 0.1


@pytest.mark.parametrize("loss", ["sigmoid", "mixed_gallery_infonce", "triplet"])
def test_what_a_loss_has_learned_is_resumed_bit_for_bit(data, tmp_path, loss):
    settings: dict[str, Any] = {
        "loss": loss, "epochs": 4, "temperature_by_pair": True, "triplets": "random", "chunk_size": 20
    }  # fmt: skip
    whole, history = fitted(data, **settings)
    checkpoint = str(tmp_path / "resumed")

    def die(entry: Mapping[str, Any]) -> None:
        if entry["epoch"] == 2:
            raise KilledError

    with pytest.raises(KilledError):
        fitted(data, checkpoint=checkpoint, log=die, **settings)
    resumed, story = fitted(data, checkpoint=checkpoint, **settings)
    assert resumed.fingerprint == whole.fingerprint
    assert json.dumps(story) == json.dumps(history)


def test_a_temperature_by_pair_is_learned_for_each(data):
    by_pair = fitted(data, loss="infonce", temperature_by_pair=True)[1][-1]
    assert {name for name in by_pair if name.startswith("scale")} == {f"scale/{name}" for name in PAIR_NAMES}
    mixed = fitted(data, temperature_by_pair=True)[1][-1]
    scales = {name: value for name, value in mixed.items() if name.startswith("scale")}
    assert set(scales) == {f"scale/{name}>{kind}" for name in MODALITIES for kind in ("own", "other", "fused")}
    assert len(set(scales.values())) == len(scales)
    assert set(fitted(data, loss="sigmoid")[1][-1]) > {"scale", "bias"}
    assert not {"scale", "bias"} & set(fitted(data, loss="triplet")[1][-1])


def objective_of(data: TrainingData, **settings: object):
    """An objective, its network and the vectors and plan of a step over the first 100 records."""
    config = CONFIG.model_copy(update=settings)
    network = FusionModel.initial(MODEL, ENCODERS, data.stats, seed=5).network.requires_grad_(True)
    objective = Objective(config)
    plan = objective.plan(network, data.locate(np.arange(100), generator("rows")), generator("step"))
    return objective, network, represent(network, data, plan, slice(0, 100)), plan


def test_records_of_one_group_are_negatives_unless_it_is_said_otherwise(data):
    group = torch.from_numpy(GROUPS[:, None] == GROUPS)
    for negatives, same in (("content", torch.eye(100, dtype=torch.bool)), ("group", group)):
        objective, _, vectors, plan = objective_of(data, loss="infonce", negatives=negatives)
        pairs = [(vectors[:, left], vectors[:, right]) for left, right in ((0, 1), (0, 2), (1, 2))]
        scale = torch.tensor(1 / CONFIG.temperature)
        expected = torch.stack([infonce(left, right, scale, same) for left, right in pairs]).mean()
        torch.testing.assert_close(objective(vectors, plan), expected)


def test_records_without_a_group_share_none(tmp_path):
    parts = [Part(features=planted(3, 1)), Part(features=planted(3, 2), groups=np.array([0, 4, 4], np.uint64))]
    rows = TrainingData.write(str(tmp_path / "data"), parts).locate(np.arange(6), generator("rows"))
    expected = np.zeros((6, 6), bool)
    expected[4:, 4:] = True
    assert np.array_equal(rows.same_group, expected)


def test_a_pair_of_no_weight_teaches_nothing(data):
    weights = {"text-audio": 0.0, "image-audio": 0.0}
    objective, network, vectors, plan = objective_of(data, loss="infonce", pair_weights=weights)
    loss = objective(vectors, plan)
    torch.testing.assert_close(loss, infonce(vectors[:, 0], vectors[:, 1], torch.tensor(1 / CONFIG.temperature)))
    loss.backward()
    assert not any(parameter.grad.any() for parameter in network.heads["audio"].parameters())


def test_a_pair_of_no_weight_is_learned_less_in_the_mixed_gallery(data):
    weights, unseen = {"text-audio": 0.0, "image-audio": 0.0}, planted(100, 7)
    even, skewed = fitted(data)[0], fitted(data, pair_weights=weights)[0]
    assert recall_at_1(skewed, unseen, "text", "image") > recall_at_1(even, unseen, "text", "image") - 0.1
    assert recall_at_1(skewed, unseen, "text", "audio") < recall_at_1(even, unseen, "text", "audio") - 0.2


def test_a_weight_of_nothing_at_all_is_no_loss(data):
    objective, _, vectors, plan = objective_of(data, loss="sigmoid", pair_weights=dict.fromkeys(PAIR_NAMES, 0.0))
    assert objective(vectors, plan) == 0
