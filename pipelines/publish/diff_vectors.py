"""Drift of vectors: how far those of changed records moved, and whether what arrived can be told from what was there.

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
from trichord.pipelines.publish.diff_drift import LEVEL, Sample, plan_reads
from trichord.pipelines.publish.diff_rows import CHANGED, Rows
from trichord.pipelines.publish.diff_sides import Side

MAX_SHARDS = 100  # of each kind
MAX_CHANGED, MAX_COMPARED = 2_000, 1_000  # records
LEAST_AUC = 0.7  # what a classifier tells apart less well than this is much the same
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
class VectorDrift(Result):
    """The vectors of one source's records in one view.

    Attributes:
        source: of the records.
        view: of the records.
        before, after: vectors in the sample, one of each group.
        shift: distance of the centroids before and after; vectors have length 1.
        changed: cosines of records that changed; None where none did.
        arrived: vectors of records that came or changed, one of each group.
        separability: how well a linear classifier tells them from those before (AUC); None where too few arrived.
        limit: what it is flagged above: 0.7, or what chance alone would give.
        drifted: it is above its limit.
    """

    source: str
    view: str
    before: int
    after: int
    shift: float
    changed: Cosines | None
    arrived: int
    separability: float | None
    limit: float | None
    drifted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorDrifts(Result):
    """Drift by source and view; `why_not` says why nothing was compared."""

    why_not: str | None = None
    views: tuple[VectorDrift, ...] = ()


def measure_vectors(workspace: Workspace, before: Side, after: Side, rows: Rows) -> VectorDrifts:
    """Return the drift of the vectors of every source with a row that differs."""
    if before.publication is None or after.publication is None:
        return VectorDrifts(why_not="versions of tables have no vectors of their own; name publications")
    if before.fingerprint != after.fingerprint:
        return VectorDrifts(why_not="the models differ, and vectors of two spaces cannot be compared")
    sources = set(rows.sources())
    if not sources:
        return VectorDrifts(why_not="no record differs")
    samples = _read_samples(workspace, before, after, sources)
    arrived = rows.find_arrived([one for sample in samples.values() for one in sample.fresh])
    cosines = _compare_changed(workspace, before, after, rows)
    level = LEVEL / max(1, len(samples))
    found = [_compare(*name, samples[name], arrived, cosines.get(name), level) for name in sorted(samples)]
    return VectorDrifts(views=tuple(one for one in found if one is not None))


def _read_samples(
    workspace: Workspace, before: Side, after: Side, sources: set[str]
) -> dict[tuple[str, str], Sample]:
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


def _compare(
    source: str, view: str, sample: Sample, arrived: frozenset[str], cosines: Cosines | None, level: float
) -> VectorDrift | None:
    parts = sample.parts(arrived)
    if not parts["before"] or not parts["after"]:
        return None  # a view that came or went: the counts of the index say so
    was, now = (np.stack(parts[name]) for name in ("before", "after"))
    auc = limit = None
    if parts["arrived"]:
        new, old = np.stack(parts["arrived"][:MAX_COMPARED]), was[:MAX_COMPARED]
        auc = separability(new, old)
        if auc is not None:
            auc = round(auc, PLACES)
            limit = round(max(LEAST_AUC, separability_limit(len(new), len(old), level)), PLACES)
    return VectorDrift(
        source=source,
        view=view,
        before=len(was),
        after=len(now),
        shift=round(float(np.linalg.norm(was.mean(axis=0) - now.mean(axis=0))), PLACES),
        changed=cosines,
        arrived=len(parts["arrived"]),
        separability=auc,
        limit=limit,
        drifted=auc is not None and limit is not None and auc > limit,
    )


def _compare_changed(workspace: Workspace, before: Side, after: Side, rows: Rows) -> dict[tuple[str, str], Cosines]:
    """Return the cosines of records that changed, by source and view."""
    pairs = rows.db.execute(
        f"SELECT source, state0.row_digest, state1.row_digest {CHANGED} ORDER BY 3 LIMIT {MAX_CHANGED}"
    ).fetchall()
    if not pairs:
        return {}
    shards = [side.shards(workspace, "vectors") for side in (before, after)]
    was, now = (
        _vectors_of(workspace, (ref for address, ref in mine.items() if address not in other), [pair[1 + side] for pair in pairs])
        for side, (mine, other) in enumerate((shards, shards[::-1]))
    )  # fmt: skip
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for source, old, new in pairs:
        for view in was.get(old, {}).keys() & now.get(new, {}).keys():
            found[source, view].append(float(was[old][view] @ now[new][view]))
    return {name: _describe(np.array(values)) for name, values in found.items()}


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
