"""Which held-out queries have another top 10 in two publications, and which records came and went there.

The same questions go to both indexes, as a user's would: under the project's ranking, each publication with its own
model. A query is one modality of a test record that both publications measured; of text, another wording where there is
one. One index is open at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from trichord.encoders.base import Modality
from trichord.encoders.views import MODALITIES, Features
from trichord.infra import digest
from trichord.infra.errors import TrichordError
from trichord.infra.lake import layout
from trichord.infra.lake.publication import Publication
from trichord.infra.lake.shard import ShardRef, find_finished, read_shard
from trichord.infra.lazy import arrow_compute as pc
from trichord.infra.plain_arrow import strings
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.figures import PLACES, mean
from trichord.pipelines.evaluation.holdout import K
from trichord.pipelines.index.partition_map import read_partitions
from trichord.pipelines.model.feature_cache import features_address, featurised, read_features
from trichord.pipelines.publish.diff_rows import Rows
from trichord.pipelines.publish.outcomes import read_outcomes
from trichord.pipelines.search.fusion import RankedHit
from trichord.pipelines.search.nearest import nearest_features
from trichord.pipelines.search.search import LiveIndex, open_publication

RECORDS = 200  # test records that ask, unless the caller wants others
SHOWN = 10  # queries that are shown with both lists
AT_ONCE = 256  # queries that are asked together
TIE = 1e-6  # scores this near are equal: float32 cosines of one vector differ so in another index

Question = tuple[str, Modality]  # key of a test record, and the modality that asks


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Result):
    """A record in a list of hits.

    Attributes:
        key: of the record.
        source: of the record.
        view: the view that matched.
        score: what ranked it.
        text: of the record.
        shard: lake-relative path of its records shard.
        change: what became of it between the publications: added, removed, changed or `<fate> → <fate>`.
    """

    key: str
    source: str | None
    view: str
    score: float
    text: str | None
    shard: str | None
    change: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryChange(Result):
    """A query, and what both publications answer.

    Attributes:
        key: of the test record that asks.
        by: the modality that asks.
        shard: lake-relative path of its records shard.
        overlap: share of the first ten that both lists have.
        before, after: the lists, best first.
    """

    key: str
    by: str
    shard: str
    overlap: float
    before: tuple[Found, ...]
    after: tuple[Found, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryChanges(Result):
    """How the answers of two publications differ.

    Attributes:
        why_not: why nothing was asked; None if something was.
        k: hits of each query.
        records: test records that asked.
        asked: queries, at most one by each modality of a record.
        changed: queries of which another record is among the first k; records that tie for the last place count as
            the same.
        reordered: other queries of which the order differs.
        mean_overlap: mean share of the first k that both lists have; None if nothing was asked.
        mean_jaccard: mean of |both| / |either|, the same.
        most_changed: the queries with the least overlap.
    """

    why_not: str | None = None
    k: int = K
    records: int = 0
    asked: int = 0
    changed: int = 0
    reordered: int = 0
    mean_overlap: float | None = None
    mean_jaccard: float | None = None
    most_changed: tuple[QueryChange, ...] = ()


def compare_queries(
    workspace: Workspace, before: Publication, after: Publication, rows: Rows, records: int
) -> QueryChanges:
    """Ask both publications the queries of at most this many test records.

    `rows` say what became of the records in the answers. What keeps an index from answering is reported, not raised:
    all else of a comparison stays useful.
    """
    if not records:
        return QueryChanges(why_not="not wanted (--queries 0)")
    measured = [read_outcomes(workspace, one) for one in (before, after)]
    if any(one is None for one in measured):
        return QueryChanges(why_not="a publication measured no test record")
    common = set.intersection(*(set(one.keys) for one in measured if one is not None))
    keys = sorted(sorted(common), key=lambda key: digest.hash64(f"queries/{key}"))[:records]
    if not keys:
        return QueryChanges(why_not="no test record is in both publications")
    if before.manifest_digest == after.manifest_digest:
        return QueryChanges(why_not="both publications are the same index")
    try:
        return _compare(workspace, before, after, rows, keys)
    except (TrichordError, FileNotFoundError) as error:
        return QueryChanges(why_not=f"an index could not be asked: {str(error).splitlines()[0]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answered:
    """What one publication answered, and the path of the records shard of each record in its answers."""

    answers: Mapping[Question, Sequence[RankedHit]]
    shards: Mapping[str, str]


def _compare(
    workspace: Workspace, before: Publication, after: Publication, rows: Rows, keys: Sequence[str]
) -> QueryChanges:
    asked = _Asked(workspace, keys)
    newer = asked.of(after)  # first: queries are made of the records as they are now
    older = asked.of(before)
    was, now = older.answers, newer.answers
    shared = {question: _count_shared(was[question], now[question]) for question in sorted(now)}
    longest = {question: max(1, len(was[question]), len(now[question])) for question in shared}
    changed = [one for one in shared if shared[one] < longest[one]]
    reordered = [one for one in shared if shared[one] == longest[one] and _is_reordered(was[one], now[one])]
    chosen = sorted(changed, key=lambda one: (shared[one] / longest[one], one))[:SHOWN]
    lists = [_described(workspace, side, rows, chosen) for side in (older, newer)]
    jaccards = [both / max(1, len(was[one]) + len(now[one]) - both) for one, both in shared.items()]
    return QueryChanges(
        records=len({key for key, _ in shared}),
        asked=len(shared),
        changed=len(changed),
        reordered=len(reordered),
        mean_overlap=mean(np.array([both / longest[one] for one, both in shared.items()])) if shared else None,
        mean_jaccard=mean(np.array(jaccards)) if shared else None,
        most_changed=tuple(
            QueryChange(
                key=one[0],
                by=one[1],
                shard=asked.shards[one[0]].path,
                overlap=round(shared[one] / longest[one], PLACES),
                before=lists[0][one],
                after=lists[1][one],
            )
            for one in chosen
        ),
    )


class _Asked:
    """The queries: features of test records as the later publication holds them, made once for equal encoders."""

    def __init__(self, workspace: Workspace, keys: Sequence[str]) -> None:
        self._workspace, self._keys = workspace, keys
        self._features: dict[str, tuple[list[str], Features]] = {}  # by the encoders' fingerprint
        self.shards: dict[str, ShardRef] = {}  # of each record that asks

    def of(self, publication: Publication) -> _Answered:
        """Open a publication and ask it."""
        index = open_publication(self._workspace, publication)
        paths = read_partitions(self._workspace, publication.manifest)
        if not self.shards:
            refs = {ref.path: ref for ref in self._workspace.pinned_shards("records", publication).values()}
            partitions = index.searcher.partitions_of(self._keys)
            self.shards = {key: refs[paths[partition]] for key, partition in partitions.items()}
        answers = self._ask(index)
        found = sorted({hit.key for hits in answers.values() for hit in hits})
        shards = {key: paths[partition] for key, partition in index.searcher.partitions_of(found).items()}
        return _Answered(answers=answers, shards=shards)

    def _ask(self, index: LiveIndex) -> dict[Question, list[RankedHit]]:
        keys, features = self._made_by(index.model)
        answers: dict[Question, list[RankedHit]] = {}
        for place, modality in enumerate(MODALITIES):
            asking = np.flatnonzero(features.present[:, place])
            for first in range(0, len(asking), AT_ONCE):
                rows = asking[first : first + AT_ONCE]
                part = _by(features.take(rows), modality)
                hits = nearest_features(index, part, self._workspace.project.query, K)
                answers |= {(keys[row], modality): found for row, found in zip(rows, hits, strict=True)}
        return answers

    def _made_by(self, model: Any) -> tuple[list[str], Features]:
        """Return keys and features, from the lake's cache where it has them; `model` is a loaded `Embedder`."""
        encoders = model.encoders
        if encoders.fingerprint not in self._features:
            keys: list[str] = []
            parts = [Features.none(encoders.dimensions)]
            by_path: dict[str, list[str]] = defaultdict(list)
            for key, ref in sorted(self.shards.items()):
                by_path[ref.path].append(key)
            refs = {ref.path: ref for ref in self.shards.values()}
            for path, wanted in sorted(by_path.items()):
                for rows, features in _read(self._workspace, refs[path], model, strings(wanted)):
                    keys += rows["key"].to_pylist()
                    parts.append(features)
            self._features[encoders.fingerprint] = keys, Features.concat(parts)
        return self._features[encoders.fingerprint]


