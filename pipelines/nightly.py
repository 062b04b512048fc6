"""nightly: one reindex, whatever nights were missed, then maintenance; one exit code and one report."""

from __future__ import annotations

import datetime
from collections.abc import Collection
from dataclasses import dataclass

from trichord.infra import log
from trichord.infra.errors import (
    CommitConflict,
    GateFailed,
    LeaseTaken,
    PartialRun,
    ServiceError,
    SourceError,
    TrichordError,
)
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.runs import iterate_runs
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.publish.maintain import Maintained, maintain
from trichord.pipelines.reindex import RunSummary, reindex

_DAY_S = 86_400.0
_LATE = 0.5  # of a day: a night that begins this much later was not missed
# The lake itself is sound after these, so that it can be maintained.
_SOUND = (GateFailed, CommitConflict, PartialRun, SourceError, ServiceError)


@dataclass(frozen=True, slots=True, kw_only=True)
class NightSummary(Result):
    """What a night did.

    Attributes:
        missed: nights since the last one that came to its end, which this one makes up for.
        run: the reindex; None if it failed.
        error: kind and message of why it failed; empty if it did not.
        exit_code: of the reindex, or of the maintenance if that alone failed.
        maintained: None if it failed, or the lake cannot be written.
    """

    missed: int
    run: RunSummary | None
    error: str
    exit_code: int
    maintained: Maintained | None


def nightly(workspace: Workspace, *, accept: Collection[str] = (), wait: bool = False) -> NightSummary:
    """Reindex, then maintain the lake, also where the gate refused the candidate or a source failed.

    A reindex reconciles the lake with what the sources hold now, so one makes up for any number of missed nights.

    Raises:
        LeaseTaken: another run is at work on the lake, and `wait` is False; nothing was touched.
        ConfigError, StorageError: nothing can be maintained then.
    """
    missed = _missed(workspace)
    if missed:
        log.event("nights_missed", nights=missed)
    run: RunSummary | None = None
    failed: TrichordError | None = None
    try:
        run = reindex(workspace, accept=accept, wait=wait, trigger="nightly")
    except LeaseTaken:
        raise
    except _SOUND as error:
        failed = error
    maintained = None
    try:
        maintained = maintain(workspace, wait=True)
    except TrichordError as error:
        if failed is None:
            failed = error
        else:
            log.event("not_maintained", error=str(error).splitlines()[0])
    return NightSummary(
        missed=missed,
        run=run,
        error="" if failed is None else f"{type(failed).__name__}: {failed}",
        exit_code=0 if failed is None else failed.exit_code,
        maintained=maintained,
    )


def _missed(workspace: Workspace) -> int:
    """Return how many nights went by without a run since the last one that ended well."""
    nights = (note for note in iterate_runs(workspace.lake, events=False) if note.trigger == "nightly")
    last = next((note.started for note in nights if not note.exit_code), None)
    if last is None:
        return 0
    age_s = (datetime.datetime.now(datetime.UTC) - last).total_seconds()
    return max(0, int(age_s / _DAY_S + _LATE) - 1)
