"""What a text must be."""

from __future__ import annotations

from pydantic import Field

from infra.config.base import Strict


class TextConfig(Strict):
    """What a text must be."""

    min_chars: int = Field(1, ge=0, description="Shorter texts (after normalising) are rejected.")
    max_chars: int = Field(20_000, ge=1, description="Longer texts are rejected.")
