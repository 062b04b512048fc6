"""How the hits of a query become one list: rankings."""

from __future__ import annotations

import math
from typing import Literal, get_args

from pydantic import Field, ValidationInfo, field_validator

from trichord.infra.config.base import Strict, View

_PARTS = ("text", "image", "audio")


Ranking = Literal["plain", "calibrated", "rank_fusion", "quota"]
RANKINGS: tuple[str, ...] = get_args(Ranking)


class QueryConfig(Strict):
    """How hits of several views, and of several parts of a query, become one list (docs/evaluation.md compares them).

    With plain and quota the model fuses the parts of a query into one vector; with calibrated and rank_fusion each part
    asks by itself.
    """

    ranking: Ranking = Field(
        "plain",
        description="plain: by cosine; calibrated: by scores made comparable between modalities, fitted on "
        "validation records, summed over the query's parts; rank_fusion: by reciprocal ranks in each view; quota: this "
        "many of each view.",
    )
    quotas: dict[str, float] = Field(
        {},
        description="Share of the hits by view, for example `image: 0.5`; what they leave of 1 goes by score. Equal "
        "shares of the index's views if empty.",
    )
    weights: dict[str, float] = Field(
        {}, description="Weight of a part of the query where each asks by itself, for example `text: 2`; 1 if unset."
    )
    fan_out: int = Field(
        0,
        ge=0,
        le=4_096,
        description="Ray actors that hold a part of the index each and answer together (engine.kind ray); 0: the "
        "asking process searches. Milvus divides a collection itself.",
    )
    rank_constant: int = Field(60, ge=1, description="k of reciprocal rank fusion.")

    @field_validator("quotas", "weights")
    @classmethod
    def _named(cls, given: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        known = get_args(View) if info.field_name == "quotas" else _PARTS
        if unknown := sorted(set(given) - set(known)):
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(known)}")
        if any(not 0 < value < math.inf for value in given.values()):
            raise ValueError("every number must be above 0; leave out what is not wanted")
        if info.field_name == "quotas" and sum(given.values()) > 1 + 1e-9:
            raise ValueError(f"the shares are {sum(given.values()):g} in all, more than the whole")
        return given
