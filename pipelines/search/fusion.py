"""Rankings: merge the hits of several views, and of several parts of a query, into one list.

Pure functions on lists of hits; each list holds the hits of one view (and part), best first. In every result a record
appears once, in the view that ranked it best, and ties go to the higher cosine, then the smaller key, then the smaller
view.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trichord.encoders.calibration import Line
from trichord.index_builders.base import Hits

FUSION_DEPTH = 100  # least depth of each list in rank fusion: later ranks add next to nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedHit:
    """One record in one view, as rankings see it. Users get `trichord.Hit`.

    Attributes:
        key: the record's key.
        view: the view that matched.
        source: the record's source.
        cosine: the record's cosine to the query.
        score: what the ranking sorts by; the cosine at first.
    """

    key: str
    view: str
    source: str | None
    cosine: float
    score: float

    @property
    def place(self) -> tuple[float, float, str, str]:
        """Sort key: better hits come first, and no two hits are equal."""
        return -self.score, -self.cosine, self.key, self.view

    def with_score(self, score: float) -> RankedHit:
        """Return the same hit with another score."""
        return RankedHit(key=self.key, view=self.view, source=self.source, cosine=self.cosine, score=score)


def list_hits(hits: Hits, query: int = 0) -> list[RankedHit]:
    """Return one query's hits, scored by cosine."""
    columns = (hits.keys[query], hits.views[query], hits.sources[query], hits.scores[query].tolist())
    return [
        RankedHit(key=key, view=view, source=source, cosine=cosine, score=cosine)
        for key, view, source, cosine in zip(*columns, strict=True)
        if key is not None
    ]


def rescore(hits: Sequence[RankedHit], scale: float, offset: float) -> list[RankedHit]:
    """Return the same hits with the score `scale` * cosine + `offset`."""
    return [hit.with_score(scale * hit.cosine + offset) for hit in hits]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The query for one view: a record's score is `scale` * cosine to `vector_1D` + `offset`."""

    vector_1D: np.ndarray
    scale: float
    offset: float


def score_fusion(parts: Mapping[str, np.ndarray], lines: Mapping[str, Line], weights: Mapping[str, float]) -> Probe:
    """Combine parts of a query: the weighted sum of their calibrated scores, exact for every record of a view.

    A calibrated score is linear in the cosine, so a sum of them is an inner product with one vector.

    Args:
        parts: each part's vector, float32 (1, D), L2-normalised.
        lines: each part's calibration for this view.
        weights: by part, positive; 1 by default.

    Raises:
        ValueError: there are no parts, or they cancel out.
    """
    _demand(bool(parts), "the query has no parts")
    shares = {name: weights.get(name, 1.0) for name in parts}
    pulls = [shares[name] * lines[name].scale * parts[name].astype(np.float64) for name in sorted(parts)]
    pull_1D = np.sum(pulls, axis=0)
    scale = float(np.linalg.norm(pull_1D))
    _demand(scale > 1e-9, f"the parts of the query ({', '.join(parts)}) cancel out")
    return Probe(
        vector_1D=(pull_1D / scale).astype(np.float32),
        scale=scale,
        offset=math.fsum(shares[name] * lines[name].offset for name in parts),
    )


def by_score(lists: Sequence[Sequence[RankedHit]], k: int) -> list[RankedHit]:
    """Return the k records of highest score, each in its best view. Scores are all calibrated, or all cosines.

    Raises:
        ValueError: k is below 1.
    """
    _demand(k >= 1, f"k is {k}")
    return _once([hit for hits in lists for hit in hits])[:k]


