"""What an encoder of one modality is: the one interface that `FusionModel` knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

Modality = Literal["text", "image", "audio"]

AUDIO_RATE_HZ = 16_000  # every audio encoder is handed mono sound at this rate
OUTLIER = 10.0  # standard deviations at which a feature is cut off: no single value may drown the others
GATE_WIDTH = 64  # of gated attention


class Encoder(Protocol):
    """Turns inputs of one modality into feature vectors.

    Inputs are `str` (text), uint8 (H, W, 3) RGB arrays (image) or float32 (T,) arrays in [-1, 1] at `AUDIO_RATE_HZ`
    (audio). A vector depends on its own input alone, never on the others of the call, and is finite.
    An encoder is picklable and cheap to construct: weights are loaded at the first `encode`.
    """

    @property
    def modality(self) -> Modality:
        """The modality that it reads."""
        ...

    @property
    def dimension(self) -> int:
        """Values of a feature vector: `tokens` vectors of equal width, end to end."""
        ...

    @property
    def tokens(self) -> int:
        """Vectors that an input gives; 1 for most."""
        ...

    @property
    def fingerprint(self) -> str:
        """Digest of everything that shapes its output: algorithm, settings, weights, tokenizer; never a path."""
        ...

    def encode(self, inputs: Sequence[Any]) -> np.ndarray:
        """Return features, float32 (N, dimension), of N inputs."""
        ...
