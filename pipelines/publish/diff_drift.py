"""Drift of scores: how the quality scores of each source's records moved, and those of what arrived.

Only sources with a row that differs are looked at. Shards that both sides have are read once for both, at most
`MAX_SHARDS` of them, and so are those of each side alone. Records of one group (the pages of a story) resemble each other, so
one of each group counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trichord.infra.lake.shard import ShardRef, iter_shard
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.drift import ks_distance, ks_limit
from trichord.pipelines.evaluation.figures import PLACES
from trichord.pipelines.publish.diff_rows import Rows
from trichord.pipelines.publish.diff_sides import Side

MAX_SHARDS, MAX_ROWS = 400, 50_000  # of those that both sides have, and of each side's own
LEAST_SHIFT = 0.1  # smaller distances matter to nobody, however certain they are
LEVEL = 0.01  # probability that any figure of a comparison is flagged where nothing drifted
LEAST_ARRIVED = 5  # fewer differ from all others by chance, however they differ
BINS = 24
_COLUMNS = ("source", "group", "row_digest", "scores")
_ROWS = 4_096  # read at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution(Result):
    """Values of a score: how many, and their 5th, 50th and 95th percentile."""

    rows: int
    p05: float
    p50: float
    p95: float
    histogram: tuple[float, ...]  # shares of equal bins between `low` and `high` of the drift


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreDrift(Result):
    """A score of one source's records, before and after.

    Attributes:
        source: of the records.
        score: its name.
        before, after: one record of each group, of the whole source or a sample of it.
        arrived: those that came or changed; None where fewer than `LEAST_ARRIVED` did.
        low, high: range of the histograms.
        distance: Kolmogorov-Smirnov distance of `after` from `before`.
        limit: what it is flagged above: 0.1, or what chance alone would give.
        arrived_distance: distance of `arrived` from `before`.
        arrived_limit: its limit.
        drifted: one of the two is above its limit.
    """

    source: str
    score: str
    before: Distribution
    after: Distribution
    arrived: Distribution | None
    low: float
    high: float
    distance: float
    limit: float
    arrived_distance: float | None
    arrived_limit: float | None
    drifted: bool


@dataclass(slots=True, kw_only=True)
class Sample:
    """Rows of one source: row digest -> (group, anything); sorted by digest they are in random order."""

    before: dict[str, tuple[str, Any]] = field(default_factory=dict)
    after: dict[str, tuple[str, Any]] = field(default_factory=dict)
    fresh: dict[str, tuple[str, Any]] = field(default_factory=dict)  # in shards of the later side alone

    def add(self, read: Read, row_digest: str, found: tuple[str, Any]) -> None:
        """Add a row of a shard to the parts that it belongs to."""
        if _is_kept(row_digest, read.share):
            if read.in_before:
                self.before[row_digest] = found
            if read.in_after:
                self.after[row_digest] = found
        if not read.in_before and _is_kept(row_digest, read.fresh_share):
            self.fresh[row_digest] = found

    def parts(self, arrived: frozenset[str]) -> dict[str, list[Any]]:
        """Return the values of `before`, `after` and `arrived`, one row of each group, in random order."""
        came = {row_digest: found for row_digest, found in self.fresh.items() if row_digest in arrived}
        parts = {"before": self.before, "after": self.after, "arrived": came}
        return {name: _one_a_group(rows) for name, rows in parts.items()}


def _one_a_group(rows: Mapping[str, tuple[str, Any]]) -> list[Any]:
    chosen: dict[str, Any] = {}
    for row_digest in sorted(rows):
        chosen.setdefault(*rows[row_digest])
    return list(chosen.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A shard to read.

    Attributes:
        ref: the shard.
        in_before, in_after: the sides that have it.
        share: of its rows to keep, so that a sample holds shards of both sides and of one in their true proportion.
        fresh_share: of its rows to keep among those that may have arrived.
    """

    ref: ShardRef
    in_before: bool
    in_after: bool
    share: float
    fresh_share: float


