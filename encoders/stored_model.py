"""A model's folder, read and proved to be what was saved before an encoder is constructed. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from trichord.encoders import model_file
from trichord.encoders.base import Encoder, Modality
from trichord.encoders.calibration import Calibration
from trichord.encoders.frozen import Encoders, encoders_fingerprint
from trichord.encoders.located import Located, read_hints
from trichord.encoders.model_file import MODEL_FORMAT, ModelFile
from trichord.encoders.views import MODALITIES
from trichord.infra import digest
from trichord.infra.config import ModelConfig
from trichord.infra.errors import FingerprintMismatch, StorageError
from trichord.infra.regular_file import read_regular

WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredModel:
    """The content of a model's folder.

    Attributes:
        folder: where it was read.
        fingerprint: of the model, proved.
        config: the settings that it was made with.
        encoders: those that it was trained with, proved by their fingerprints.
        weights: of heads and fusion, by name.
        calibration: of its cosines, if it has one.
    """

    folder: str
    fingerprint: str
    config: ModelConfig
    encoders: Encoders
    weights: Mapping[str, np.ndarray]
    calibration: Calibration | None

    def unreadable(self, error: Exception) -> StorageError:
        """Return the error of weights that do not fit the settings."""
        return _unreadable(self.folder, error)


def read_model(
    folder: str,
    places: ModelConfig | None = None,
    *,
    plugins: Mapping[Modality, Encoder] | None = None,
    expected: str | None = None,
) -> StoredModel:
    """Read a model and prove that it is the one that was saved, before any of its encoders is constructed.

    No file of the folder decides what code runs: a plug-in is constructed only as `places` names it, or given.

    Args:
        folder: as `FusionModel.save` wrote it.
        places: a project's settings: which plug-ins may run, and where encoders are before `places.json` is asked.
        plugins: encoders that the caller constructed, by modality.
        expected: the fingerprint that the model must have; None takes any.

    Raises:
        ConfigError: an encoder's folder is at none of these places, or a plug-in is neither named by `places`
            nor given.
        FingerprintMismatch: it is another model than `expected`; or a weight, a setting or an encoder differs from
            what was saved.
        StorageError: a file is missing or cannot be read.
    """
    source = Path(folder)
    try:
        stored = ModelFile.parse(read_regular(source / model_file.NAME, model_file.MAX_BYTES))
        config = ModelConfig.model_validate(stored.config)
        weights = load_file(source / WEIGHTS)
        calibration = Calibration.from_json(stored.calibration) if stored.calibration is not None else None
        hints = read_hints(source)
        tokens, named = _tokens_of(weights), encoders_fingerprint(stored.encoders)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise _unreadable(folder, error) from error
    if expected is not None and stored.fingerprint != expected:
        raise FingerprintMismatch(
            f"The model in {folder} has fingerprint {stored.fingerprint}, expected {expected}.\n"
            "Vectors of different models cannot be compared. Use the model that the index was built with."
        )
    made = model_fingerprint(config, named, tokens, weights, calibration)
    if made != stored.fingerprint:
        raise FingerprintMismatch(
            f"The model in {folder} was saved as {stored.fingerprint}, but its files make {made}: "
            "its weights or settings were changed.\nRun `trichord recover`."
        )
    found = Located(folder=folder, config=config, places=places, hints=hints, plugins=plugins or {})
    return StoredModel(
        folder=folder,
        fingerprint=made,
        config=config,
        encoders=found.encoders(stored.encoders),
        weights=weights,
        calibration=calibration,
    )


def model_fingerprint(
    config: ModelConfig,
    encoders: str,
    tokens: Mapping[Modality, int],
    weights: Mapping[str, np.ndarray],
    calibration: Calibration | None,
) -> str:
    """Return a model's fingerprint; `encoders` is that of its encoders."""
    digests = {
        name: [f"torch.{values.dtype}", list(values.shape), digest.sha256_hex(values.tobytes())]
        for name, values in weights.items()
    }
    shaping = {"dimension", "hidden", "fusion", "numerics"}
    if config.fusion == "transformer":
        shaping |= {"layers", "attention_heads"}
    settings = [config.model_dump(mode="json", include=shaping), dict(tokens)]
    lines = [calibration.to_json()] if calibration is not None else []
    return digest.address("fusion_model", MODEL_FORMAT, encoders, settings, digests, *lines)


def _tokens_of(weights: Mapping[str, np.ndarray]) -> dict[Modality, int]:
    """Return the vectors that an input gives, by modality: the shapes of the heads' weights say it.

    Raises:
        KeyError, ValueError: the weights are not those of three heads.
    """
    found: dict[Modality, int] = {}
    for name in MODALITIES:
        values, width = weights[f"heads.{name}.mean"].size, weights[f"heads.{name}.inner.weight"].shape[-1]
        if not width or values % width:
            raise ValueError(f"the {name} head has {values} values in vectors of {width}")
        found[name] = values // width
    return found


def _unreadable(folder: str, error: Exception) -> StorageError:
    return StorageError(f"The model in {folder} cannot be read: {error}\nRun `trichord recover`.")
