"""What a lake knows of itself, read once for metrics, lineage and alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from trichord.infra import log
from trichord.infra.errors import GateFailed, TrichordError
from trichord.infra.lake.publication import Publication, Verdict
from trichord.infra.redaction import redact
from trichord.pipelines.core.runs import RunNote, iterate_runs
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.job import reject_counts
from trichord.pipelines.publish.pinned import find_candidate
from trichord.pipelines.publish.status import TableState, table_states

_MOST_RUNS = 100  # are read; fewer where all that is asked is found before


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeState:
    """What is live, what the lake holds, and how its last runs ended.

    Attributes:
        lake: its URI, without credentials.
        live: the live publication; None before the first.
        verdict: what the gate said last: of the candidate, else of what is live.
        tables: newest version of each table.
        rejected: rejected rows of the live publication, by op and reason.
        runs: newest first; at least the last one of each trigger, as far as they are kept.
        confirmed_s: Unix time at which a run last found or made the live publication equal to all sources; None if no
            run that is kept did.
    """

    lake: str
    live: Publication | None = None
    verdict: Verdict | None = None
    tables: Mapping[str, TableState] = field(default_factory=dict)
    rejected: Mapping[tuple[str, str], int] = field(default_factory=dict)
    runs: Sequence[RunNote] = ()
    confirmed_s: float | None = None


def read_state(workspace: Workspace, last: RunNote | None = None) -> LakeState:
    """Read the state of a lake.

    Args:
        workspace: the project on its lake.
        last: the run that ended just now, whose note may not have been stored.

    Raises:
        StorageError: the lake cannot be read, and there is no `last` run, which could be reported alone.
    """
    try:
        return _read(workspace, last)
    except TrichordError as error:
        if last is None:
            raise
        log.event("lake_unreadable", detail=str(error).splitlines()[0])
        return LakeState(lake=redact(workspace.lake.root), runs=[last])


def _read(workspace: Workspace, last: RunNote | None) -> LakeState:
    live, candidate = workspace.publications.live(), find_candidate(workspace)
    runs = _last_runs(workspace, last)
    confirmed = next((run for run in runs if run.confirmed), None)
    return LakeState(
        lake=redact(workspace.lake.root),
        live=live,
        verdict=_last_verdict(live, candidate[1] if candidate is not None else None, runs),
        tables=table_states(workspace),
        rejected=_rejected(workspace, live),
        runs=runs,
        confirmed_s=ended_s(confirmed) if confirmed is not None else None,
    )


def ended_s(run: RunNote) -> float:
    """Return when a run ended, as Unix time."""
    return run.started.timestamp() + run.seconds


def _last_verdict(live: Publication | None, candidate: Verdict | None, runs: Sequence[RunNote]) -> Verdict | None:
    """Return the candidate's verdict, unless a later run found that what is live is up to date."""
    gated = next((run for run in runs if run.exit_code in (0, GateFailed.exit_code)), None)
    up_to_date = gated is not None and gated.exit_code == 0 and (gated.confirmed or gated.unchanged)
    if live is not None and (candidate is None or up_to_date):
        return live.verdict
    return candidate


def _last_runs(workspace: Workspace, last: RunNote | None) -> list[RunNote]:
    stored = islice(iterate_runs(workspace.lake), _MOST_RUNS)
    return ([last] if last is not None else []) + [run for run in stored if last is None or run.id != last.id]


def _rejected(workspace: Workspace, live: Publication | None) -> Mapping[tuple[str, str], int]:
    if live is None or "rejects" not in live.table_versions:
        return {}
    return reject_counts(workspace, live.table_versions["rejects"]).by_reason
