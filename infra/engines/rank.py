"""A place in a gang of processes, and the error that a gang's failure is."""

from __future__ import annotations

from dataclasses import dataclass

from trichord.infra.errors import PartialRun, TrichordError, told


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A place in a gang: `rank` of `size`. `rendezvous` is a URL where they meet; None where they have met already."""

    rank: int
    size: int
    rendezvous: str | None


def failed(who: str, detail: str) -> TrichordError:
    """The error that a gang's failure is: the worker's own, if it is one of ours."""
    return told(detail, PartialRun(f"Training failed in {who}: {detail}\nRun it again: it resumes."))
