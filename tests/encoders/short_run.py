"""A short training run as a task; workers import it from here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.encoders.planted import ENCODERS, MODEL, planted, without
from trichord.encoders.data import Part, TrainingData
from trichord.encoders.distributed import ProcessGroup, join
from trichord.encoders.train import train
from trichord.infra.config import ModelConfig, TrainConfig
from trichord.infra.engines.process_group import Rank
from trichord.infra.errors import ConfigError


@dataclass(frozen=True)
class ShortRun:
    """A short training run whose first worker leaves its weights and history in `folder`."""

    folder: str
    train: TrainConfig
    stop_at: int | None = None
    model: ModelConfig = MODEL

    def __call__(self, name: str, rank: Rank) -> None:
        with join(rank) as process_group:
            self.fit(f"{name}-{process_group.rank}", None if process_group.world_size == 1 else process_group)

    def fit(self, name: str, process_group: ProcessGroup | None) -> None:
        features = planted(160, 3)
        absent = np.zeros((160, 3), dtype=bool)
        absent[100:, 2] = absent[:20, 1] = True  # a part of a batch may lack a modality that others have
        data = TrainingData.write(f"{self.folder}/data-{name}", [Part(features=without(features, absent))])

        def log(entry: Mapping[str, Any]) -> None:
            if entry["epoch"] == self.stop_at:
                raise ConfigError("stopped")

        model, history = train(
            data,
            ENCODERS,
            self.model,
            self.train,
            score=lambda model: float(model.network.state_dict()["heads.text.outer.weight"][0, 0]),
            checkpoint=f"{self.folder}/checkpoint",
            log=log,
            checkpoint_s=0,
            process_group=process_group,
        )
        weights = {name: tensor.numpy() for name, tensor in model.network.state_dict().items()}
        np.savez(f"{self.folder}/{name}.npz", allow_pickle=False, **weights)
        Path(self.folder, f"{name}.json").write_text(json.dumps(history))
