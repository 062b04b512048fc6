"""What every section of the project file is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A frozen section of the project file; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
