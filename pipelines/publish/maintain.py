"""maintain: keep the lake's logs short and its files few."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from trichord.infra import log
from trichord.infra.lake import layout
from trichord.infra.lake.lease import LEASE_S, Lease, leased
from trichord.infra.lake.publications import rows_until
from trichord.infra.lake.schema import TABLES
from trichord.infra.lake.sealed_tables import read_sealed
from trichord.infra.lake.shorten import shorten
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.plan import warn_of_partitions
from trichord.pipelines.publish.gc import Collected, gc, made_since
from trichord.pipelines.publish.pinned import choose_kept, find_candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintained(Result):
    """What maintenance did.

    Attributes:
        commits: number of old commits that were removed, by table.
        collected: what `gc` removed.
        advice: what makes this lake cost more than it must, and the setting that changes it.
    """

    commits: Mapping[str, int]
    collected: Collected
    advice: tuple[str, ...]


def maintain(workspace: Workspace, *, wait: bool = False) -> Maintained:
    """Remove the commits and the files that no kept publication needs.

    Raises:
        LeaseTaken: a run is at work on the lake, and `wait` is False.
        CommitConflict: this process was suspended, and another run may have begun meanwhile.
        StorageError: the lake cannot be read or written, or a log is damaged.
    """
    with leased(workspace.lake, "maintain", wait=wait) as lease:
        commits = shorten_logs(workspace, lease, made_since(workspace))
    return Maintained(commits=commits, collected=gc(workspace, delete=True), advice=tuple(_advise(workspace)))


def shorten_logs(workspace: Workspace, lease: Lease, before_ns: int) -> dict[str, int]:
    """Remove the commits before all versions that kept publications, the candidate and the tables' heads need.

    Args:
        workspace: the project on its lake.
        lease: of the lake.
        before_ns: commits since this time stay.

    Returns:
        The number of commits that were removed, by table; only of tables that lost any.

    Raises:
        CommitConflict, StorageError: as `maintain`.
    """
    history, candidate = workspace.publications.rows(), find_candidate(workspace)
    kept = choose_kept(history, workspace.project.keep_publications)
    pinned = [row.table_versions for row in (*kept, *(candidate[:1] if candidate is not None else ()))]
    removed = {}
    for name in TABLES:
        newest = workspace.table(name).version()
        if newest is None:
            continue
        count = shorten(
            workspace.lake,
            name,
            needed=min([newest, *(versions[name] for versions in pinned if name in versions)]),
            before_ns=before_ns,
            rows=partial(rows_until, history=history) if name == workspace.publications.name else None,
            check=partial(lease.presence.require_fresh, LEASE_S),
        )
        if count:
            removed[name] = count
            log.event("log_shortened", table=name, commits=count)
    return removed


def _advise(workspace: Workspace) -> list[str]:
    """Return a warning for each source whose last plan has too many partitions, or too small ones."""
    found = []
    for source in workspace.project.sources:
        plan = read_sealed(workspace.lake, layout.last_plan_path(source.name), ["rows"])
        if plan is not None:
            rows = sum(plan["rows"].to_pylist())
            found.append(warn_of_partitions(source.name, plan.num_rows, rows))
    return [one for one in found if one is not None]
