"""Figures of an evaluation: rounded where they are made, and looked up by their dotted path."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from trichord.infra.config import GateConfig
from trichord.infra.errors import ConfigError
from trichord.pipelines.core.result import Result

PLACES = 6  # of all rounding

Figure = float | int | None


def mean(values: np.ndarray) -> float:
    """Return the rounded mean."""
    return round(float(values.mean()), PLACES)


def ratio(part: float, whole: float) -> float | None:
    """Return part / whole, rounded; None where the whole is 0."""
    return round(float(part) / float(whole), PLACES) if whole else None


def figures(evaluation: Any, path: str = "") -> Iterator[tuple[str, Figure]]:
    """Iterate over the figures of an evaluation with their paths, `mixed.recall_at_10`; unknown ones are None.

    Members of a list are numbered: `mixed.intervals.recall_at_10.0` is the lower end.
    """
    if isinstance(evaluation, Result):
        evaluation = evaluation.to_dict()
    if isinstance(evaluation, Mapping | list):
        parts = evaluation.items() if isinstance(evaluation, Mapping) else enumerate(evaluation)
        for name, value in parts:
            yield from figures(value, f"{path}.{name}" if path else str(name))
    elif evaluation is None or (isinstance(evaluation, int | float) and not isinstance(evaluation, bool)):
        yield path, evaluation


def suggest_paths(path: str, known: Collection[str], wanted: int = 5) -> list[str]:
    """Suggest known paths: those that look alike, then those that begin or end alike."""
    alike = difflib.get_close_matches(path, known, wanted, cutoff=0.6)
    last = path.rsplit(".", 1)[-1]
    related = sorted(other for other in known if other.startswith(f"{path}.") or other.rsplit(".", 1)[-1] == last)
    return list(dict.fromkeys([*alike, *related]))[:wanted]


def require_figures(limits: GateConfig, k: int, measured: Collection[str] = ()) -> None:
    """Refuse paths that no figure of an evaluation has.

    Args:
        limits: section `gate` of the project file.
        k: depth of the measures.
        measured: paths of an evaluation at hand.

    Raises:
        ConfigError: there are such paths; the message suggests known ones.
    """
    named = [(section, path) for section in ("least", "most", "max_drop_of") for path in getattr(limits, section)]
    if not named:
        return
    from trichord.pipelines.evaluation.whole import known_paths

    known = known_paths(k) | set(measured)
    lines = []
    for section, path in named:
        if path not in known:
            near = suggest_paths(path, sorted(known))
            lines.append(f"  gate.{section}: {path}{': did you mean ' + ', '.join(near) + '?' if near else ''}")
    if lines:
        raise ConfigError(
            "The gate names figures that no evaluation has:\n"
            + "\n".join(lines)
            + "\nEvery figure is in docs/evaluation.md; `trichord evaluate --json` prints those of the live index."
        )
