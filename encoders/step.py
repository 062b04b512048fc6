"""A training step in two halves: everything random in it is drawn first, then vectors of any slice of it are computed.

With the plan any part of the batch can be encoded, in one pass or several, here or in another process, to the same
vectors. Shape letters: B records, n of them in a slice, M modalities, G galleries, T vectors an input gives,
H hidden values, S = M + G vectors of a record: its modalities alone, then its views in the galleries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trichord.encoders.base import Modality
from trichord.encoders.data import Rows, TrainingData
from trichord.encoders.fusion import FusionNetwork
from trichord.encoders.views import MODALITIES, Drawn

_FINE = 1 << 16  # steps in which a share is drawn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepPlan:
    """All that is drawn for a step.

    Attributes:
        rows: the records.
        galleries: views in which they are found, and from which they are asked for.
        draws: float32 (pairs of modalities, 2, B), uniform in [0, 1): the random negatives of each; may be empty.
        kept: modality -> bool (B, T, H), hidden values that dropout leaves; "again" for the texts' other wordings;
            empty without dropout.
        dropout: share of hidden values that are dropped.
    """

    rows: Rows
    galleries: tuple[Drawn, ...]
    draws: np.ndarray
    kept: Mapping[str, np.ndarray]
    dropout: float

    def gains(self, kind: str, of_B: np.ndarray) -> Tensor | None:
        """Return factors of the hidden values of the given records, float32 (R, T, H)."""
        if not self.kept:
            return None
        return torch.from_numpy(self.kept[kind][of_B]) / (1 - self.dropout)


def draw_kept(
    network: FusionNetwork, rows: Rows, dropout: float, rng: np.random.Generator, *, reworded: bool
) -> dict[str, np.ndarray]:
    """Return dropout masks of a step. What no record of the batch has is not drawn."""
    if dropout == 0:
        return {}
    wanted: dict[str, Modality] = {name: name for m, name in enumerate(MODALITIES) if rows.present[:, m].any()}
    if reworded and (rows.counts > 1).any():
        wanted["again"] = "text"
    limit = round(dropout * _FINE)
    kept = {}
    for kind, name in wanted.items():
        head = network.head(name)
        drawn = np.frombuffer(rng.bytes(2 * len(rows) * head.tokens * head.hidden), np.uint16)
        kept[kind] = (drawn >= limit).reshape(len(rows), head.tokens, head.hidden)
    return kept


def represent(network: FusionNetwork, data: TrainingData, plan: StepPlan, part: slice) -> Tensor:
    """Return vectors (n, S, D) of a slice of the step's records, L2-normalised; zeros where a record lacks the view."""
    present_nM = plan.rows.present[part]
    states = {name: _states(network, data, plan, part, name) for name in MODALITIES}
    asking_nTD = torch.cat([states[name] for name in MODALITIES], dim=1)
    alone_nMM = torch.from_numpy(present_nM[:, None, :] & np.eye(len(MODALITIES), dtype=bool))
    vectors = [network.fuse(asking_nTD, alone_nMM)]
    if plan.galleries:
        states["text"] = _reworded(network, data, plan, part, states["text"])
        standing_nTD = torch.cat([states[name] for name in MODALITIES], dim=1)
        views_nGM = np.stack([gallery.gallery_BM[part] for gallery in plan.galleries], axis=1)
        vectors.append(network.fuse(standing_nTD, torch.from_numpy(views_nGM)))
    return torch.cat(vectors, dim=1)


def _states(network: FusionNetwork, data: TrainingData, plan: StepPlan, part: slice, name: Modality) -> Tensor:
    """Return states (n, T_m, D) of one modality, zeros where it is absent: a head sees only what is there."""
    places_n = plan.rows.places[name][part]
    there = np.flatnonzero(places_n >= 0)
    if not len(there):
        return network.blank(name, len(places_n))
    found = network.state(name, _read(data, name, places_n[there]), plan.gains(name, part.start + there))
    if len(there) == len(places_n):
        return found
    return found.new_zeros(len(places_n), *found.shape[1:]).index_copy(0, torch.from_numpy(there), found)


def _reworded(network: FusionNetwork, data: TrainingData, plan: StepPlan, part: slice, first_nTD: Tensor) -> Tensor:
    """Return states of the texts' other wordings; of the only wording where there is no other."""
    several = np.flatnonzero(plan.rows.counts[part] > 1)
    if not len(several):
        return first_nTD
    features = _read(data, "text", plan.rows.rewording[part][several])
    found = network.state("text", features, plan.gains("again", part.start + several))
    return first_nTD.index_copy(0, torch.from_numpy(several), found)


def _read(data: TrainingData, name: Modality, places: np.ndarray) -> Tensor:
    return torch.from_numpy(data.read(name, places)).float()  # several times faster than numpy's cast
