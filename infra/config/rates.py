"""What computing costs, so that plans and runs say it in money."""

from __future__ import annotations

from pydantic import Field

from trichord.infra.config.base import Strict


class RatesConfig(Strict):
    """What computing costs. Plans and runs then say it in money; by itself nothing is known of your prices."""

    currency: str = Field("USD", min_length=1, max_length=8, description="Printed beside each amount.")
    core_hour: float | None = Field(None, ge=0, description="An hour of a CPU core, such as 0.04.")
    gpu_hour: float | None = Field(None, ge=0, description="An hour of a GPU, such as 2.5.")
    thousand_requests: float | None = Field(
        None, ge=0, description="1,000 requests to the lake's bucket, such as 0.005."
    )
