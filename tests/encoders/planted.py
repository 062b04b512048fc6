"""Records whose modalities say the same thing in different spaces, so that what training must find is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trichord.encoders.base import Modality
from trichord.encoders.frozen import Encoders
from trichord.encoders.views import MODALITIES, Features
from trichord.infra import digest
from trichord.infra.config import ModelConfig

DIMENSION = 24
MODEL = ModelConfig(dimension=16, hidden=32)


@dataclass(frozen=True)
class Planted:
    """Stands where an encoder stands; its features are drawn, never encoded."""

    modality: Modality
    dimension: int = DIMENSION
    tokens: int = 1

    @property
    def fingerprint(self) -> str:
        return digest.address("planted", self.modality, self.dimension, self.tokens)

    def encode(self, inputs: Sequence[object]) -> np.ndarray:
        raise AssertionError("planted features are not encoded")


ENCODERS = Encoders({name: Planted(name) for name in MODALITIES})


def planted(rows: int, seed: int, *, captions: int = 2, noise: float = 0.1) -> Features:
    """Records of 8 hidden values seen through a fixed map of each modality, with `captions` further wordings."""
    maps = {name: digest.generator("map", name).normal(size=(8, DIMENSION)) for name in MODALITIES}
    rng = digest.generator("planted", seed)
    hidden = rng.normal(size=(rows, 8))

    def seen(name: Modality, values: np.ndarray) -> np.ndarray:
        return (np.tanh(values @ maps[name]) + noise * rng.normal(size=(len(values), DIMENSION))).astype(np.float32)

    return Features(
        values={name: seen(name, hidden) for name in MODALITIES},
        present=np.ones((rows, 3), dtype=bool),
        captions=seen("text", np.repeat(hidden, captions, axis=0)),
        offsets=np.arange(rows + 1, dtype=np.int64) * captions,
    )


def without(features: Features, absent: np.ndarray, *, captions: bool = True) -> Features:
    """The same records lacking the modalities that `absent`, bool (N, 3), marks, with garbage in their place."""
    values = {name: np.where(absent[:, m, None], np.nan, features.values[name]) for m, name in enumerate(MODALITIES)}
    kept = features.offsets if captions else np.zeros_like(features.offsets)
    return Features(
        values={name: found.astype(np.float32) for name, found in values.items()},
        present=features.present & ~absent,
        captions=features.captions[: kept[-1]],
        offsets=kept,
    )
