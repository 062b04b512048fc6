"""Heads that bring features of each modality into one space, and the gated attention that makes one vector of several.

Shape letters: B rows, M modalities, D values of a vector. Absent modalities are masked, never imputed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.base import Modality
from encoders.views import MODALITIES

GATE_WIDTH = 64
OUTLIER = 10.0  # standard deviations at which a feature is cut off: no single value may drown the others


@dataclass(frozen=True, slots=True, eq=False)
class FeatureStats:
    """Mean and spread of each feature over the training set, float32 (D_m,); a head starts from them."""

    mean: np.ndarray
    spread: np.ndarray

    @classmethod
    def of_sums(cls, rows: int, total: np.ndarray, squares: np.ndarray) -> FeatureStats:
        """From float64 sums of values and of squares over `rows` rows.

        A feature that hardly ever differs from its mean would be blown up by its tiny spread: none is taken for less
        than a tenth of the typical one.
        """
        mean = total / max(rows, 1)
        spread = np.sqrt(np.maximum(squares / max(rows, 1) - mean * mean, 0))
        typical = float(np.sqrt(np.mean(spread * spread))) or 1.0
        return cls(mean.astype(np.float32), np.maximum(spread, 0.1 * typical).astype(np.float32))


class Head(nn.Module):
    """Features (B, D_m) to a token (B, D): standardised, then a linear map plus a two-layer perceptron."""

    mean: Tensor
    spread: Tensor

    def __init__(self, features: int, hidden: int, dimension: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.inner = nn.Linear(features, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)
        self.outer = nn.Linear(hidden, dimension)
        self.direct = nn.Linear(features, dimension, bias=False)

    def forward(self, features_BF: Tensor) -> Tensor:
        standard = ((features_BF - self.mean) / self.spread).clamp(-OUTLIER, OUTLIER)
        hidden = functional.gelu(self.norm(self.inner(standard)))
        return self.outer(self.dropout(hidden)) + self.direct(standard)


class GatedAttention(nn.Module):
    """Softmax over the tokens present of w · (tanh(V t) * sigmoid(U t)) (Ilse et al., arXiv 1802.04712, eq. 9)."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.content = nn.Linear(dimension, GATE_WIDTH)
        self.gate = nn.Linear(dimension, GATE_WIDTH)
        self.score = nn.Linear(GATE_WIDTH, 1)

    def forward(self, tokens_BMD: Tensor, present_BM: Tensor) -> Tensor:
        scores = self.score(torch.tanh(self.content(tokens_BMD)) * torch.sigmoid(self.gate(tokens_BMD)))[..., 0]
        lowest = torch.finfo(scores.dtype).min  # not -inf: a row without any modality must not become NaN
        return torch.softmax(scores.masked_fill(~present_BM, lowest), dim=1) * present_BM


class FusionNetwork(nn.Module):
    """The trained part of a model: one head a modality and their fusion."""

    def __init__(self, features: Mapping[Modality, int], hidden: int, dimension: int, dropout: float = 0.0) -> None:
        super().__init__()
        heads: dict[str, nn.Module] = {name: Head(features[name], hidden, dimension, dropout) for name in MODALITIES}
        self.heads = nn.ModuleDict(heads)
        self.attention = GatedAttention(dimension)
        self.dimension = dimension

    def standardise(self, stats: Mapping[Modality, FeatureStats]) -> None:
        """Take over the training set's statistics."""
        for name, found in stats.items():
            self._head(name).mean.copy_(torch.from_numpy(found.mean))
            self._head(name).spread.copy_(torch.from_numpy(found.spread))

    def token(self, modality: Modality, features_BF: Tensor) -> Tensor:
        """Token (B, D) of one modality; not normalised."""
        token: Tensor = self._head(modality)(features_BF)
        return token

    def _head(self, modality: Modality) -> Head:
        head = self.heads[modality]
        assert isinstance(head, Head)
        return head

    def fuse(self, tokens_BMD: Tensor, view_BM: Tensor) -> Tensor:
        """L2-normalised vectors (B, D) of the modalities in `view_BM` (bool); others are ignored, even NaN.

        A row without any modality is all zeros. A view of one modality is its token, normalised.
        """
        tokens_BMD = torch.where(view_BM[..., None], tokens_BMD, torch.zeros_like(tokens_BMD))
        weights_BM = self.attention(tokens_BMD, view_BM)
        return functional.normalize((weights_BM[..., None] * tokens_BMD).sum(dim=1), dim=1)

    def forward(self, features: Mapping[Modality, Tensor], view_BM: Tensor) -> Tensor:
        """Vectors (B, D) of views; features of a modality that no row of the view has may be left out."""
        blank = torch.zeros(len(view_BM), self.dimension, device=view_BM.device)
        tokens = []
        for m, name in enumerate(MODALITIES):
            if name in features:
                # masked here as well, so that what stands in an absent modality's features cannot reach anything
                given = torch.where(view_BM[:, m, None], features[name], torch.zeros_like(features[name]))
                tokens.append(self.token(name, given))
            else:
                tokens.append(blank)
        return self.fuse(torch.stack(tokens, dim=1), view_BM)
