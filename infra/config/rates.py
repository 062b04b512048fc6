"""Prices of computing, from which plans and runs estimate costs in money."""

from __future__ import annotations

from pydantic import Field

from trichord.infra.config.base import Strict


class RatesConfig(Strict):
    """Your prices of computing. With them, plans and runs report their cost in money; there are no defaults."""

    currency: str = Field("USD", min_length=1, max_length=8, description="Printed beside each amount.")
    core_hour: float | None = Field(None, ge=0, description="An hour of a CPU core, such as 0.04.")
    gpu_hour: float | None = Field(None, ge=0, description="An hour of a GPU, such as 2.5.")
    thousand_requests: float | None = Field(
        None, ge=0, description="1,000 requests to the lake's bucket, such as 0.005."
    )
