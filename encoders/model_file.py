"""`model.json`: what is known of a trained model without loading it. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TypedDict, cast

from trichord.infra.json_values import JsonObject, parse_object

NAME = "model.json"
MAX_BYTES = 16 << 20
MODEL_FORMAT = 3
Lines = Mapping[str, Mapping[str, list[float]]]  # as `Calibration.to_json` returns them


class _Json(TypedDict):
    format: int
    fingerprint: str
    dimension: int
    encoders: dict[str, str]
    config: JsonObject
    calibration: Lines | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """The content of `model.json`.

    Attributes:
        fingerprint: of the model, and so of the space of its vectors.
        dimension: values of a vector.
        encoders: modality -> fingerprint of its encoder.
        config: the settings `model`, without the places of encoders.
        calibration: lines of the calibration; None where there is none.
        format: of the model, which its fingerprint depends on.
    """

    fingerprint: str
    dimension: int
    encoders: Mapping[str, str]
    config: JsonObject
    calibration: Lines | None
    format: int = MODEL_FORMAT

    def to_bytes(self) -> bytes:
        """Return the file's bytes."""
        return (json.dumps(asdict(self), indent=2, sort_keys=True) + "\n").encode()

    @classmethod
    def parse(cls, data: bytes) -> ModelFile:
        """Parse the file's bytes. Raise KeyError, TypeError or ValueError where they are something else."""
        stored = cast(_Json, parse_object(data))
        return cls(
            fingerprint=stored["fingerprint"],
            dimension=stored["dimension"],
            encoders=dict(stored["encoders"]),
            config=stored["config"],
            calibration=stored.get("calibration"),
            format=stored["format"],
        )
