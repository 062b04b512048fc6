"""A model that was trained, as later stages know it: what index tasks carry to workers, which need no model code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A model in the lake: lake-relative folder, fingerprint, values of a vector."""

    path: str
    fingerprint: str
    dimension: int
