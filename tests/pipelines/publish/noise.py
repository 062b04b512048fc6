"""Encoders that know nothing: a vector drawn by the digest of its input, alike for no two inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from trichord.infra.digest import generator


class Noise:
    """Vectors without any sense, of the modality that it is set as."""

    dimension, tokens = 32, 1

    def __init__(self, modality: str) -> None:
        self.modality = modality
        self.fingerprint = hashlib.sha256(f"noise {modality}".encode()).hexdigest()

    def encode(self, inputs: Sequence[Any]) -> np.ndarray:
        """Return float32 (N, 32)."""
        drawn = [generator("noise", self.modality, _bytes(one)).normal(size=self.dimension) for one in inputs]
        return np.array(drawn, np.float32).reshape(-1, self.dimension)


def _bytes(one: Any) -> str:
    if isinstance(one, str):
        return hashlib.sha256(one.encode()).hexdigest()
    values = getattr(one, "samples", getattr(one, "pixels", one))
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
