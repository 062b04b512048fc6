"""Gangs on a Ray cluster, by Ray Train: it places the workers, brings them together and ends them as one."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from typing import Any

import ray.train
from ray.train import TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer

from trichord.infra.config import EngineConfig
from trichord.infra.engines.base import I, packed
from trichord.infra.engines.rank import Seat, failed
from trichord.infra.engines.ray import RayEngine
from trichord.infra.errors import TrichordError


def run_ray_gang(config: EngineConfig, task: Callable[[I, Seat], object], item: I, size: int) -> None:
    """See `gang.run_gang`; the workers have met by gloo when the task begins.

    Raises:
        TrichordError: as `gang.run_gang`.
    """
    with RayEngine(config) as engine, tempfile.TemporaryDirectory(prefix="trichord-gang-") as folder:
        engine.start()
        trainer = TorchTrainer(
            _run,
            train_loop_config={"task": packed(task), "item": packed(item)},
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=ray.train.ScalingConfig(num_workers=size, use_gpu=False),
            run_config=ray.train.RunConfig(storage_path=folder),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            wrapped = getattr(error, "worker_failures", {}).values()
            met = [getattr(failure, "_base_exc", failure) for failure in wrapped]
            ours = [failure for failure in met if isinstance(failure, TrichordError)]
            raise (ours[0] if ours else failed("a worker of Ray Train", str(error))) from error


def _run(config: dict[str, Any]) -> None:
    context = ray.train.get_context()
    seat = Seat(rank=context.get_world_rank(), size=context.get_world_size(), rendezvous=None)
    pickle.loads(config["task"])(pickle.loads(config["item"]), seat)
