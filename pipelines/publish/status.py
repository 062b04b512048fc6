"""status: what is live, what the lake holds, and the gate's last verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trichord.infra.lake.publication import Candidate, JsonDict, Publication, Verdict
from trichord.infra.lake.schema import TABLES
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.publish.history import find_held_back
from trichord.pipelines.publish.pinned import choose_kept, find_candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class TableState(Result):
    """The newest version of one of the lake's tables."""

    version: int
    shards: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Result):
    """A candidate that failed the gate or is not published yet."""

    candidate: Candidate
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack(Result):
    """A publication that was rolled back, and when (ISO 8601, UTC)."""

    publication: str
    rolled_back_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Result):
    """What is live, and what the lake holds.

    Attributes:
        lake: its URI.
        live: the live publication; None before the first.
        history: all publications, first to last.
        held_back: publications that somebody rolled back, and which `reindex` therefore does not publish again.
        tables: name -> newest version, for every table with a commit.
        candidate: the last candidate, if it is not live.
        milvus: the collections and the alias; None if the project does not use Milvus.
    """

    lake: str
    live: Publication | None
    history: tuple[Publication, ...]
    held_back: tuple[HeldBack, ...]
    tables: Mapping[str, TableState]
    candidate: Refused | None
    milvus: JsonDict | None

    def to_dict(self) -> JsonDict:
        """Return JSON-ready values; earlier publications are shortened."""
        return {
            "lake": self.lake,
            "live": self.live.to_dict() if self.live is not None else None,
            "history": [_head(one) for one in self.history],
            "held_back": [one.to_dict() for one in self.held_back],
            "tables": {name: table.to_dict() for name, table in self.tables.items()},
            "candidate": None
            if self.candidate is None
            else {"candidate": self.candidate.candidate.to_dict(), "verdict": self.candidate.verdict.to_dict()},
            "milvus": self.milvus,
        }


def _head(publication: Publication) -> JsonDict:
    return {
        "publication": publication.id,
        "kind": publication.kind,
        "created_at": publication.created_at,
        "manifest_digest": publication.manifest_digest,
        "fingerprint": publication.fingerprint,
        "rows": publication.counts.rows_kept,
    }


def status(workspace: Workspace) -> Status:
    """Return the live publication, the history, the tables' versions, and a candidate that is not live."""
    history = workspace.publications.rows()
    live = history[-1] if history else None
    return Status(
        lake=workspace.lake.root,
        live=live,
        history=tuple(history),
        held_back=tuple(
            HeldBack(publication=before.id, rolled_back_at=row.created_at)
            for before, row in find_held_back(history).values()
        ),
        tables=table_states(workspace),
        candidate=_candidate(workspace, live),
        milvus=_milvus(workspace, history),
    )


def table_states(workspace: Workspace) -> dict[str, TableState]:
    """Return the newest version of every table with a commit."""
    tables: dict[str, TableState] = {}
    for name in TABLES:
        table = workspace.table(name)
        version = table.version()
        if version is not None:
            shards = table.shards().values()
            tables[name] = TableState(
                version=version,
                shards=len(shards),
                rows=sum(ref.rows for ref in shards),
                bytes=sum(ref.bytes for ref in shards),
            )
    return tables


def _milvus(workspace: Workspace, history: Sequence[Publication]) -> JsonDict | None:
    """Return the state of the collections; None if the project does not use Milvus."""
    if "milvus" not in workspace.project.index.backends:
        return None
    from trichord.pipelines.index.milvus_collections import collections

    return collections(workspace, choose_kept(history, workspace.project.keep_publications))


def _candidate(workspace: Workspace, live: Publication | None) -> Refused | None:
    """Return the candidate that failed the gate or is not published yet."""
    stored = find_candidate(workspace)
    if stored is None:
        return None
    candidate, verdict = stored
    if verdict.passed and live is not None and candidate.manifest_digest == live.manifest_digest:
        return None
    return Refused(candidate=candidate, verdict=verdict)
