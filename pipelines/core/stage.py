"""Stage: one step of a reindex. `plan` prints what it would make; `reindex` makes it."""

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
        stage: the stage's name.
        unit: what is counted: partitions, shards, checks.
        to_make: units that do not exist yet.
        kept: units that exist and stay.
        removed: units that are no longer used afterwards.
        rows: rows in the units to make; None if that is not known in advance.
        why: the reason, in words.
        at_least: True if more units may be made, depending on what an earlier stage finds.
        about: more or fewer may be made, and more removed: how many rows a changed partition keeps is known only
            afterwards.
        details: lines for people, such as the conditions that the gate checks.
        seconds: estimated from this lake's earlier runs; None if there are none.
    """

    stage: str
    unit: str
    to_make: int
    kept: int = 0
    removed: int = 0
    rows: int | None = None
    why: str = ""
    at_least: bool = False
    about: bool = False
    details: Sequence[str] = ()
    seconds: float | None = None


class Stage(Protocol[R, F]):
    """One step of a run: `R` is the state that stages read and add to, `F` what is known before anything is made."""

    @property
    def name(self) -> str:
        """Its name, unique in the run."""

    def wanted(self, run: R, forecast: F) -> StagePlan:
        """Return what `materialise` would do now, given what the lake holds; change nothing."""

    def materialise(self, run: R) -> None:
        """Make what is missing, and add the result to the run."""
