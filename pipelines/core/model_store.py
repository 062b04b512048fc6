"""Trained models in the lake: what later stages know of one, whether it is whole, and how it is loaded.

Index tasks carry a `TrainedModel` to workers: this module imports no model code until one is loaded.
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
    """A model in the lake: lake-relative folder, fingerprint, values of a vector."""

    path: str
    fingerprint: str
    dimension: int


def load_model(lake: Lake, path: str, fingerprint: str, places: ModelConfig) -> FusionModel:
    """Load the model in a folder of the lake; `places` are the project's settings, which know where encoders are today.

    Raises:
        FingerprintMismatch: it is another model than `fingerprint` says.
        StorageError: it is missing.
    """
    from trichord.encoders.model import FusionModel  # torch: only where a model is really used

    with tempfile.TemporaryDirectory(prefix="trichord-model-") as folder:
        for stat in lake.list(path):
            with open(os.path.join(folder, stat.uri.rsplit("/", 1)[-1]), "wb") as file:
                file.write(lake.storage.read(stat.uri))
        if not os.path.exists(os.path.join(folder, model_file.NAME)):
            raise StorageError(
                f"There is no model in {lake.uri(path)}.\nRun `trichord verify`, then `trichord rollback`."
            )
        model = FusionModel.load(folder, places)
    if model.fingerprint != fingerprint:
        raise FingerprintMismatch(
            f"The model in {lake.uri(path)} has fingerprint {model.fingerprint}, expected {fingerprint}.\n"
            "Vectors of two models share no space: use the model that the index was built with."
        )
    return model


def finished(workspace: Workspace, path: str) -> TrainedModel | None:
    """The model in this folder of the lake, if it is whole."""
    if not all(workspace.lake.exists(path, name) for name in MODEL_FILES):
        return None
    stored = ModelFile.parse(workspace.lake.read(path, model_file.NAME))
    return TrainedModel(path=path, fingerprint=stored.fingerprint, dimension=stored.dimension)
