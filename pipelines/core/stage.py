"""Stage: one step of a reindex. It says what it would make, which `plan` prints, and makes it, which `reindex` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from trichord.pipelines.core.result import Result

R = TypeVar("R", contravariant=True)
F = TypeVar("F", contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan(Result):
    """What a stage would do.

    Attributes:
        stage: its name.
        unit: what is counted: partitions, shards, checks.
        to_make: units that do not exist yet.
        kept: units that exist and stay.
        removed: units that the lake does without afterwards.
        rows: rows in the units to make; None where that is not known before.
        why: the reason in words.
        at_least: more may be made: it depends on what an earlier stage finds.
        details: lines that a person wants to read, such as the conditions that the gate checks.
        seconds: how long it takes, by this lake's earlier runs; None without any.
    """

    stage: str
    unit: str
    to_make: int
    kept: int = 0
    removed: int = 0
    rows: int | None = None
    why: str = ""
    at_least: bool = False
    details: Sequence[str] = ()
    seconds: float | None = None


class Stage(Protocol[R, F]):
    """One step of a run: `R` is the state that stages read and add to, `F` what can be told before anything is made."""

    @property
    def name(self) -> str:
        """Its name, unique in the run."""

    def wanted(self, run: R, forecast: F) -> StagePlan:
        """Say what `materialise` would do now, by what the lake holds; nothing is changed."""

    def materialise(self, run: R) -> None:
        """Make what is missing, and add it to the run."""
