"""Heads: features of a modality to states in the one space that a fusion works in.

Shape letters: R rows, F values of an input's features, T vectors an input gives, H hidden values, D values of a state.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trichord.encoders.base import OUTLIER


@dataclass(frozen=True, slots=True, eq=False)
class FeatureStats:
    """Mean and spread of each feature over the training set, float32 (F,); a head starts from them."""

    mean: np.ndarray
    spread: np.ndarray

    @classmethod
    def of_sums(cls, rows: int, total: np.ndarray, squares: np.ndarray) -> FeatureStats:
        """Compute them from float64 sums of values and of squares over `rows` rows.

        A feature that hardly ever differs from its mean would be blown up by its tiny spread: none is taken for less
        than a tenth of the typical one.
        """
        mean = total / max(rows, 1)
        spread = np.sqrt(np.maximum(squares / max(rows, 1) - mean * mean, 0))
        typical = float(np.sqrt(np.mean(spread * spread))) or 1.0
        return cls(mean.astype(np.float32), np.maximum(spread, 0.1 * typical).astype(np.float32))


class Head(nn.Module):
    """Features (R, F) to states (R, T, D): standardised, then a linear map plus a two-layer perceptron of each vector.

    Raises:
        ValueError: the features do not divide into `tokens` vectors.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, features: int, tokens: int, hidden: int, dimension: int) -> None:
        super().__init__()
        if features % tokens:
            raise ValueError(f"{features} values are not {tokens} vectors of one width")
        self.tokens, self.hidden = tokens, hidden
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.inner = nn.Linear(features // tokens, hidden + dimension)  # the first layer, and the linear map beside it
        self.norm = nn.LayerNorm(hidden)
        self.outer = nn.Linear(hidden, dimension, bias=False)

    def standardise(self, stats: FeatureStats) -> None:
        """Take over the training set's statistics."""
        self.mean.copy_(torch.from_numpy(stats.mean))
        self.spread.copy_(torch.from_numpy(stats.spread))

    def forward(self, features_RF: Tensor, gains_RTH: Tensor | None = None) -> Tensor:
        """Return states; `gains_RTH` multiply the hidden values (dropout: 0 or 1 / share kept)."""
        standard = (features_RF - self.mean).div_(self.spread).clamp_(-OUTLIER, OUTLIER)
        standard = standard.unflatten(1, (self.tokens, -1))
        hidden, direct = self.inner(standard).tensor_split([self.hidden], dim=2)
        hidden = functional.gelu(self.norm(hidden))
        if gains_RTH is not None:
            hidden = hidden * gains_RTH
        return self.outer(hidden) + direct
