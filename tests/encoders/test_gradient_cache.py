"""A step in chunks is the step in one pass: the same vectors, loss and gradients, in the memory of a chunk."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.encoders.planted import ENCODERS, MODEL, planted, without
from trichord.encoders import gradient_cache
from trichord.encoders.data import Part, TrainingData
from trichord.encoders.distributed import ProcessGroup
from trichord.encoders.fusion import FusionNetwork
from trichord.encoders.model import FusionModel
from trichord.encoders.objective import Objective
from trichord.encoders.step import StepPlan, represent
from trichord.encoders.views import Features
from trichord.infra.config import TrainConfig
from trichord.infra.digest import generator

LOSSES = ("mixed_gallery_infonce", "infonce", "contrastive", "triplet", "supcon", "sigmoid")
assert_equal = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-12)


def records() -> Features:
    """Forty records, some without one modality or other; half of them have several wordings."""
    gone = generator("gone").random((40, 3)) < 0.2
    gone[gone.sum(axis=1) > 1] = False
    several, single = without(planted(20, 1), gone[:20]), without(planted(20, 2), gone[20:], captions=False)
    return Features.concat([several, single])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return TrainingData.write(str(tmp_path_factory.mktemp("cache") / "data"), [Part(features=records())])


def step(data: TrainingData, fusion: str, **settings: object) -> tuple[FusionNetwork, Objective, StepPlan]:
    """A network in float64, an objective and a plan of a step of all records, dropout included."""
    config = TrainConfig(dropout=0.3, **settings)
    shape = MODEL.model_copy(update={"fusion": fusion})
    network = FusionModel.initial(shape, ENCODERS, data.stats, seed=5).network.double().requires_grad_(True)
    objective = Objective(config).double()
    return network, objective, objective.plan(network, data.locate(np.arange(40), generator("rows")), generator("step"))


def gradients(data: TrainingData, parts: tuple[FusionNetwork, Objective, StepPlan], chunk: int | None) -> list[Tensor]:
    """Loss, and its gradient by every parameter of the network and the objective."""
    network, objective, plan = parts
    parameters = [*network.parameters(), *objective.parameters()]
    for parameter in parameters:
        parameter.grad = None
    value = gradient_cache.backward(
        lambda part: represent(network, data, plan, part), 40, chunk, lambda vectors: objective(vectors, plan)
    )
    zeros = (torch.zeros_like(parameter) if parameter.grad is None else parameter.grad for parameter in parameters)
    return [value, *zeros]


@pytest.mark.parametrize("fusion", ["gated_attention", "concatenation", "transformer"])
def test_vectors_of_a_slice_do_not_depend_on_the_slices(data, fusion):
    network, _, plan = step(data, fusion)
    whole = represent(network, data, plan, slice(0, 40))
    assert whole.shape == (40, 3 + 2, MODEL.dimension)
    parts = torch.cat([represent(network, data, plan, part) for part in (slice(0, 1), slice(1, 17), slice(17, 40))])
    assert_equal(parts, whole)
    shares = [ProcessGroup(rank=rank, world_size=64).part(40) for rank in range(64)]  # some have no row
    assert_equal(torch.cat([represent(network, data, plan, share) for share in shares]), whole)
    torch.testing.assert_close(represent(network, data, plan, slice(0, 40)), whole, rtol=0, atol=0)  # nothing is drawn


@pytest.mark.parametrize("triplets", ["semi_hard", "random"])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_of_chunks_are_those_of_one_pass(data, loss, triplets):
    settings = {"loss": loss, "triplets": triplets, "temperature_by_pair": triplets == "random"}
    for fusion in ("gated_attention", "transformer"):
        parts = step(data, fusion, **settings)
        once = gradients(data, parts, None)
        assert sum(float(found.abs().sum()) > 0 for found in once[1:]) > len(once) / 2
        for chunk in (7, 39):
            for found, expected in zip(gradients(data, parts, chunk), once, strict=True):
                assert_equal(found, expected)


def test_dropout_drops_its_share_and_is_drawn_anew_for_every_step(data):
    network, objective, plan = step(data, "gated_attention")
    for kept in plan.kept.values():
        assert abs(kept.mean() - 0.7) < 0.03
    assert set(plan.kept) == {"text", "again", "image", "audio"}
    other = objective.plan(network, plan.rows, generator("another step"))
    assert (other.kept["image"] != plan.kept["image"]).any()
    gains = plan.gains("image", np.arange(40))
    assert gains is not None
    assert gains.unique().tolist() == pytest.approx([0, 1 / 0.7])


def test_no_graph_holds_more_rows_than_a_chunk(data):
    parts = step(data, "gated_attention")
    network = parts[0]
    seen: list[int] = []
    for head in network.heads.values():
        head.register_forward_hook(lambda _head, given, _out: seen.append(len(given[0]) * torch.is_grad_enabled()))
    gradients(data, parts, 8)
    assert max(seen) == 8
    bytes_of = {}
    for chunk in (8, None):
        held, peak = 0, 0

        def keep(tensor: Tensor) -> Tensor:
            nonlocal held, peak
            held += tensor.numel()
            peak = max(peak, held)
            return tensor

        def encode(part: slice) -> Tensor:
            nonlocal held
            held = 0  # the graph of the slice before is gone
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                return represent(network, data, parts[2], part)

        gradient_cache.backward(encode, 40, chunk, lambda vectors: parts[1](vectors, parts[2]))
        bytes_of[chunk] = peak
    weights = sum(parameter.numel() for parameter in network.parameters())  # a graph keeps them, whatever the rows
    assert bytes_of[8] - weights < 0.3 * bytes_of[None]
