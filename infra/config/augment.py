"""Training variants of records."""

from __future__ import annotations

from pydantic import Field

from infra.config.base import Strict


class AugmentConfig(Strict):
    """Training variants of records; they go to `augmented`, never to an index."""

    copies: int = Field(0, ge=0, description="Variants made of every record; 0 makes none.")
