"""Drift of vectors: how far those of changed records moved, and whether a classifier separates new from old.

Vectors of one space alone are compared: cosines between two models mean nothing. Sampled as scores are (`diff_drift`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from trichord.infra.lake.publication import Publication
from trichord.infra.lake.shard import ShardRef, iter_shard, read_shard, take_rows
from trichord.infra.lazy import arrow_compute as pc
from trichord.infra.plain_arrow import strings
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.drift import separability, separability_limit
from trichord.pipelines.evaluation.figures import PLACES
from trichord.pipelines.index.partition_map import read_partitions
from trichord.pipelines.publish.diff_drift import ADDED, CHANGED, LEVEL, Drawn, Sample, plan_reads
from trichord.pipelines.publish.diff_sides import Side

MAX_SHARDS = 100  # of each kind
MAX_COMPARED = 1_000  # vectors of a sample
LEAST_AUC = 0.7  # samples that a classifier separates less well than this are much the same
_COLUMNS = ("source", "view", "partition", "row_digest", "vector")
_ROWS = 1_024  # read at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosines(Result):
    """Cosines of the vectors that a changed record had and has: of how many records, and how low they go."""

    records: int
    p05: float
    p50: float
    least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorComparison(Result):
    """How well a linear classifier separates two samples of vectors.

    Attributes:
        of: `changed` records before and after, or those `added` and all before.
        before, after: vectors, one of each group.
        separability: AUC on vectors that it was not fitted on; 0.5: not at all, 1: entirely.
        limit: what it is flagged above: 0.7, or what chance alone would give.
        drifted: it is above its limit.
    """

    of: str
    before: int
    after: int
    separability: float
    limit: float
    drifted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorDrift(Result):
    """The vectors of one source's records in one view.

    Attributes:
        source: of the records.
        view: of the records.
        before, after: vectors in the sample, one of each group.
        shift: distance of the centroids before and after; vectors have length 1.
        cosines: of records that changed; None where none did.
        comparisons: those with enough vectors.
        drifted: one of them drifted.
    """

    source: str
    view: str
    before: int
    after: int
    shift: float
    cosines: Cosines | None
    comparisons: tuple[VectorComparison, ...]
    drifted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorDrifts(Result):
    """Drift by source and view; `why_not` says why nothing was compared."""

    why_not: str | None = None
    views: tuple[VectorDrift, ...] = ()


def measure_vectors(workspace: Workspace, before: Side, after: Side, drawn: Mapping[str, Drawn]) -> VectorDrifts:
    """Return the drift of the vectors of every source with a row that differs."""
    if before.publication is None or after.publication is None:
        return VectorDrifts(why_not="versions of tables have no vectors of their own; name publications")
    if before.fingerprint != after.fingerprint:
        return VectorDrifts(why_not="the models differ, and vectors of two spaces cannot be compared")
    if not drawn:
        return VectorDrifts(why_not="no record differs")
    shards = [side.shards(workspace, "vectors") for side in (before, after)]
    changed = [pair for one in drawn.values() for pair in one.changed]
    added = [row_digest for one in drawn.values() for row_digest, _ in one.added]
    was = _vectors_of(workspace, _only_in(*shards), [row_digest for (row_digest, _), _ in changed])
    now = _vectors_of(workspace, _only_in(*shards[::-1]), [*(one for _, (one, _) in changed), *added])
    samples = _read_samples(workspace, before, after, set(drawn))
    level = LEVEL / max(1, 2 * len(samples))
    found = []
    for (source, view), sample in sorted(samples.items()):
        old, new = sample.sides()
        if not old or not new:
            continue  # a view that came or went: the counts of the index say so
        pairs = [
            (was[one][view], now[other][view])
            for (one, _), (other, _) in drawn[source].changed
            if view in was.get(one, ()) and view in now.get(other, ())
        ]
        came = [now[one][view] for one, _ in drawn[source].added if view in now.get(one, ())]
        compared = (
            _compare(CHANGED, [one for one, _ in pairs], [other for _, other in pairs], level),
            _compare(ADDED, old, came, level),
        )
        comparisons = tuple(one for one in compared if one is not None)
        found.append(
            VectorDrift(
                source=source,
                view=view,
                before=len(old),
                after=len(new),
                shift=round(float(np.linalg.norm(np.mean(old, axis=0) - np.mean(new, axis=0))), PLACES),
                cosines=_describe(np.array([float(one @ other) for one, other in pairs])) if pairs else None,
                comparisons=comparisons,
                drifted=any(one.drifted for one in comparisons),
            )
        )
    return VectorDrifts(views=tuple(found))


def _compare(of: str, was: Sequence[np.ndarray], now: Sequence[np.ndarray], level: float) -> VectorComparison | None:
    before, after = was[:MAX_COMPARED], now[:MAX_COMPARED]
    auc = separability(np.array(after), np.array(before))
    if auc is None:
        return None
    limit = round(max(LEAST_AUC, separability_limit(len(after), len(before), level)), PLACES)
    return VectorComparison(
        of=of,
        before=len(before),
        after=len(after),
        separability=round(auc, PLACES),
        limit=limit,
        drifted=auc > limit,
    )


def _only_in(mine: Mapping[str, ShardRef], other: Mapping[str, ShardRef]) -> list[ShardRef]:
    return [ref for address, ref in mine.items() if address not in other]


def _read_samples(workspace: Workspace, before: Side, after: Side, sources: set[str]) -> dict[tuple[str, str], Sample]:
    """Return samples of vectors by source and view."""
    samples: dict[tuple[str, str], Sample] = defaultdict(Sample)
    assert before.publication is not None
    assert after.publication is not None
    old, new = _Groups(workspace, before.publication), _Groups(workspace, after.publication)
    for read in plan_reads(workspace, (before, after), "vectors", MAX_SHARDS):
        for batch in iter_shard(workspace.lake, read.ref, _COLUMNS, batch_rows=_ROWS):
            rows = pa.Table.from_batches([batch])
            labels = zip(*(rows[name].to_pylist() for name in _COLUMNS[:-1]), strict=True)
            for (source, view, partition, row_digest), vector in zip(labels, _matrix(rows), strict=True):
                if source in sources:
                    group = (new if read.in_after else old).of(partition, row_digest)
                    samples[source, view].add(read, row_digest, (group, vector))
    return samples


class _Groups:
    """The groups of a publication's records, read by partition."""

    def __init__(self, workspace: Workspace, publication: Publication) -> None:
        self._workspace, self._paths = workspace, read_partitions(workspace, publication.manifest)
        self._known: dict[str, Mapping[str, str]] = {}

    def of(self, partition: str, row_digest: str) -> str:
        """Return the group of a row."""
        if partition not in self._known:
            rows = read_shard(self._workspace.lake, self._paths[partition], ["row_digest", "group"])
            columns = (rows[name].to_pylist() for name in ("row_digest", "group"))
            self._known = {partition: dict(zip(*columns, strict=True))}  # a shard holds one partition
        return self._known[partition].get(row_digest, row_digest)


