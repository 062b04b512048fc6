"""A segment as its source gives it, unchecked."""

from __future__ import annotations

import math
from dataclasses import dataclass

MAX_TIME_S = 1e7


class SegmentsError(Exception):
    """The segments cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One segment as the source gives it: seconds and text. Its times may be wrong; see `fault`."""

    start_s: float
    end_s: float
    text: str

    @property
    def fault(self) -> str:
        """What is wrong with the times; empty if nothing is."""
        if not (math.isfinite(self.start_s) and math.isfinite(self.end_s)):
            return "a time is not a number"
        if self.start_s < 0 or self.end_s > MAX_TIME_S:
            return f"{self.start_s:g} s to {self.end_s:g} s is not within a sound"
        if self.start_s >= self.end_s:
            return f"ends at {self.end_s:g} s, starts at {self.start_s:g} s"
        return ""
