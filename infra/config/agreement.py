"""The check that the modalities of a record belong together, by the fusion model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from trichord.infra.config.base import Strict
from trichord.infra.config.sources import Modality


class AgreementConfig(Strict):
    """The check that the modalities of a record belong together, by the fusion model of the run."""

    check: Literal["off", "flag", "drop"] = Field(
        "off", description="flag: judged and listed in the table `agreement`; drop: also left out of the index."
    )
    modalities: tuple[Modality, ...] = Field(
        ("text", "image", "audio"),
        min_length=1,
        description="Which of them are compared with the others' fusion.",
    )
    false_accept_rate: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Share of wrong pairs (another record's modality) that would pass; sets the score to reach.",
    )
    folds: int = Field(
        3,
        ge=0,
        description="Records are judged by models trained without them, one a fold (a model hides wrong pairs that it "
        "was trained on); 0: by the run's own model, which costs no training.",
    )
    min_pairs: int = Field(
        2_000,
        ge=10,
        description="Wrong pairs (any two records of a shard that one model judges) a source must give before anything "
        "of it is judged.",
    )

    @field_validator("folds")
    @classmethod
    def _folds(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("one fold would leave nothing to train on: 0, or at least 2")
        return folds
