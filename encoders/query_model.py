"""A trained model that embeds queries by NumPy: importing torch takes longer than a query.

It computes what `FusionNetwork` computes, in float64 and rounded once, so its vectors are within 1e-6 of those in the
index. Shape letters: N rows, M modalities, F values of features, T vectors an input gives, D values of a vector.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from trichord.encoders.base import GATE_WIDTH, OUTLIER, Modality
from trichord.encoders.calibration import Calibration
from trichord.encoders.stored_model import StoredModel, read_model
from trichord.encoders.views import MODALITIES, Features, View, present_of
from trichord.infra.config import ModelConfig
from trichord.transforms.batch import Batch

_NORM_EPSILON = 1e-5  # torch's LayerNorm
_LEAST_LENGTH = 1e-12  # torch's `normalize`
_erf = np.frompyfunc(math.erf, 1, 1)


class Embedder(Protocol):
    """What a search needs of a model: `FusionModel` and `QueryModel` have it."""

    @property
    def fingerprint(self) -> str:
        """Of the space of its vectors."""
        ...

    @property
    def calibration(self) -> Calibration | None:
        """Of its cosines, if it has one."""
        ...

    def featurise(self, batch: Batch) -> Features:
        """Return what the frozen encoders make of N rows."""
        ...

    def embed(self, features: Features, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Return vectors of one view, float32 (N, D), and bool (N,); see `FusionModel.embed`."""
        ...

    def encode(self, batch: Batch, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Embed a batch: `embed` of its features."""
        ...


def load_embedder(folder: str, places: ModelConfig | None = None, *, expected: str | None = None) -> Embedder:
    """Read a model for queries. Arguments and errors are those of `read_model`."""
    stored = read_model(folder, places, expected=expected)
    if stored.config.fusion != "transformer":
        return QueryModel(stored)
    from trichord.encoders.model import FusionModel  # imports torch

    return FusionModel.of(stored)


class QueryModel:
    """Embeds any view of queries, as `FusionModel` does; it has no transformer.

    Raises:
        StorageError: the weights do not fit the settings.
    """

    def __init__(self, stored: StoredModel) -> None:
        self.fingerprint, self.encoders, self.calibration = stored.fingerprint, stored.encoders, stored.calibration
        self._fusion, self._hidden, self._stored = stored.config.fusion, stored.config.hidden, stored.weights
        self._exact: dict[str, np.ndarray] = {}  # weights in float64, where one was needed
        shapes = {name: values.shape for name, values in stored.weights.items()}
        wanted = _shapes(stored)
        if wrong := sorted(name for name in {*shapes, *wanted} if shapes.get(name) != wanted.get(name)):
            raise stored.unreadable(
                ValueError(f"{wrong[0]} is {shapes.get(wrong[0])} and should be {wanted.get(wrong[0])}")
            )

    def featurise(self, batch: Batch) -> Features:
        """Return what the frozen encoders make of N rows and their captions."""
        return self.encoders.featurise(batch)

    def encode(self, batch: Batch, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Embed a batch: `embed` of its features."""
        return self.embed(self.featurise(batch), view)

    def embed(self, features: Features, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Embed one view of N records: the fusion of those of its modalities that a record has.

        Returns:
            Vectors, float32 (N, D), L2-normalised, and bool (N,), True where the record has a modality of the view.
            Where it has none the vector is all zeros.

        Raises:
            ValueError: no such view, or features of another width.
        """
        there_NM = present_of(features, view)
        dimension = len(self._of("heads.text.outer.weight"))
        states_NMD = np.zeros((*there_NM.shape, dimension))
        for m, name in enumerate(MODALITIES):
            if there_NM[:, m].any():
                states_NMD[there_NM[:, m], m] = self._state(name, features.values[name][there_NM[:, m]])
        if self._fusion == "concatenation":
            fused_ND = self._concatenated(states_NMD, there_NM)
        else:
            fused_ND = self._attended(states_NMD, there_NM)
        fused_ND *= there_NM.any(axis=1, keepdims=True)
        fused_ND /= np.maximum(np.linalg.norm(fused_ND, axis=1, keepdims=True), _LEAST_LENGTH)
        return fused_ND.astype(np.float32), np.asarray(there_NM.any(axis=1))

    def _of(self, name: str) -> np.ndarray:
        """Return a weight in float64."""
        if name not in self._exact:
            self._exact[name] = self._stored[name].astype(np.float64)
        return self._exact[name]

    def _linear(self, name: str, values: np.ndarray, *, bias: bool = True) -> np.ndarray:
        made = values @ self._of(f"{name}.weight").T
        return np.asarray(made + self._of(f"{name}.bias") if bias else made)

    def _activated(self, norm: str, values: np.ndarray) -> np.ndarray:
        """Return GELU of LayerNorm."""
        centred = values - values.mean(axis=-1, keepdims=True)
        spread = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + _NORM_EPSILON)
        normal = centred / spread * self._of(f"{norm}.weight") + self._of(f"{norm}.bias")
        return np.asarray(normal * 0.5 * (1 + _erf(normal * math.sqrt(0.5)).astype(np.float64)))

    def _state(self, modality: Modality, features_NF: np.ndarray) -> np.ndarray:
        """Return states (N, D) of one modality: the mean over the vectors of an input (`heads.Head`)."""
        head, width = f"heads.{modality}", self._stored[f"heads.{modality}.mean"].size
        if features_NF.shape[1] != width:
            raise ValueError(f"{modality} features have {features_NF.shape[1]} values, this model takes {width}")
        standard = (features_NF - self._of(f"{head}.mean")) / self._of(f"{head}.spread")
        vectors = self._stored[f"{head}.inner.weight"].shape[1]
        standard_NTF = np.clip(standard, -OUTLIER, OUTLIER).reshape(len(standard), -1, vectors)
        inner = self._linear(f"{head}.inner", standard_NTF)
        hidden, direct = inner[..., : self._hidden], inner[..., self._hidden :]
        states = self._linear(f"{head}.outer", self._activated(f"{head}.norm", hidden), bias=False) + direct
        return np.asarray(states.mean(axis=1))

    def _attended(self, states_NMD: np.ndarray, there_NM: np.ndarray) -> np.ndarray:
        """Return `fusion.GatedAttention` of the states."""
        gate = np.exp(-np.logaddexp(0, -self._linear("fusion.gate", states_NMD)))  # the sigmoid
        gated = np.tanh(self._linear("fusion.content", states_NMD)) * gate
        scores_NM = self._linear("fusion.score", gated, bias=False)[..., 0]
        scores_NM = np.where(there_NM, scores_NM, -np.inf).clip(min=np.finfo(np.float32).min)
        weights_NM = np.exp(scores_NM - scores_NM.max(axis=1, keepdims=True)) * there_NM
        shares_NM = weights_NM / np.maximum(weights_NM.sum(axis=1, keepdims=True), _LEAST_LENGTH)
        return np.asarray((shares_NM[:, None, :] @ states_NMD)[:, 0])

    def _concatenated(self, states_NMD: np.ndarray, there_NM: np.ndarray) -> np.ndarray:
        """Return `fusion.Concatenation` of the states."""
        given = np.concatenate([states_NMD, there_NM[..., None]], axis=2).reshape(len(states_NMD), -1)
        mean_ND = states_NMD.sum(axis=1) / np.maximum(there_NM.sum(axis=1, keepdims=True), 1)
        hidden = self._activated("fusion.norm", self._linear("fusion.inner", given))
        return np.asarray(self._linear("fusion.outer", hidden) + mean_ND)


def _shapes(stored: StoredModel) -> dict[str, tuple[int, ...]]:
    """Return the shapes that the weights of `FusionNetwork` have."""
    hidden, dimension = stored.config.hidden, stored.config.dimension
    found: dict[str, tuple[int, ...]] = {}
    for name in MODALITIES:
        width, head = stored.encoders.dimensions[name], f"heads.{name}"
        found |= {f"{head}.mean": (width,), f"{head}.spread": (width,)}
        found |= _linear_shapes(f"{head}.inner", width // stored.encoders.tokens[name], hidden + dimension)
        found |= {f"{head}.norm.weight": (hidden,), f"{head}.norm.bias": (hidden,)}
        found |= {f"{head}.outer.weight": (dimension, hidden)}
    if stored.config.fusion == "concatenation":
        found |= _linear_shapes("fusion.inner", len(MODALITIES) * (dimension + 1), hidden)
        found |= {"fusion.norm.weight": (hidden,), "fusion.norm.bias": (hidden,)}
        return found | _linear_shapes("fusion.outer", hidden, dimension)
    found |= _linear_shapes("fusion.content", dimension, GATE_WIDTH)
    found |= _linear_shapes("fusion.gate", dimension, GATE_WIDTH)
    return found | {"fusion.score.weight": (1, GATE_WIDTH)}


def _linear_shapes(name: str, taken: int, given: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (given, taken), f"{name}.bias": (given,)}
