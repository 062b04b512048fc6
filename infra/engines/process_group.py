"""Gangs: processes that run one task together and talk to each other, as training on several workers does.

Beside the engines' three verbs, because its processes must all run at once. A result is not carried: it lies in the
lake, under its address, where whoever asked for it looks.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from trichord.infra.config import EngineConfig
from trichord.infra.engines.base import LONG_S, Done, I
from trichord.infra.engines.rank import Seat, failed
from trichord.infra.errors import ConfigError


@dataclass(frozen=True, slots=True)
class _Seated(Generic[I]):
    task: Callable[[I, Seat], object]
    item: I

    def __call__(self, seat: Seat) -> None:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # all on this machine, whatever its host name resolves to
        self.task(self.item, seat)


def run_gang(config: EngineConfig, task: Callable[[I, Seat], object], item: I, size: int) -> None:
    """Run `task(item, seat)` in `size` processes at once: on this machine, or by Ray Train.

    Raises:
        ConfigError: the engine has no gangs, or has fewer workers.
        TrichordError: the error of ours that a process met; PartialRun for any other failure. All of them are ended.
    """
    if config.kind == "beam":
        raise ConfigError(
            "train.workers is above 1, but Beam cannot run processes that talk to each other.\nSet it to 1."
        )
    if size > config.workers:
        raise ConfigError(
            f"train.workers is {size}, but engine.workers is {config.workers}.\nRaise it, or train with fewer."
        )
    if config.kind == "ray":
        from trichord.infra.engines.ray_train import run_ray_gang  # importing Ray takes seconds

        run_ray_gang(config, task, item, size)
        return
    from trichord.infra.engines.local import LocalEngine

    with (
        tempfile.TemporaryDirectory(prefix="trichord-gang-") as folder,
        LocalEngine(config.model_copy(update={"workers": size, "retries": 0})) as engine,
    ):
        seats = [Seat(rank=rank, size=size, rendezvous=f"file://{folder}/meet") for rank in range(size)]
        for outcome in engine.map(_Seated(task, item), seats, timeout_s=LONG_S):
            if not isinstance(outcome, Done):  # the others wait for it: leaving the block ends them
                raise failed(f"worker {outcome.item.rank} of {size}", outcome.detail)
