"""What a run costs: core hours and GPU hours, and in money by the project's `rates`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

from trichord.infra.config import EngineConfig, RatesConfig

GPU_STAGES = ("features", "agreement", "model", "vectors")  # they hold the GPUs for as long as they take
_HOUR_S = 3_600.0


class Took(Protocol):
    """What a stage took, or will take."""

    @property
    def seconds(self) -> float:
        """By the clock."""

    @property
    def cpu_s(self) -> float:
        """Of all processes of this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Hours of cores and of GPUs."""

    cores: float
    gpus: float

    @classmethod
    def of(cls, stages: Mapping[str, Took], engine: EngineConfig, gpus: float) -> Self:
        """Return the CPU hours of this machine or, on a cluster, `engine.workers` cores for as long as stages take."""
        if engine.kind == "local":
            cores_s = sum(one.cpu_s for one in stages.values())
        else:
            cores_s = engine.workers * sum(one.seconds for one in stages.values())
        gpu_s = gpus * sum(stages[name].seconds for name in GPU_STAGES if name in stages)
        return cls(cores=cores_s / _HOUR_S, gpus=gpu_s / _HOUR_S)

    def price(self, rates: RatesConfig, requests: int = 0) -> float | None:
        """Return what they cost, with this many requests; None where a used resource has no rate."""
        if rates.core_hour is None or (rates.gpu_hour is None and self.gpus > 0):
            return None
        of_requests = (rates.thousand_requests or 0.0) * requests / 1_000
        return round(rates.core_hour * self.cores + (rates.gpu_hour or 0.0) * self.gpus + of_requests, 4)
