"""What a picture must be."""

from __future__ import annotations

from pydantic import Field

from infra.config.base import Strict


class ImageConfig(Strict):
    """What a picture must be, and its canonical form."""

    max_bytes: int = Field(50_000_000, ge=1, description="Larger files are rejected unread.")
    max_pixels: int = Field(50_000_000, ge=1, description="Larger pictures are rejected before decoding.")
    min_side: int = Field(32, ge=1, description="Pixels of the shorter side below which a picture is rejected.")
    max_aspect: float = Field(6.0, ge=1, description="Long side over short side above which it is rejected.")
    min_sharpness: float = Field(
        20.0, ge=0, description="Variance of the Laplacian at canonical size below which it counts as blurred."
    )
    side: int = Field(256, ge=16, description="Canonical size: the longer side after resizing, in pixels.")
    quality: int = Field(90, ge=1, le=100, description="JPEG quality of the stored picture.")
