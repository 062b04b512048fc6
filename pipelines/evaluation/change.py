"""How far a figure changed between two models, and the standard error of that change.

A figure is a fraction of sums over records (outcomes.py). To first order a record moves it by (above − figure × below)
/ total below. On the same records, the spread of these differences is the error of the change: what both models find
hard cancels. The spread over draws of forms is added, because forms drawn for other records change a query's gallery.
Shape letters: R records, D draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from trichord.pipelines.evaluation.outcomes import Outcomes

FEW = 20  # fewer records say nothing about a spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One figure of two models.

    Attributes:
        before: of the earlier model, on the records compared.
        after: of the later one.
        error: standard error of the change; None where fewer than `FEW` records ask.
        records: how many ask.
        fallen: how many reach less than before, and `risen` how many reach more.
        worst: records that lower the figure most, worst first, as `source/key (before → after)`.
        by_source: source -> how much of the change its records make; they add up to it.
    """

    before: float
    after: float
    error: float | None
    records: int
    fallen: int = 0
    risen: int = 0
    worst: tuple[str, ...] = ()
    by_source: Mapping[str, float] = field(default_factory=dict)

    def is_loss(self, level: float) -> bool:
        """Return True where chance alone makes the figure fall this far with at most this probability.

        By the normal distribution of the change; of few records, by the sign test: how many fell and how many rose.
        """
        if self.after >= self.before:
            return False
        if self.error is None:
            changed = self.fallen + self.risen
            ways = sum(math.comb(changed, number) for number in range(self.fallen, changed + 1))
            return ways / 2**changed <= level
        return self.before - self.after > deviations(level) * self.error


def share_level(confidence: float, figures: int) -> float:
    """Return the probability of a false refusal that each of several figures is given (Bonferroni).

    With nothing changed, at most a share 1 − confidence of all candidates is refused for any of them, however the
    figures depend on each other.
    """
    return (1 - confidence) / max(1, figures)


def deviations(level: float) -> float:
    """Return the standard errors that a change by chance exceeds with this probability, on one side."""
    return NormalDist().inv_cdf(1 - level)


def compare_on(keys: Sequence[str], path: str, before: Outcomes, after: Outcomes, worst: int = 5) -> Change | None:
    """Compare a figure record by record on keys that both have; None where one of them does not know it."""
    if path not in before.parts or path not in after.parts:
        return None
    old, new = before.of(keys, path), after.of(keys, path)
    if not old[1].sum() or not new[1].sum():
        return None
    moved = _influence(new) - _influence(old)
    added = new[0] / new[1].sum() - old[0] / old[1].sum()  # of each record to the change: they add up to it
    shares = _shares(old), _shares(new)
    asking = int(((old[1] > 0) | (new[1] > 0)).sum())
    error = None
    if asking >= FEW:
        variance = np.square(moved).sum() * asking / (asking - 1)
        error = math.sqrt(variance + _draw_variance(path, before, after))
    sources = _sources(keys, after, before)
    fell = shares[1] < shares[0]
    order = [i for i in np.argsort(added, kind="stable") if fell[i]][:worst]
    by_source: dict[str, float] = {}
    for source, part in zip(sources, added.tolist(), strict=True):
        by_source[source] = by_source.get(source, 0.0) + part
    return Change(
        before=float(old[0].sum() / old[1].sum()),
        after=float(new[0].sum() / new[1].sum()),
        error=error,
        records=asking,
        fallen=int(fell.sum()),
        risen=int((shares[1] > shares[0]).sum()),
        worst=tuple(f"{sources[i]}/{keys[i]} ({shares[0][i]:.2f} → {shares[1][i]:.2f})" for i in order),
        by_source=by_source,
    )


def standard_error(path: str, outcomes: Outcomes) -> float | None:
    """Return a figure's own standard error; None where too few records ask."""
    parts = outcomes.parts.get(path)
    if parts is None or (parts[1] > 0).sum() < FEW:
        return None
    asking = int((parts[1] > 0).sum())
    variance = np.square(_influence(parts)).sum() * asking / (asking - 1)
    drawn = outcomes.drawn.get(path)
    return math.sqrt(variance + (_variance_of_mean(drawn) if drawn is not None else 0.0))


def _influence(parts: np.ndarray) -> np.ndarray:
    """Return how far each record holds the figure above what it would be without it, to first order: (R,)."""
    above, below = parts
    return np.asarray((above - above.sum() / below.sum() * below) / below.sum())


def _shares(parts: np.ndarray) -> np.ndarray:
    """Return what each record reaches by itself, (R,); 0 where it does not ask."""
    above, below = parts
    return np.asarray(np.divide(above, below, out=np.zeros(len(above)), where=below > 0))


def _draw_variance(path: str, before: Outcomes, after: Outcomes) -> float:
    old, new = before.drawn.get(path), after.drawn.get(path)
    if old is None or new is None:
        return 0.0
    if before.seed == after.seed and len(old) == len(new):  # the same galleries
        return _variance_of_mean(new - old)
    return _variance_of_mean(old) + _variance_of_mean(new)


def _variance_of_mean(values_D: np.ndarray) -> float:
    known = values_D[~np.isnan(values_D)]
    return float(known.var(ddof=1) / len(known)) if len(known) > 1 else 0.0


def _sources(keys: Sequence[str], *outcomes: Outcomes) -> list[str]:
    known: dict[str, str] = {}
    for one in reversed(outcomes):
        known.update(zip(one.keys, one.sources, strict=False))
    return [known.get(key, "?") for key in keys]
