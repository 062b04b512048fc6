"""Receiver: one place outside the lake that hears of runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from trichord.pipelines.core.runs import RunNote

if TYPE_CHECKING:
    from trichord.pipelines.observe.state import LakeState

State: TypeAlias = "Callable[[], LakeState]"
"""Reads the lake's state after the run, once for all observers."""


class Receiver(Protocol):
    """One place that hears of runs. Its methods may raise: that is an event in the log, and no more."""

    def started(self, note: RunNote) -> None:
        """Hear that a run has started."""

    def ended(self, note: RunNote, state: State) -> None:
        """Hear how it ended."""