def plan_reads(workspace: Workspace, sides: tuple[Side, Side], table: str, most: int) -> list[Read]:
    """Return the shards to read of a table: at most so many that both sides have, and so many of each side alone."""
    before, after = (side.shards(workspace, table) for side in sides)
    parts = []
    for mine, other, in_before, in_after in (
        (after, before, True, True),
        (before, after, True, False),
        (after, before, False, True),
    ):
        both = in_before and in_after
        filled = [ref for address, ref in sorted(mine.items()) if ref.rows and (address in other) is both]
        chosen = filled[:: -(-len(filled) // most) or 1]  # addresses are digests: evenly spaced ones are a random sample
        if chosen:
            rows, read = sum(ref.rows for ref in filled), sum(ref.rows for ref in chosen)
            parts.append((chosen, in_before, in_after, read / rows, min(1.0, MAX_ROWS / read)))
    least = min((share * room for *_, share, room in parts), default=1.0)
    return [
        Read(ref=ref, in_before=in_before, in_after=in_after, share=least / share, fresh_share=room)
        for chosen, in_before, in_after, share, room in parts
        for ref in chosen
    ]


def _is_kept(row_digest: str, share: float) -> bool:
    """Return True if a row belongs to a sample of this share: by its digest, which is random."""
    return share >= 1 or int(row_digest[:13], 16) < share * 16**13


def measure_scores(workspace: Workspace, before: Side, after: Side, rows: Rows) -> tuple[ScoreDrift, ...]:
    """Return the drift of every score of every source with a row that differs; those that drifted come first."""
    sources = set(rows.sources())
    samples: dict[str, Sample] = defaultdict(Sample)
    for read in plan_reads(workspace, (before, after), "records", MAX_SHARDS) if sources else ():
        for batch in iter_shard(workspace.lake, read.ref, _COLUMNS, batch_rows=_ROWS):
            for source, group, row_digest, scores in zip(*(batch[name].to_pylist() for name in _COLUMNS), strict=True):
                if source in sources:
                    samples[source].add(read, row_digest, (group, dict(scores)))
    arrived = rows.find_arrived([one for sample in samples.values() for one in sample.fresh])
    compared: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for source, sample in sorted(samples.items()):
        parts = sample.parts(arrived)
        for score in sorted({score for row in parts["before"] for score in row}):
            values = {name: _values(part, score) for name, part in parts.items()}
            if len(values["before"]) and len(values["after"]):
                compared[source, score] = values
    level = LEVEL / max(1, 2 * len(compared))
    drifts = [_compare(*pair, values, level) for pair, values in compared.items()]
    return tuple(sorted(drifts, key=lambda one: (not one.drifted, -_strength(one), one.source, one.score)))


def _values(rows: Sequence[Mapping[str, float]], score: str) -> np.ndarray:
    values = np.array([one[score] for one in rows if score in one], dtype=np.float64)
    return values[np.isfinite(values)]


def _compare(source: str, score: str, values: Mapping[str, np.ndarray], level: float) -> ScoreDrift:
    every = np.concatenate(list(values.values()))
    low, high = float(every.min()), float(every.max())
    before, after, arrived = (values[name] for name in ("before", "after", "arrived"))
    distance, limit = _distance(before, after, level)
    new_distance, new_limit = _distance(before, arrived, level) if len(arrived) >= LEAST_ARRIVED else (None, None)
    drifted = distance > limit or (new_distance is not None and new_limit is not None and new_distance > new_limit)
    return ScoreDrift(
        source=source,
        score=score,
        before=_describe(before, low, high),
        after=_describe(after, low, high),
        arrived=_describe(arrived, low, high) if len(arrived) >= LEAST_ARRIVED else None,
        low=round(low, PLACES),
        high=round(high, PLACES),
        distance=distance,
        limit=limit,
        arrived_distance=new_distance,
        arrived_limit=new_limit,
        drifted=drifted,
    )


def _distance(before: np.ndarray, now: np.ndarray, level: float) -> tuple[float, float]:
    """Return a distance and its limit."""
    limit = max(LEAST_SHIFT, min(1.0, ks_limit(len(before), len(now), level)))
    return round(ks_distance(before, now), PLACES), round(limit, PLACES)


def _describe(values: np.ndarray, low: float, high: float) -> Distribution:
    p05, p50, p95 = (round(float(one), PLACES) for one in np.percentile(values, (5, 50, 95)))
    counts, _ = np.histogram(values, BINS, (low, high) if high > low else (low - 0.5, high + 0.5))
    return Distribution(
        rows=len(values), p05=p05, p50=p50, p95=p95, histogram=tuple(round(one / len(values), 4) for one in counts.tolist())
    )


def _strength(drift: ScoreDrift) -> float:
    """Return how near the larger distance is to its limit, 1 at it."""
    return max(drift.distance / drift.limit, (drift.arrived_distance or 0.0) / (drift.arrived_limit or 1.0))
