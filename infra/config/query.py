"""How a query is answered: levers on the query's side, reranking, and generation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from infra.config.base import Strict


class QueryConfig(Strict):
    """How hits of several modalities become one list."""

    levers: Literal["none", "calibrated", "rank_fusion", "quota"] = Field(
        "none",
        description="none: by score; calibrated: by scores made comparable between pairs of modalities, fitted on "
        "held-out pairs; rank_fusion: reciprocal ranks by modality; quota: so many of each modality.",
    )
    quotas: dict[str, float] = Field({}, description="Share of the hits by modality, for example `image: 0.5`.")
    rank_constant: int = Field(60, ge=1, description="k of reciprocal rank fusion.")
