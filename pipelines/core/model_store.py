"""Trained models in the lake: describe one, check that it is whole, and load it.

Index tasks send a `TrainedModel` to workers, so this module imports no model code until a model is loaded.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trichord.encoders import model_file
from trichord.encoders.model_file import ModelFile
from trichord.infra.config import ModelConfig
from trichord.infra.errors import FingerprintMismatch, StorageError
from trichord.infra.lake.lake import Lake
from trichord.pipelines.core.workspace import Workspace

if TYPE_CHECKING:
    from trichord.encoders.model import FusionModel

MODEL_FILES = ("training.json", "model.safetensors", model_file.NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A model in the lake: its lake-relative folder, its fingerprint, and the dimension of its vectors."""

    path: str
    fingerprint: str
    dimension: int


def load_model(lake: Lake, path: str, fingerprint: str, places: ModelConfig) -> FusionModel:
    """Load the model in a folder of the lake; `places` are the project's settings, which say where encoders are now.

    Raises:
        FingerprintMismatch: the model does not have this `fingerprint`.
        StorageError: the model is missing.
    """
    from trichord.encoders.model import FusionModel  # torch: imported only when a model is used

    with tempfile.TemporaryDirectory(prefix="trichord-model-") as folder:
        for stat in lake.list(path):
            with open(os.path.join(folder, stat.uri.rsplit("/", 1)[-1]), "wb") as file:
                file.write(lake.storage.read(stat.uri))
        if not os.path.exists(os.path.join(folder, model_file.NAME)):
            raise StorageError(
                f"The model in {lake.uri(path)} is missing.\nRun `trichord verify`, then `trichord rollback`."
            )
        model = FusionModel.load(folder, places)
    if model.fingerprint != fingerprint:
        raise FingerprintMismatch(
            f"The model in {lake.uri(path)} has fingerprint {model.fingerprint}, expected {fingerprint}.\n"
            "Vectors of different models cannot be compared. Use the model that the index was built with."
        )
    return model


def finished(workspace: Workspace, path: str) -> TrainedModel | None:
    """Return the model in this folder of the lake, or None if a file of it is missing."""
    if not all(workspace.lake.exists(path, name) for name in MODEL_FILES):
        return None
    stored = ModelFile.parse(workspace.lake.read(path, model_file.NAME))
    return TrainedModel(path=path, fingerprint=stored.fingerprint, dimension=stored.dimension)
