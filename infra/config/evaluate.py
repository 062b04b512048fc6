"""What is measured of a model and an index, and what they must reach before they are published."""

from __future__ import annotations

from pydantic import Field

from trichord.infra.config.base import Strict


class GateConfig(Strict):
    """What a new index must reach before it is published."""

    min_ann_recall: float = Field(0.95, ge=0, le=1, description="Recall@10 of the index against exact search.")
    min_over_chance: float = Field(
        1.0,
        ge=0,
        description="The interval of cross-modal recall@10 must be above this many times chance, in each direction; "
        "0: not checked.",
    )
    max_row_drop: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Share of records the new index may lose against the live one: in all, of each source, of each "
        "modality of a source, and of each language.",
    )
    max_recall_drop: float = Field(0.05, ge=0, le=1, description="Mixed recall@10 it may lose against the live one.")
    max_reject_ratio: float = Field(0.5, ge=0, le=1, description="Share of all rows that one op may reject.")
    max_reject_ratio_of: dict[str, float] = Field(
        {}, description="The same for single ops by name, for example `threshold:image_blurred: 0.1`."
    )
    least: dict[str, float] = Field(
        {},
        description="Smallest value of any figure of the evaluation by its path, for example `mixed.ndcg_at_10: 0.5`.",
    )
    most: dict[str, float] = Field({}, description="Largest value, for example `consistency.gap.text-image: 0.8`.")
    max_drop_of: dict[str, float] = Field(
        {},
        description="How much a figure may fall against the live index's, for example `mixed.mrr_at_10: 0.02`; for a "
        "figure that may by default fall by its spread, instead of that.",
    )


class EvaluateConfig(Strict):
    """What is measured on test records."""

    max_records: int = Field(1_000, ge=1, description="Most test records to measure (chosen by key digest).")
    bootstrap: int = Field(200, ge=0, description="Resamples for confidence intervals; 0: none.")
    confidence: float = Field(
        0.95,
        gt=0,
        lt=1,
        description="Confidence of the intervals, and of all the gate's comparisons with the live index together.",
    )
    content_rows: int = Field(
        2, ge=0, description="Rows a vectors shard that the gate encodes again and compares; 0: none."
    )
