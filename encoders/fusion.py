"""Fusion of any subset of a record's modalities into one vector: gated attention, concatenation or a transformer.

Shape letters: B rows, S views of one record, M modalities, T positions (one a modality, or one a vector of each), D
values of a state. Absent modalities are masked, never imputed: their content, NaN included, reaches nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trichord.encoders.base import GATE_WIDTH, Modality
from trichord.encoders.heads import FeatureStats, Head
from trichord.encoders.transformer import CrossModalTransformer
from trichord.encoders.views import MODALITIES
from trichord.infra.config import ModelConfig


@dataclass(frozen=True, slots=True, eq=False)
class AttentionMaps:
    """Who attended to whom: `weights` float32 (layers, N, heads, T, T) and what is at each of the T positions."""

    weights: np.ndarray
    positions: tuple[Modality, ...]


class GatedAttention(nn.Module):
    """Softmax over the states present of w · (tanh(V t) * sigmoid(U t)) (Ilse et al., arXiv 1802.04712, eq. 9)."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.content = nn.Linear(dimension, GATE_WIDTH)
        self.gate = nn.Linear(dimension, GATE_WIDTH)
        self.score = nn.Linear(GATE_WIDTH, 1, bias=False)  # softmax knows no common shift

    def forward(self, states_BMD: Tensor, views_BSM: Tensor) -> Tensor:
        """Return weighted means (B, S, D); a view of one modality is its state."""
        if not bool((views_BSM.sum(dim=2) > 1).any()):  # nothing to weigh: the softmax below is exactly 1
            return views_BSM.to(states_BMD.dtype) @ states_BMD
        scores_BM = self.score(torch.tanh(self.content(states_BMD)) * torch.sigmoid(self.gate(states_BMD)))[..., 0]
        lowest = torch.finfo(scores_BM.dtype).min  # not -inf: a row without any modality must not become NaN
        weights_BSM = torch.softmax(scores_BM[:, None].masked_fill(~views_BSM, lowest), dim=2) * views_BSM
        return weights_BSM @ states_BMD.to(weights_BSM.dtype)


class Concatenation(nn.Module):
    """States side by side, absent ones as zeros, and which are there: a perceptron beside their mean."""

    def __init__(self, dimension: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(len(MODALITIES) * (dimension + 1), hidden)
        self.norm = nn.LayerNorm(hidden)
        self.outer = nn.Linear(hidden, dimension)

    def forward(self, states_BMD: Tensor, views_BSM: Tensor) -> Tensor:
        """Return fused states (B, S, D)."""
        there_BSM1 = views_BSM[..., None].to(states_BMD.dtype)
        states_BSMD = states_BMD[:, None] * there_BSM1
        hidden = self.inner(torch.cat([states_BSMD, there_BSM1], dim=3).flatten(2))
        mean_BSD = states_BSMD.sum(dim=2) / there_BSM1.sum(dim=2).clamp(min=1)
        return self.outer(functional.gelu(self.norm(hidden))) + mean_BSD


class FusionNetwork(nn.Module):
    """The trained part of a model: one head a modality and their fusion.

    Args:
        features: values of each modality's features, `tokens` vectors end to end.
        tokens: vectors of each modality's features.
        config: shape of heads and fusion.

    Raises:
        ValueError: features do not divide into tokens, or the dimension into attention heads.
    """

    def __init__(self, features: Mapping[Modality, int], tokens: Mapping[Modality, int], config: ModelConfig) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {str(name): Head(features[name], tokens[name], config.hidden, config.dimension) for name in MODALITIES}
        )
        self.fusion: GatedAttention | Concatenation | CrossModalTransformer
        self.positions = MODALITIES
        if config.fusion == "transformer":
            self.positions = tuple(name for name in MODALITIES for _ in range(tokens[name]))
            self.fusion = CrossModalTransformer(config.dimension, tokens, config.layers, config.attention_heads)
        elif config.fusion == "concatenation":
            self.fusion = Concatenation(config.dimension, config.hidden)
        else:
            self.fusion = GatedAttention(config.dimension)
        self.dimension = config.dimension

    def head(self, modality: Modality) -> Head:
        """Return the head of a modality."""
        head = self.heads[modality]
        assert isinstance(head, Head)
        return head

    def standardise(self, stats: Mapping[Modality, FeatureStats]) -> None:
        """Take over the training set's statistics."""
        for name, found in stats.items():
            self.head(name).standardise(found)

    def state(self, modality: Modality, features_RF: Tensor, gains_RTH: Tensor | None = None) -> Tensor:
        """Return states (R, T_m, D) of one modality: of every vector for the transformer, else their mean (T_m = 1)."""
        states = self.head(modality)(features_RF, gains_RTH)
        return states if isinstance(self.fusion, CrossModalTransformer) else states.mean(dim=1, keepdim=True)

    def states(self, features: Mapping[Modality, Tensor], view_BM: Tensor) -> Tensor:
        """Return states (B, T, D) of all positions; a modality that no row of the view has may be left out."""
        parts = []
        for m, name in enumerate(MODALITIES):
            if name in features:
                # masked here as well, so that an absent modality's features reach nothing
                given = torch.where(view_BM[:, m, None], features[name], torch.zeros_like(features[name]))
                parts.append(self.state(name, given))
            else:
                parts.append(self.blank(name, len(view_BM)))
        return torch.cat(parts, dim=1)

    def blank(self, modality: Modality, rows: int) -> Tensor:
        """Return states of a modality that no row has: zeros (B, T_m, D)."""
        return self.head(modality).mean.new_zeros(rows, self.positions.count(modality), self.dimension)

    def fuse(self, states_BTD: Tensor, views_BSM: Tensor) -> Tensor:
        """Return L2-normalised vectors (B, S, D) of S views of each row's modalities (bool); others are ignored.

        A view without any modality is all zeros. One modality goes the same way as several.
        """
        return functional.normalize(self._fused(self._masked(states_BTD, views_BSM.any(dim=1)), views_BSM), dim=2)

    def forward(self, features: Mapping[Modality, Tensor], views_BSM: Tensor) -> Tensor:
        """Return vectors (B, S, D) of S views of each row."""
        return self.fuse(self.states(features, views_BSM.any(dim=1)), views_BSM)

    def attention(self, features: Mapping[Modality, Tensor], view_BM: Tensor) -> Tensor:
        """Return attention weights (layers, B, heads, T, T) of the transformer's pass over one view a row.

        Raises:
            ValueError: the fusion is not a transformer.
        """
        if not isinstance(self.fusion, CrossModalTransformer):
            raise ValueError("only the transformer fusion has attention maps: set model.fusion to transformer")
        return self.fusion.attention(self._masked(self.states(features, view_BM), view_BM), view_BM)

    def _masked(self, states_BTD: Tensor, view_BM: Tensor) -> Tensor:
        there_BT = view_BM[:, [MODALITIES.index(name) for name in self.positions]]
        return torch.where(there_BT[..., None], states_BTD, torch.zeros_like(states_BTD))

    def _fused(self, states_BTD: Tensor, views_BSM: Tensor) -> Tensor:
        fused = self.fusion(states_BTD, views_BSM)
        fused = fused.to(torch.promote_types(fused.dtype, torch.float32))  # losses and vectors are float32
        return fused * views_BSM.any(dim=2, keepdim=True)
