"""Cross-modal transformer: every vector of every modality in the view attends to every other.

Shape letters: B rows, T positions (vectors of all modalities), A attention heads, D values of a state, M modalities.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from trichord.encoders.base import Modality
from trichord.encoders.views import MODALITIES

WIDENING = 4  # of the perceptron in a layer (Vaswani et al., arXiv 1706.03762)
EMBEDDING_SPREAD = 0.02


class Layer(nn.Module):
    """Self-attention and a perceptron, each on normalised states and added to them (arXiv 2002.04745)."""

    def __init__(self, dimension: int, heads: int, layers: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_perceptron = nn.LayerNorm(dimension), nn.LayerNorm(dimension)
        self.inputs, self.output = nn.Linear(dimension, 3 * dimension), nn.Linear(dimension, dimension)
        self.inner = nn.Linear(dimension, WIDENING * dimension)
        self.outer = nn.Linear(WIDENING * dimension, dimension)
        with torch.no_grad():  # what all layers add starts as large as one layer's (GPT-2)
            for last in (self.output, self.outer):
                last.weight.mul_((2 * layers) ** -0.5)

    def forward(self, states_BTD: Tensor, present_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return new states, and the attention weights (B, A, T, T) that made them: who attends, then to whom."""
        parts = self.inputs(self.before_attention(states_BTD)).unflatten(2, (3, self.heads, -1))
        queries_BATE, keys_BATE, values_BATE = parts.permute(2, 0, 3, 1, 4)
        scores_BATT = queries_BATE @ keys_BATE.transpose(2, 3) * queries_BATE.shape[3] ** -0.5
        keys_B11T = present_BT[:, None, None, :]
        lowest = torch.finfo(scores_BATT.dtype).min  # not -inf: a row without any modality must not become NaN
        weights_BATT = torch.softmax(scores_BATT.masked_fill(~keys_B11T, lowest), dim=3) * keys_B11T
        states_BTD = states_BTD + self.output(
            (weights_BATT.to(values_BATE.dtype) @ values_BATE).transpose(1, 2).flatten(2)
        )
        hidden = functional.gelu(self.inner(self.before_perceptron(states_BTD)))
        return states_BTD + self.outer(hidden), weights_BATT


class CrossModalTransformer(nn.Module):
    """Fuses states by transformer layers; the fused state is the mean of the modalities' in the view.

    A modality counts once, however many vectors it has.

    Raises:
        ValueError: the attention heads do not divide the dimension.
    """

    def __init__(self, dimension: int, tokens: Mapping[Modality, int], layers: int, heads: int) -> None:
        super().__init__()
        if dimension % heads:
            raise ValueError(f"{heads} attention heads do not divide {dimension} values")
        modality = [m for m, name in enumerate(MODALITIES) for _ in range(tokens[name])]
        place = [place for name in MODALITIES for place in range(tokens[name])]
        share = [1 / tokens[MODALITIES[m]] for m in modality]
        self.register_buffer("modality_T", torch.tensor(modality), persistent=False)
        self.register_buffer("place_T", torch.tensor(place), persistent=False)
        self.register_buffer("share_T", torch.tensor(share), persistent=False)
        self.modalities = nn.Parameter(torch.randn(len(MODALITIES), dimension) * EMBEDDING_SPREAD)
        self.places = nn.Parameter(torch.randn(max(tokens.values()), dimension) * EMBEDDING_SPREAD)
        self.layers = nn.ModuleList(Layer(dimension, heads, layers) for _ in range(layers))
        self.norm = nn.LayerNorm(dimension)

    modality_T: Tensor
    place_T: Tensor
    share_T: Tensor

    def forward(self, states_BTD: Tensor, views_BSM: Tensor) -> Tensor:
        """Return fused states (B, S, D) of S views of the same states; not normalised."""
        rows, views = views_BSM.shape[:2]
        spread = states_BTD[:, None].expand(-1, views, -1, -1).flatten(0, 1)
        return self._run(spread, views_BSM.flatten(0, 1))[0].unflatten(0, (rows, views))

    def attention(self, states_BTD: Tensor, view_BM: Tensor) -> Tensor:
        """Return the weights of the same pass, (layers, B, A, T, T); rows of what is not in the view are zeros."""
        asking_BT = view_BM[:, self.modality_T]
        return torch.stack(self._run(states_BTD, view_BM)[1]) * asking_BT[None, :, None, :, None]

    def _run(self, states_BTD: Tensor, view_BM: Tensor) -> tuple[Tensor, list[Tensor]]:
        present_BT = view_BM[:, self.modality_T]
        states_BTD = states_BTD + self.modalities[self.modality_T] + self.places[self.place_T]
        weights = []
        for layer in self.layers:
            states_BTD, found = layer(states_BTD, present_BT)
            weights.append(found)
        shares_BT = present_BT * self.share_T
        fused_BD = (shares_BT[:, None, :] @ self.norm(states_BTD).to(shares_BT.dtype))[:, 0]
        return fused_BD / view_BM.sum(dim=1, keepdim=True).clamp(min=1), weights