def rank_fusion(
    lists: Sequence[Sequence[RankedHit]], k: int, *, constant: int, weights: Sequence[float] | None = None
) -> list[RankedHit]:
    """Fuse lists by reciprocal rank: a record's score is the sum of weight / (constant + rank), ranks from 1.

    Source: Cormack, Clarke and Büttcher 2009, "Reciprocal rank fusion outperforms Condorcet and individual rank
    learning methods". Lists of different modalities share few records, so the result takes them in turn, and a record
    in several lists moves up.

    Args:
        lists: one for each view and part of the query; their hits may be in any order.
        k: number of records to return.
        constant: the k of the paper; higher values trust the first ranks less.
        weights: one per list; 1 each if None.

    Raises:
        ValueError: k or `constant` is below 1, or the weights do not fit the lists or are not positive.
    """
    _demand(k >= 1 and constant >= 1, f"k is {k}, the constant {constant}")
    weights = [1.0] * len(lists) if weights is None else weights
    _demand(len(weights) == len(lists) and all(weight > 0 for weight in weights), f"weights {weights}")
    found: dict[str, list[tuple[float, RankedHit]]] = {}
    for weight, hits in zip(weights, lists, strict=True):
        for rank, hit in enumerate(_once(hits), start=1):
            found.setdefault(hit.key, []).append((weight / (constant + rank), hit))
    fused = []
    for shares in found.values():
        _, best = min(shares, key=lambda pair: (-pair[0], pair[1].place))
        fused.append(best.with_score(math.fsum(share for share, _ in shares)))  # fsum: whatever the order of lists
    return sorted(fused, key=lambda hit: hit.place)[:k]


def by_quota(lists: Mapping[str, Sequence[RankedHit]], k: int, shares: Mapping[str, float]) -> list[RankedHit]:
    """Return k records in order of score: the best of each view, in proportion to the views' shares.

    A place goes to the view with the smallest (places so far + 1/2) / share (Webster's method), which is exact if
    share * k is whole. If the shares sum to less than 1, the remaining places go by score, whatever the view. A view
    that runs out of hits leaves its places to the others.

    Args:
        lists: hits by view.
        k: number of records to return.
        shares: by view, positive, 1 in all at most.

    Raises:
        ValueError: k is below 1, the shares are invalid, or a view with a share has no list.
    """
    _demand(k >= 1, f"k is {k}")
    _demand(all(share > 0 for share in shares.values()) and sum(shares.values()) < 1 + 1e-9, f"shares {dict(shares)}")
    if missing := sorted(set(shares) - set(lists)):
        raise ValueError(f"a share is given to {missing[0]!r}, which was not searched")
    everything = _once([hit for hits in lists.values() for hit in hits])
    lanes = [_Lane(share=share, hits=_once(lists[view])) for view, share in sorted(shares.items())]
    if sum(shares.values()) < 1 - 1e-9:
        lanes.append(_Lane(share=1 - sum(shares.values()), hits=everything))
    lanes.append(_Lane(share=0.0, hits=everything))  # takes the places that no view fills
    taken: dict[str, RankedHit] = {}
    while len(taken) < k:
        waiting = [(lane, hit) for lane in lanes if (hit := lane.next(taken)) is not None]
        if not waiting:
            break
        lane, hit = min(waiting, key=lambda pair: (pair[0].turn, pair[1].place))
        lane.places += 1
        taken[hit.key] = hit
    return sorted(taken.values(), key=lambda hit: hit.place)


@dataclass
class _Lane:
    """One view's hits, and how many places it has taken."""

    share: float
    hits: list[RankedHit]
    places: int = 0
    seen: int = 0

    @property
    def turn(self) -> float:
        return (self.places + 0.5) / self.share if self.share else float("inf")

    def next(self, taken: Mapping[str, RankedHit]) -> RankedHit | None:
        while self.seen < len(self.hits) and self.hits[self.seen].key in taken:
            self.seen += 1
        return self.hits[self.seen] if self.seen < len(self.hits) else None


def _once(hits: Sequence[RankedHit]) -> list[RankedHit]:
    """Return each record once, in its best view, best first."""
    first: dict[str, RankedHit] = {}
    for hit in sorted(hits, key=lambda hit: hit.place):
        first.setdefault(hit.key, hit)
    return list(first.values())


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
