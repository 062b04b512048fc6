"""Drift of scores: how the quality scores of each source's records moved.

Three comparisons, because each hides what another shows: all records after with all before; changed records with
themselves before (all records would hide few that changed); added records with all before (a night adds little).

Only sources with a row that differs are looked at. Shards that both sides have are read once for both, at most
`MAX_SHARDS` of them, and so are those of each side alone. Records of one group (the pages of a story) resemble each
other, so one of each group counts: without that, another draw of the same data would pass for drift. Fewer than
`LEAST_ROWS` are not compared.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trichord.infra.lake.shard import ShardRef, iter_shard
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.drift import LEAST_ROWS, ks_distance, ks_limit
from trichord.pipelines.evaluation.figures import PLACES
from trichord.pipelines.publish.diff_rows import Rows, iter_chosen
from trichord.pipelines.publish.diff_sides import Side
from trichord.transforms.clean.language import LABEL

MAX_SHARDS, MAX_ROWS = 400, 50_000  # of those that both sides have, and of each side's own
MAX_DRAWN = 5_000  # added, and changed, records of a source
LEAST_SHIFT = 0.1  # smaller distances matter to nobody, however certain they are
LEVEL = 0.01  # probability that any score, or any view, of a comparison is flagged where nothing drifted
BINS = 24
ALL, CHANGED, ADDED = "all", "changed", "added"
LANGUAGE = "language:"  # and a code: 1 where the detector found it, else 0, so that a distance is a change of its share
MAX_LANGUAGES = 8  # of a source, the most frequent
_COLUMNS = ("source", "group", "row_digest", "scores", "labels")
_ROWS = 4_096  # read at a time

Scores = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution(Result):
    """Values of a score.

    Attributes:
        rows: how many.
        p05, p50, p95: their percentiles.
        histogram: their shares in equal bins between `low` and `high` of the drift.
    """

    rows: int
    p05: float
    p50: float
    p95: float
    histogram: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreComparison(Result):
    """Two distributions of a score.

    Attributes:
        of: `all` records before and after; `changed` records before and after; or all before and those `added`.
        before, after: one record of each group.
        distance: Kolmogorov-Smirnov distance.
        limit: what it is flagged above: 0.1, or what chance alone would give.
        drifted: it is above its limit.
    """

    of: str
    before: Distribution
    after: Distribution
    distance: float
    limit: float
    drifted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreDrift(Result):
    """A score of one source's records.

    Attributes:
        source: of the records.
        score: its name.
        low, high: range of the histograms.
        comparisons: the one nearest to its limit, or furthest above it, first.
        drifted: one of them drifted.
    """

    source: str
    score: str
    low: float
    high: float
    comparisons: tuple[ScoreComparison, ...]
    drifted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Records of one source that were added or that changed, one of each group: (row digest, scores), in random order.

    `changed` has each record as it was and as it is.
    """

    added: Sequence[tuple[str, Scores]]
    changed: Sequence[tuple[tuple[str, Scores], tuple[str, Scores]]]


def draw_records(workspace: Workspace, rows: Rows) -> dict[str, Drawn]:
    """Draw added and changed records of each source with a row that differs."""
    found: dict[str, Drawn] = {}
    for source in rows.sources():
        added, changed = rows.draw_added(source, MAX_DRAWN), rows.draw_changed(source, MAX_DRAWN)
        places = [*added, *(was for was, _ in changed), *(now for _, now in changed)]
        known = dict[str, tuple[str, Scores]]()
        for batch in iter_chosen(workspace, sorted(places), _COLUMNS):
            columns = (batch[name].to_pylist() for name in _COLUMNS[1:])
            rows_of = zip(*columns, strict=True)
            known |= {row_digest: (group, _measures(*found)) for group, row_digest, *found in rows_of}
        came = [(known[one][0], (one, known[one][1])) for _, one in added]
        pairs = [(known[now][0], ((was, known[was][1]), (now, known[now][1]))) for (_, was), (_, now) in changed]
        found[source] = Drawn(added=_one_a_group(came), changed=_one_a_group(pairs))
    return found


@dataclass(slots=True, kw_only=True)
class Sample:
    """Rows of one source, or of one of its views: row digest -> (group, anything)."""

    before: dict[str, tuple[str, Any]] = field(default_factory=dict)
    after: dict[str, tuple[str, Any]] = field(default_factory=dict)

    def add(self, read: Read, row_digest: str, found: tuple[str, Any]) -> None:
        """Add a row of a shard to the sides that it belongs to."""
        if read.share < 1 and int(row_digest[:13], 16) >= read.share * 16**13:
            return  # the digest is random
        if read.in_before:
            self.before[row_digest] = found
        if read.in_after:
            self.after[row_digest] = found

    def sides(self) -> tuple[list[Any], list[Any]]:
        """Return the values before and after, one row of each group, in random order."""
        was, now = (_one_a_group(rows[one] for one in sorted(rows)) for rows in (self.before, self.after))
        return was, now


