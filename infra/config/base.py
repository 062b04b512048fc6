"""What every section of the project file is, and what several of them name."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

View = Literal["fused", "text", "image", "audio"]


class Strict(BaseModel):
    """A frozen section of the project file; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
