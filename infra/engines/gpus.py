"""Which GPU an encoding worker sees. Decided before it starts: CUDA reads its environment once, when torch wakes it.

An engine gives GPUs to the actors of `map_actors(..., accelerator=True)` alone, at most `actors_per_gpu` to each.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from trichord.infra.config import EngineConfig
from trichord.infra.errors import ConfigError

VISIBLE = "CUDA_VISIBLE_DEVICES"
_DEVICE_FILE = re.compile(r"nvidia\d+")


def local_gpus(environment: Mapping[str, str], device_files: Iterable[str]) -> tuple[str, ...]:
    """Return names of the GPUs that a process of this environment may use, as CUDA_VISIBLE_DEVICES takes them.

    Args:
        environment: of the process; CUDA_VISIBLE_DEVICES in it, where set, is the whole answer.
        device_files: names in /dev, one `nvidia<number>` for each GPU of the machine or container.
    """
    if VISIBLE in environment:
        names = [name.strip() for name in environment[VISIBLE].split(",")]
        ends = [at for at, name in enumerate(names) if name in ("", "-1")]  # CUDA ignores what follows such a name
        return tuple(names[: ends[0]] if ends else names)
    return tuple(str(number) for number, _ in enumerate(filter(_DEVICE_FILE.fullmatch, sorted(device_files))))


def machine_gpus() -> tuple[str, ...]:
    """Return `local_gpus` of this process and machine."""
    return local_gpus(os.environ, os.listdir("/dev"))


def choose_gpus(config: EngineConfig, found: Collection[str]) -> tuple[str, ...]:
    """Return the GPUs that encoding workers of this machine are spread over; none: they run on the CPU.

    Raises:
        ConfigError: engine.device is cuda and there is no GPU.
    """
    if config.device == "cuda" and not found:
        raise ConfigError(
            "engine.device is cuda, but this machine shows no GPU (/dev/nvidia0, CUDA_VISIBLE_DEVICES).\n"
            "Next: look at `trichord doctor`, or set engine.device to auto or cpu."
        )
    return () if config.device == "cpu" else tuple(found)


def least_taken(gpus: Collection[str], taken: Iterable[str | None]) -> str:
    """Return the GPU with the fewest workers, the first of several: with none lost, workers go round robin."""
    count = Counter(taken)
    return min(gpus, key=lambda gpu: count[gpu])


def worker_environment(config: EngineConfig, gpu: str | None) -> dict[str, str]:
    """Return what a worker's environment says of GPUs: its own one, none at all, or (empty) nothing new."""
    if gpu is not None:
        return {VISIBLE: gpu}
    return {VISIBLE: ""} if config.device == "cpu" else {}


def cluster_share(config: EngineConfig, gpus: float) -> tuple[float, int]:
    """Return GPUs that one encoding actor of a cluster asks for, and how many actors are started.

    No more than fit at once: an actor that waits for a GPU holds an item. Of a cluster that shows no GPU yet, cuda
    asks all the same, since it may grow.

    Args:
        config: of the engine.
        gpus: GPUs that the cluster has now.
    """
    if config.device == "cpu" or (config.device == "auto" and gpus < 1):
        return 0.0, config.workers
    fitting = int(gpus) * config.actors_per_gpu
    return 1 / config.actors_per_gpu, min(config.workers, fitting) if fitting else config.workers
