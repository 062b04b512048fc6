"""What a sound must be."""

from __future__ import annotations

from pydantic import Field

from infra.config.base import Strict


class AudioConfig(Strict):
    """What a sound must be, and its canonical form."""

    max_bytes: int = Field(200_000_000, ge=1, description="Larger files are rejected unread.")
    min_duration_s: float = Field(0.1, ge=0, description="Shorter clips are rejected.")
    max_duration_s: float = Field(600.0, gt=0, description="Longer clips are rejected before decoding.")
    max_clipping: float = Field(
        0.02, ge=0, le=1, description="Share of samples at full scale above which a clip is rejected."
    )
    rate_hz: int = Field(16_000, ge=8_000, description="Canonical sample rate; sound is stored mono at this rate.")
