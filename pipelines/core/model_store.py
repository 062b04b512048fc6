"""Trained models in the lake: describe one, check that it is whole, and load it.

Index tasks send a `TrainedModel` to workers, so this module imports no model code until a model is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trichord.encoders import model_file
from trichord.encoders.model_file import ModelFile
from trichord.infra.config import ModelConfig
from trichord.infra.errors import StorageError
from trichord.infra.lake.checked_parquet import REMEDY
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.pinned_file import PinnedFile, check_bytes
from trichord.infra.lake.publication import Pinned
from trichord.infra.scratch import scratch_folder
from trichord.pipelines.core.workspace import Workspace

if TYPE_CHECKING:
    from trichord.encoders.model import FusionModel
    from trichord.encoders.query_model import Embedder

SEEN_GROUPS = "seen_groups.bin"  # `group_ids` of all training and validation records: sorted, uint64, little-endian
MODEL_FILES = ("training.json", SEEN_GROUPS, "model.safetensors", model_file.NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A model in the lake: its lake-relative folder, its fingerprint, and the dimension of its vectors."""

    path: str
    fingerprint: str
    dimension: int


def load_model(lake: Lake, path: str, fingerprint: str, places: ModelConfig) -> FusionModel:
    """Load the model in a folder of the lake; `places` are the project's settings, which say where encoders are now.

    Raises:
        ConfigError: the model names a plug-in that the project does not name, or an encoder's folder is not there.
        FingerprintMismatch: the model does not have this `fingerprint`.
        StorageError: the model is missing.
    """
    from trichord.encoders.model import FusionModel  # torch: imported only when a model is used

    with _fetched(lake, path) as folder:
        return FusionModel.load(folder, places, expected=fingerprint)


def load_for_queries(lake: Lake, path: str, fingerprint: str, places: ModelConfig) -> Embedder:
    """Do as `load_model` for what embeds queries alone: torch is imported only where the model needs it."""
    from trichord.encoders.query_model import load_embedder

    with _fetched(lake, path) as folder:
        return load_embedder(folder, places, expected=fingerprint)


@contextmanager
def _fetched(lake: Lake, path: str) -> Iterator[str]:
    """Copy what loading a model reads to a folder of this machine. Raise StorageError if the model is missing."""
    from trichord.encoders.located import PLACES

    with scratch_folder("model") as folder:
        for name in (*MODEL_FILES[2:], PLACES):
            if lake.exists(path, name):
                Path(folder, name).write_bytes(lake.read(path, name))
        if not os.path.exists(os.path.join(folder, model_file.NAME)):
            raise StorageError(f"The model in {lake.uri(path)} is missing.\n{REMEDY}.")
        yield folder


def model_files(pinned: Pinned) -> list[PinnedFile]:
    """Return the files of a publication's model with their seals; a search reads those that loading it reads."""
    paths = {path for path in pinned.seals if path.startswith(f"{pinned.model}/")}
    paths |= {f"{pinned.model}/{name}" for name in MODEL_FILES}
    return [
        PinnedFile.sealed(path, pinned.seals.get(path), searched=not path.endswith("/training.json"))
        for path in sorted(paths)
    ]


def find_lost(lake: Lake, pinned: Pinned, *, loaded_only: bool = False) -> dict[str, str]:
    """Hash the files of a publication's model, and return what is wrong with each that is lost, by path.

    Args:
        lake: where they are.
        pinned: the publication.
        loaded_only: leave out what loading the model does not read.
    """
    return check_bytes(lake, [file for file in model_files(pinned) if file.searched or not loaded_only])


def require_sealed(lake: Lake, pinned: Pinned) -> None:
    """Hash the files of a publication's model that loading it reads.

    Raises:
        StorageError: one is missing or differs from what was published.
    """
    if wrong := find_lost(lake, pinned, loaded_only=True):
        path, problem = next(iter(wrong.items()))
        raise StorageError(f"The model of the publication is not whole: {lake.uri(path)} {problem}.\n{REMEDY}.")


def finished(workspace: Workspace, path: str) -> TrainedModel | None:
    """Return the model in this folder of the lake, or None if a file of it is missing."""
    if not all(workspace.lake.exists(path, name) for name in MODEL_FILES):
        return None
    stored = ModelFile.parse(workspace.lake.read(path, model_file.NAME))
    return TrainedModel(path=path, fingerprint=stored.fingerprint, dimension=stored.dimension)
