"""gc: find and remove the files that no kept publication and no table's newest version needs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from trichord.infra.lake import layout
from trichord.infra.lake.presence import Presence, present
from trichord.infra.lake.publication import Candidate, Publication, Verdict
from trichord.infra.lake.schema import TABLES
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.kept_views import views_path
from trichord.pipelines.index.milvus_collections import drop_unneeded
from trichord.pipelines.index.partition_map import read_planned
from trichord.pipelines.prepare.job import REJECT_COUNTS
from trichord.pipelines.publish.pinned import find_candidate, kept_publications, missing_files, pinned_files
from trichord.transforms.collect.last_plan import kept_parts
from trichord.transforms.collect.read import find_needed_downloads

BACKFILL_NS = 30 * 86_400 * 10**9  # an unfinished backfill is forgotten after so long


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected(Result):
    """What is no longer needed.

    Attributes:
        removed: True if the files were removed, not only listed.
        at_work: verbs that were at work on the lake, which may use files that nothing names yet: nothing was removed.
        files: number of them.
        bytes: their total size.
        paths: lake-relative, sorted.
        collections: names of Milvus collections.
    """

    removed: bool
    at_work: tuple[str, ...]
    files: int
    bytes: int
    paths: tuple[str, ...]
    collections: tuple[str, ...]


def gc(workspace: Workspace, *, delete: bool) -> Collected:
    """Find files older than the grace period that no kept publication and no table's newest version needs.

    Files are removed only if `delete`, and notes never (`layout.Kind`). What was made since the begin of a backfill
    that is not finished is kept for 30 days. Milvus collections that only older publications
    use are dropped too. While a run is at work on the lake, nothing is removed; a run that starts meanwhile waits.

    Raises:
        CommitConflict: this process was suspended while it removed files.
    """
    if not delete:
        return _collect(workspace, None, ())
    with present(workspace.lake, "gc", "gc") as own:
        runs = own.others("run")
        if not runs:
            return _collect(workspace, own, ())
    return _collect(workspace, None, tuple(sorted({note.verb for note in runs})))


def _collect(workspace: Workspace, own: Presence | None, at_work: tuple[str, ...]) -> Collected:
    """Find what is not needed, and remove it where there is a presence that keeps runs waiting."""
    kept_rows, stored = kept_publications(workspace), _whole_candidate(workspace)
    candidate = None if stored is None else stored[0]
    named = _named_paths(workspace, kept_rows, stored)
    folders = tuple(row.model.rstrip("/") + "/" for row in kept_rows)
    collections = drop_unneeded(workspace, kept_rows, candidate, delete=own is not None)
    oldest = made_since(workspace)
    found = []
    for top in layout.FOLDERS:
        if top == layout.PRESENCE:
            continue
        left = workspace.lake.list(top, temporary=True)
        for stat in (*workspace.lake.list(top), *left):
            path = workspace.lake.relative(stat.uri)
            kept = path in named or path.startswith(folders) or layout.kind_of(path) is layout.Kind.NOTE
            if kept or stat.mtime_ns > oldest:
                continue
            found.append((path, stat.size))
            if own is not None:
                own.require_fresh()
                workspace.storage.delete(stat.uri)
    return Collected(
        removed=own is not None,
        at_work=at_work,
        files=len(found),
        bytes=sum(size for _, size in found),
        paths=tuple(sorted(path for path, _ in found)),
        collections=tuple(collections),
    )


def made_since(workspace: Workspace) -> int:
    """Return the time from which on all that was made is kept, in ns: of the grace, or of an unfinished backfill."""
    now = time.time_ns()
    began = (stat.mtime_ns for stat in workspace.lake.list(layout.BACKFILLS))
    return min([now - int(workspace.project.gc_grace_s * 1e9), *(at - 1 for at in began if now - at < BACKFILL_NS)])


def _named_paths(
    workspace: Workspace, kept: Sequence[Publication], stored: tuple[Candidate, Verdict] | None
) -> set[str | None]:
    """Return the lake-relative path of every file that is needed, without the models' folders."""
    named: set[str | None] = {
        layout.PLAN_VERSIONS,
        layout.PAIRS,
        *map(layout.footers_path, (*TABLES, layout.FEATURES, REJECT_COUNTS)),
        *(
            layout.bases_path(table, source.name)
            for table in ("records", layout.FEATURES, "vectors")
            for source in workspace.project.sources
        ),
    }
    for name in TABLES:
        named |= {ref.path for ref in workspace.pinned_shards(name, None).values()}
    for row in kept:
        named |= pinned_files(workspace, row).keys()
        named |= {planned.path for planned in read_planned(workspace, row.manifest).values()}
        named |= {row.verdict.outcomes, views_path(row.fingerprint)}
    if stored is not None:
        candidate, verdict = stored
        named |= pinned_files(workspace, candidate).keys() | {verdict.outcomes}
    named |= kept_parts(workspace.lake, [source.name for source in workspace.project.sources])
    return named | find_needed_downloads(workspace.lake)


def _whole_candidate(workspace: Workspace) -> tuple[Candidate, Verdict] | None:
    """Return the last candidate with its verdict, if all its files exist."""
    stored = find_candidate(workspace)
    return None if stored is None or missing_files(workspace, stored[0]) else stored
