"""A record's history: in which of the kept publications it is, with which fate, and when that changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from trichord.infra.lake.publication import JsonDict, Publication
from trichord.infra.lake.shard import ShardRef, read_shard
from trichord.infra.lazy import arrow_compute as pc
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.job import reason_name
from trichord.pipelines.publish.pinned import kept_publications

ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Result):
    """A publication in which something happened to a record.

    Attributes:
        event: `came`, `went` (its source no longer holds it), `moved` to another fate, or `changed` in content.
        publication: the first one after it.
        at: when that was published, ISO 8601, UTC.
        kind: how: publish, rollback or recover.
        last: the one before; None if there is none, so that the record came with the first.
        before, after: its fates: absent, kept, duplicate, disagreeing or rejected, the latter with its reason.
    """

    event: str
    publication: str
    at: str
    kind: str
    last: str | None
    before: str
    after: str


class KeyRows:
    """The rows of a key in the lake's tables. A shard that several publications share is read once."""

    def __init__(self, workspace: Workspace, key: str, source: str | None) -> None:
        """`source`: look only at the rows of this source; at those of all if None."""
        self._workspace, self.key, self.source = workspace, key, source
        self._found: dict[str, list[JsonDict]] = {}

    def of(self, table: str, pinned: Publication | None) -> Iterator[tuple[JsonDict, ShardRef]]:
        """Yield the key's rows in the version of a table that a publication pins, or in the newest."""
        for ref in self._workspace.pinned_shards(table, pinned).values():
            if ref.path not in self._found:
                places = find_places(read_shard(self._workspace.lake, ref, ["key", "source"]), self.key, self.source)
                rows = read_shard(self._workspace.lake, ref).take(places).to_pylist() if len(places) else []
                self._found[ref.path] = rows
            yield from ((dict(row), ref) for row in self._found[ref.path])

    def state(self, publication: Publication) -> tuple[str, str]:
        """Return the key's fate in a publication, the best of its rows', and what its content is known by."""
        rejects = [row for row, _ in self.of("rejects", publication)]
        records = [row for row, _ in self.of("records", publication)]
        left_out = {(row["partition"], row["row_digest"]): "duplicate" for row, _ in self.of("duplicates", publication)}
        if records and publication.counts.rows_disagreeing:
            from trichord.pipelines.model.pair_agreement import pinned_disagreements

            for one in pinned_disagreements(self._workspace, publication):
                left_out.setdefault((one.partition, one.row_digest), "disagreeing")
        fates = [(left_out.get((row["partition"], row["row_digest"]), "kept"), row["row_digest"]) for row in records]
        if fates:
            return min(fates, key=lambda one: (("kept", "duplicate", "disagreeing").index(one[0]), one[1]))
        if not rejects:
            return ABSENT, ""
        first = min(rejects, key=lambda row: (row["op"], row["reason"]))
        return f"rejected ({reason_name(first['op'], first['reason'])})", first["input_digest"]


def find_history(workspace: Workspace, rows: KeyRows) -> tuple[tuple[Event, ...], Publication | None]:
    """Return what happened to a key in the kept publications, newest first, and the newest one that has it.

    Publications are read from the newest on, until one lacks a key that a later one has.
    """
    kept = {one.manifest_digest for one in kept_publications(workspace)}
    states: list[tuple[Publication, tuple[str, str]]] = []
    known: dict[str, tuple[str, str]] = {}
    has_it: Publication | None = None
    for publication in reversed(workspace.publications.rows()):
        if publication.manifest_digest not in kept:
            break  # `gc` may have removed its files
        if publication.manifest_digest not in known:
            try:
                known[publication.manifest_digest] = rows.state(publication)
            except FileNotFoundError:
                break  # it is kept by today's settings, but `gc` went by others
        states.append((publication, known[publication.manifest_digest]))
        if known[publication.manifest_digest][0] != ABSENT:
            has_it = has_it or publication
        elif has_it:
            break
    return tuple(_events(states)), has_it


def _events(states: Sequence[tuple[Publication, tuple[str, str]]]) -> Iterator[Event]:
    """Yield the events between neighbouring publications, given newest first."""
    for (later, (after, content)), (earlier, (before, was)) in pairwise(states):
        if before != after or content != was:
            event = (
                "came" if before == ABSENT else "went" if after == ABSENT else "moved" if before != after else "changed"
            )
            yield Event(
                event=event,
                publication=later.id,
                at=later.created_at,
                kind=later.kind,
                last=earlier.id,
                before=before,
                after=after,
            )
    if states and states[-1][0].sequence == 1 and states[-1][1][0] != ABSENT:
        first, (after, _) = states[-1]
        yield Event(
            event="came",
            publication=first.id,
            at=first.created_at,
            kind=first.kind,
            last=None,
            before=ABSENT,
            after=after,
        )


def find_places(rows: pa.Table, key: str, source: str | None) -> pa.Array:
    """Return the places of the rows of a key; of one source, or of all if None."""
    same = pc.equal(rows["key"], key)
    same = same if source is None else pc.and_(same, pc.equal(rows["source"], source))
    return pa.array(np.flatnonzero(same.to_numpy()))  # indices_nonzero ends the process where there is no chunk
