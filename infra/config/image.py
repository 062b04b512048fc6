"""Limits and canonical form of pictures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trichord.infra.config.base import Strict


class ImageConfig(Strict):
    """Limits and canonical form of pictures. A threshold of null is not applied; the score is kept."""

    max_bytes: int = Field(50_000_000, ge=1, description="Larger files are rejected unread.")
    max_pixels: int = Field(50_000_000, ge=1, description="Larger pictures are rejected before decoding.")
    min_side: int = Field(32, ge=1, description="Pixels of the shorter side below which a picture is rejected.")
    max_aspect: float = Field(6.0, ge=1, description="Long side over short side above which it is rejected.")
    max_noise: float | None = Field(
        None, gt=0, le=255, description="Standard deviation of its noise, in grey levels, above which it is rejected."
    )
    min_contrast: float | None = Field(
        0.7, ge=0, le=128, description="Standard deviation of its grey levels below which it counts as blank."
    )
    max_dark: float | None = Field(None, ge=0, le=1, description="Largest share of nearly black pixels.")
    max_bright: float | None = Field(None, ge=0, le=1, description="Largest share of nearly white pixels.")
    borders: Literal["keep", "crop", "reject"] = Field(
        "keep", description="What becomes of a picture whose uniform frame is larger than max_border."
    )
    max_border: float = Field(0.05, ge=0, lt=1, description="Share of the picture that a uniform frame may take.")
    min_sharpness: float | None = Field(
        150.0, ge=0, description="Edge widths that fit along the longer side; below it counts as blurred."
    )
    sharpness_tiles: int = Field(8, ge=2, le=16, description="The blur map has this many tiles a side.")
    partial_blur: Literal["keep", "crop", "reject"] = Field(
        "keep", description="What becomes of a picture of which more than max_blurred_share is blurred."
    )
    max_blurred_share: float = Field(0.3, ge=0, lt=1, description="Share of its tiles with edges that may be blurred.")
    min_sharp_share: float = Field(
        0.25, gt=0, le=1, description="A crop to the sharp region keeps this share of the picture, or it is rejected."
    )
    side: int = Field(256, ge=16, description="Canonical size: the longer side after resizing, in pixels.")
    quality: int = Field(90, ge=1, le=100, description="JPEG quality of the stored picture.")