def _read(workspace: Workspace, ref: ShardRef, model: Any, keys: pa.Array) -> Iterator[tuple[pa.Table, Features]]:
    def keep(rows: pa.Table) -> np.ndarray:
        return np.asarray(pc.is_in(rows["key"], value_set=keys).to_numpy(), bool)

    address = features_address(model.encoders.fingerprint, ref.address)
    cached = find_finished(workspace.lake, layout.FEATURES, [address]).get(address)
    if cached is None:
        yield from featurised(workspace.lake, ref, model.featurise, keep=keep)
        return
    for rows, features in read_features(workspace.lake, cached, model.encoders.dimensions):
        chosen = np.flatnonzero(keep(rows))
        yield rows.take(pa.array(chosen)), features.take(chosen)


def _by(features: Features, modality: Modality) -> Features:
    """Return the queries of one modality alone; of text, another wording where there is one."""
    values, starts = dict(features.values), features.offsets[:-1]
    if modality == "text":
        other = np.diff(features.offsets) > 0
        values["text"] = values["text"].copy()
        values["text"][other] = features.captions[starts[other]]
    present = features.present & (np.array(MODALITIES) == modality)
    return Features(values=values, present=present, captions=features.captions, offsets=features.offsets)


def _count_shared(was: Sequence[RankedHit], now: Sequence[RankedHit]) -> int:
    """Count the records that both lists have; of records that tie for the last place, any counts as any other."""
    in_both = {hit.key for hit in was} & {hit.key for hit in now}
    tied = [
        sum(hit.key not in in_both and hit.score <= other[-1].score + TIE for hit in own)
        for own, other in ((was, now), (now, was))
        if other
    ]
    return len(in_both) + (min(tied) if len(tied) == 2 else 0)