def _one_a_group(rows: Iterable[tuple[str, Any]]) -> list[Any]:
    chosen: dict[str, Any] = {}
    for group, value in rows:
        chosen.setdefault(group, value)
    return list(chosen.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A shard to read.

    Attributes:
        ref: the shard.
        in_before, in_after: the sides that have it.
        share: of its rows to keep, so that a sample holds shards of both sides and of one in their true proportion.
    """

    ref: ShardRef
    in_before: bool
    in_after: bool
    share: float


def plan_reads(workspace: Workspace, sides: tuple[Side, Side], table: str, most: int) -> list[Read]:
    """Return the shards to read of a table: at most this many that both sides have, and as many of each side alone."""
    before, after = (side.shards(workspace, table) for side in sides)
    parts = []
    for mine, other, in_before, in_after in (
        (after, before, True, True),
        (before, after, True, False),
        (after, before, False, True),
    ):
        both = in_before and in_after
        filled = [ref for address, ref in sorted(mine.items()) if ref.rows and (address in other) is both]
        chosen = filled[
            :: -(-len(filled) // most) or 1
        ]  # addresses are digests: evenly spaced ones are a random sample
        if chosen:
            rows, read = sum(ref.rows for ref in filled), sum(ref.rows for ref in chosen)
            parts.append((chosen, in_before, in_after, read / rows, min(1.0, MAX_ROWS / read)))
    least = min((share * room for *_, share, room in parts), default=1.0)
    return [
        Read(ref=ref, in_before=in_before, in_after=in_after, share=least / share)
        for chosen, in_before, in_after, share, _ in parts
        for ref in chosen
    ]


def measure_scores(
    workspace: Workspace, before: Side, after: Side, drawn: Mapping[str, Drawn]
) -> tuple[ScoreDrift, ...]:
    """Return the drift of every score of every source with a row that differs; those that drifted come first."""
    samples: dict[str, Sample] = defaultdict(Sample)
    for read in plan_reads(workspace, (before, after), "records", MAX_SHARDS) if drawn else ():
        for batch in iter_shard(workspace.lake, read.ref, _COLUMNS, batch_rows=_ROWS):
            for source, group, row_digest, *found in zip(*(batch[name].to_pylist() for name in _COLUMNS), strict=True):
                if source in drawn:
                    samples[source].add(read, row_digest, (group, _measures(*found)))
    wanted: list[tuple[str, str, dict[str, tuple[np.ndarray, np.ndarray]]]] = []
    for source, sample in sorted(samples.items()):
        was, now = sample.sides()
        pairs = drawn[source].changed
        rows = {
            ALL: (was, now),
            CHANGED: ([old for (_, old), _ in pairs], [new for _, (_, new) in pairs]),
            ADDED: (was, [scores for _, scores in drawn[source].added]),
        }
        for score in _names([*was, *now]):
            values = {of: (_values(one, score), _values(other, score)) for of, (one, other) in rows.items()}
            enough = {of: both for of, both in values.items() if min(map(len, both)) >= LEAST_ROWS}
            if enough:
                wanted.append((source, score, enough))
    level = LEVEL / max(1, sum(len(values) for *_, values in wanted))
    drifts = [_compare(source, score, values, level) for source, score, values in wanted]
    return tuple(sorted(drifts, key=lambda one: (-nearness(one.comparisons[0]), one.source, one.score)))


def nearness(comparison: ScoreComparison) -> float:
    """Return how near a distance is to its limit: 1 at it, more above."""
    return comparison.distance / comparison.limit


def _measures(scores: Iterable[tuple[str, float]], labels: Iterable[tuple[str, str]]) -> Scores:
    """Return a record's scores, with the language that was detected as a score of its own."""
    found = dict(scores)
    if language := dict(labels).get(LABEL):
        found |= {LANGUAGE: 1.0, LANGUAGE + language: 1.0}
    return found


def _names(rows: Sequence[Scores]) -> list[str]:
    """Return the scores of some rows, with the most frequent languages."""
    counts = Counter(score for row in rows for score in row if score != LANGUAGE)
    languages = Counter({name: count for name, count in counts.items() if name.startswith(LANGUAGE)})
    left_out = {name for name, _ in languages.most_common()[MAX_LANGUAGES:]}
    return sorted(counts.keys() - left_out)


def _values(rows: Sequence[Scores], score: str) -> np.ndarray:
    if score.startswith(LANGUAGE):
        return np.array([one.get(score, 0.0) for one in rows if LANGUAGE in one], dtype=np.float64)
    values = np.array([one[score] for one in rows if score in one], dtype=np.float64)
    return values[np.isfinite(values)]


def _compare(source: str, score: str, values: Mapping[str, tuple[np.ndarray, np.ndarray]], level: float) -> ScoreDrift:
    every = np.concatenate([part for both in values.values() for part in both])
    low, high = float(every.min()), float(every.max())
    found = []
    for of, (was, now) in values.items():
        distance = round(ks_distance(was, now), PLACES)
        limit = round(max(LEAST_SHIFT, min(1.0, ks_limit(len(was), len(now), level))), PLACES)
        before, after = (_describe(part, low, high) for part in (was, now))
        found.append(
            ScoreComparison(of=of, before=before, after=after, distance=distance, limit=limit, drifted=distance > limit)
        )
    found.sort(key=nearness, reverse=True)
    return ScoreDrift(
        source=source,
        score=score,
        low=round(low, PLACES),
        high=round(high, PLACES),
        comparisons=tuple(found),
        drifted=any(one.drifted for one in found),
    )


def _describe(values: np.ndarray, low: float, high: float) -> Distribution:
    p05, p50, p95 = (round(float(one), PLACES) for one in np.percentile(values, (5, 50, 95)))
    counts, _ = np.histogram(values, BINS, (low, high) if high > low else (low - 0.5, high + 0.5))
    shares = tuple(round(one / len(values), 4) for one in counts.tolist())
    return Distribution(rows=len(values), p05=p05, p50=p50, p95=p95, histogram=shares)
