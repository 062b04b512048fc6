"""Process groups: processes that run one task together and talk to each other, as training on several workers does.

Beside the engines' three verbs, because the processes of a group must all run at once. A result is not returned: the
task stores it in the lake, under its address, where the caller finds it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic

from trichord.infra import log
from trichord.infra.config import EngineConfig
from trichord.infra.engines.base import LONG_S, Done, I
from trichord.infra.errors import ConfigError
from trichord.infra.scratch import scratch_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """A process's place in its group, in the terms of `torch.distributed`.

    `init_method` is the URL where the processes meet; None where they have met already.
    """

    rank: int
    world_size: int
    init_method: str | None


@dataclass(frozen=True, slots=True)
class _OnThisMachine(Generic[I]):
    task: Callable[[I, Rank], object]
    item: I

    def __call__(self, rank: Rank) -> None:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # all on this machine, whatever its host name resolves to
        self.task(self.item, rank)


@dataclass(frozen=True, slots=True)
class _OnRay(Generic[I]):
    task: Callable[[I, Rank], object]
    item: I
    fields: Mapping[str, object]  # of log events

    def __call__(self, rank: int, world_size: int) -> None:
        with log.bound(**self.fields):
            self.task(self.item, Rank(rank=rank, world_size=world_size, init_method=None))


def run_process_group(config: EngineConfig, task: Callable[[I, Rank], object], item: I, world_size: int) -> None:
    """Run `task(item, rank)` in `world_size` processes at once: on this machine, or by Ray Train.

    Raises:
        ConfigError: the engine cannot run process groups, or has fewer workers.
        TrichordError: the error of ours that a process met; PartialRun for any other failure. All of them are ended.
    """
    if config.kind == "beam":
        raise ConfigError(
            "train.workers is above 1, but Beam cannot run processes that talk to each other.\nSet it to 1."
        )
    if world_size > config.workers:
        raise ConfigError(
            f"train.workers is {world_size}, but engine.workers is {config.workers}.\nRaise it, or train with fewer."
        )
    if config.kind == "ray":
        from trichord.infra.engines.ray_train import run_on_ray_train  # importing Ray takes seconds

        run_on_ray_train(config, _OnRay(task, item, log.context()), world_size)
        return
    from trichord.infra.engines.local import LocalEngine

    with (
        scratch_folder("meet") as folder,
        LocalEngine(config.model_copy(update={"workers": world_size, "retries": 0})) as engine,
    ):
        init_method = f"file://{folder}/meet"
        ranks = [Rank(rank=rank, world_size=world_size, init_method=init_method) for rank in range(world_size)]
        for outcome in engine.map(_OnThisMachine(task, item), ranks, timeout_s=LONG_S):
            if not isinstance(outcome, Done):  # the others wait for it: leaving the block ends them
                failure = outcome.failure
                raise failure.error(
                    f"Training failed in rank {outcome.item.rank} of {world_size}: {failure}\n"
                    "Run the command again; it resumes."
                )