def _is_reordered(was: Sequence[RankedHit], now: Sequence[RankedHit]) -> bool:
    """Return True if records that do not tie are in another order."""
    place = {hit.key: place for place, hit in enumerate(was)}
    common = [hit for hit in now if hit.key in place]
    return any(
        place[first.key] > place[second.key] and first.score > second.score + TIE for first, second in pairwise(common)
    )


def _described(
    workspace: Workspace, side: _Answered, changes: Rows, chosen: Sequence[Question]
) -> dict[Question, tuple[Found, ...]]:
    """Return the lists of some queries with the records' texts."""
    by_path: dict[str, list[str]] = defaultdict(list)
    for key in {hit.key for question in chosen for hit in side.answers[question]}:
        if key in side.shards:
            by_path[side.shards[key]].append(key)
    texts: dict[tuple[str, str], str | None] = {}
    for path, keys in sorted(by_path.items()):
        rows = read_shard(workspace.lake, path, ["key", "source", "text"])
        rows = rows.filter(pc.is_in(rows["key"], value_set=strings(sorted(keys))))
        columns = (rows[name].to_pylist() for name in ("source", "key", "text"))
        texts |= {(source, key): text for source, key, text in zip(*columns, strict=True)}
    return {
        question: tuple(
            Found(
                key=hit.key,
                source=hit.source,
                view=hit.view,
                score=round(hit.score, PLACES),
                text=texts.get((hit.source or "", hit.key)),
                shard=side.shards.get(hit.key),
                change=changes.change_of(hit.source or "", hit.key),
            )
            for hit in side.answers[question]
        )
        for question in chosen
    }