def _matrix(rows: pa.Table) -> np.ndarray:
    """Return the vectors as float32 (N, D)."""
    flat = rows["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.astype(np.float32).reshape(rows.num_rows, -1)


def _vectors_of(
    workspace: Workspace, refs: Iterable[ShardRef], row_digests: Sequence[str]
) -> dict[str, dict[str, np.ndarray]]:
    """Return the vectors of some rows by digest and view; only row groups that hold one are read whole."""
    wanted, found = strings(sorted(set(row_digests))), dict[str, dict[str, np.ndarray]]()
    for ref in refs:
        digests = read_shard(workspace.lake, ref, ["row_digest"])["row_digest"]
        places = np.flatnonzero(np.asarray(pc.is_in(digests, value_set=wanted).to_numpy(), bool))
        if len(places):
            rows = take_rows(workspace.lake, ref, places.tolist(), ["row_digest", "view", "vector"])
            columns = (rows[name].to_pylist() for name in ("row_digest", "view"))
            for row_digest, view, vector in zip(*columns, _matrix(rows), strict=True):
                found.setdefault(row_digest, {})[view] = vector
    return found


def _describe(cosines: np.ndarray) -> Cosines:
    p05, p50 = (round(float(one), PLACES) for one in np.percentile(cosines, (5, 50)))
    return Cosines(records=len(cosines), p05=p05, p50=p50, least=round(float(cosines.min()), PLACES))
