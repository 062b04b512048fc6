"""What training minimises: a loss over views of the batch's records, with its learned temperatures and bias.

Shape letters: B records, M modalities, G galleries, S = M + G vectors of a record (encoders/step.py), D values.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from trichord.encoders.data import Rows
from trichord.encoders.fusion import FusionNetwork
from trichord.encoders.losses import contrastive, infonce, mixed_gallery_infonce, sigmoid, supcon, triplet
from trichord.encoders.step import StepPlan, draw_kept
from trichord.encoders.views import MODALITIES, draw_views
from trichord.infra.config import TrainConfig

MAX_SCALE = 100.0  # of CLIP: a temperature below 0.01 overfits to the hardest negative
MARGIN = 0.25  # cosine by which a negative of the query's own kind must stay behind
GALLERIES = 2  # mixed galleries drawn of one batch: the heads' work is shared
SIGMOID_BIAS = -10.0  # of SigLIP: at first nearly every pair is a negative
KINDS = ("own", "other", "fused")  # of a gallery's item, seen from a query

PAIRS = ((0, 1), (0, 2), (1, 2))  # of modalities
PAIR_NAMES = tuple(f"{MODALITIES[left]}-{MODALITIES[right]}" for left, right in PAIRS)


class Objective(nn.Module):
    """The loss of a step. Its parameters are log_scales (1 / temperature) and, of the sigmoid loss, a bias.

    Pairwise losses compare the modalities two by two, each over the records that have both. Temperatures by pair are
    theirs, or those of a query's modality and what the item is to it: `text>own`, `text>other`, `text>fused`.
    """

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        self.mixed = config.loss == "mixed_gallery_infonce"
        self.weights = tuple(config.pair_weights.get(name, 1.0) for name in PAIR_NAMES)
        self.names: tuple[str, ...] = ()
        if config.loss not in ("contrastive", "triplet"):
            self.names = ("all",)
            if config.temperature_by_pair:
                mixed = tuple(f"{name}>{kind}" for name in MODALITIES for kind in KINDS)
                self.names = mixed if self.mixed else PAIR_NAMES
            self.log_scales = nn.Parameter(torch.full((len(self.names),), -math.log(config.temperature)))
        if config.loss == "sigmoid":
            self.bias = nn.Parameter(torch.tensor(SIGMOID_BIAS))

    def plan(self, network: FusionNetwork, rows: Rows, rng: np.random.Generator) -> StepPlan:
        """Draw all that is random in a step over the rows."""
        galleries = GALLERIES if self.mixed else 0
        drawn = tuple(draw_views(rows.present, rows.counts, rng) for _ in range(galleries))
        random = self.config.loss == "triplet" and self.config.triplets == "random"
        draws = rng.random((len(PAIRS) if random else 0, 2, len(rows)), np.float32)
        kept = draw_kept(network, rows, self.config.dropout, rng, reworded=self.mixed)
        return StepPlan(rows=rows, galleries=drawn, draws=draws, kept=kept, dropout=self.config.dropout)

    def scales(self) -> Tensor:
        """Return 1 / temperature, by name."""
        return self.log_scales.exp().clamp(max=MAX_SCALE)

    def learned(self) -> dict[str, float]:
        """Return what the loss has learned so far, for the history: `scale` (by pair: `scale/<pair>`) and `bias`."""
        found: dict[str, float] = {}
        if self.names:
            labels = ["scale"] if self.names == ("all",) else [f"scale/{name}" for name in self.names]
            found |= dict(zip(labels, self.scales().tolist(), strict=True))
        return found | ({"bias": float(self.bias.detach())} if self.config.loss == "sigmoid" else {})

    def forward(self, vectors_BSD: Tensor, plan: StepPlan) -> Tensor:
        """Return the loss of all records' vectors."""
        same = plan.rows.same | plan.rows.same_group if self.config.negatives == "group" else plan.rows.same
        same_BB = torch.from_numpy(same).to(vectors_BSD.device)
        return self._mixed(vectors_BSD, plan, same_BB) if self.mixed else self._pairwise(vectors_BSD, plan, same_BB)

    def _mixed(self, vectors_BSD: Tensor, plan: StepPlan, same_BB: Tensor) -> Tensor:
        modalities = len(MODALITIES)
        queries_BMD, *galleries = vectors_BSD.split([modalities, *[1] * len(plan.galleries)], dim=1)
        weights_MM = np.eye(modalities, dtype=np.float32)
        for (left, right), given in zip(PAIRS, self.weights, strict=True):
            weights_MM[left, right] = weights_MM[right, left] = given
        losses = []
        for gallery_B1D, drawn in zip(galleries, plan.galleries, strict=True):
            view_BM = drawn.gallery_BM
            kin_MB = (view_BM / np.maximum(view_BM.sum(axis=1, keepdims=True), 1)).T.astype(np.float32)
            asked, margin, weight, kind = (
                torch.from_numpy(np.ascontiguousarray(found)).to(vectors_BSD.device)
                for found in (drawn.asked_MB, MARGIN * kin_MB, weights_MM @ kin_MB, _kinds(view_BM))
            )
            scale = self.scales()
            scale = scale.view(modalities, len(KINDS)).gather(1, kind) if self.config.temperature_by_pair else scale[0]
            queries_MBD, gallery_BD = queries_BMD.transpose(0, 1), gallery_B1D[:, 0]
            losses.append(mixed_gallery_infonce(queries_MBD, asked, gallery_BD, scale, same_BB, margin, weight))
        return torch.stack(losses).mean()

    def _pairwise(self, vectors_BSD: Tensor, plan: StepPlan, same_BB: Tensor) -> Tensor:
        present_BM, total, weights = plan.rows.present, vectors_BSD.sum() * 0, 0.0
        for number, ((left, right), weight) in enumerate(zip(PAIRS, self.weights, strict=True)):
            both = present_BM[:, left] & present_BM[:, right]
            if both.sum() < 2 or weight == 0:  # one record alone has no negative to learn from
                continue
            at = torch.from_numpy(np.flatnonzero(both)).to(vectors_BSD.device)
            draws = torch.from_numpy(plan.draws[number][:, both]).to(at.device) if len(plan.draws) else None
            found = self._pair(number, vectors_BSD[at, left], vectors_BSD[at, right], same_BB[at][:, at], draws)
            total, weights = total + weight * found, weights + weight
        return total / weights if weights else total

    def _pair(self, number: int, left: Tensor, right: Tensor, same: Tensor, draws: Tensor | None) -> Tensor:
        config = self.config
        if config.loss == "contrastive":
            return contrastive(left, right, config.margin, same)
        if config.loss == "triplet":
            return triplet(left, right, config.margin, config.triplets, same, draws)
        scale = self.scales()[number if config.temperature_by_pair else 0]
        if config.loss == "sigmoid":
            return sigmoid(left, right, scale, self.bias, same)
        return infonce(left, right, scale, same) if config.loss == "infonce" else supcon(left, right, scale, same)


def _kinds(view_BM: np.ndarray) -> np.ndarray:
    """Return the place in KINDS of each record's gallery item, seen from a query of each modality, int64 (M, B)."""
    several_B = view_BM.sum(axis=1) > 1
    return np.where(several_B, KINDS.index("fused"), np.where(view_BM.T, KINDS.index("own"), KINDS.index("other")))
