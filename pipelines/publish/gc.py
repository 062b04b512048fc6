"""gc: find and remove the files that no kept publication and no table's newest version needs."""

from __future__ import annotations

import time
from dataclasses import dataclass

from trichord.infra.lake import layout
from trichord.infra.lake.presence import Presence, present
from trichord.infra.lake.publication import Candidate
from trichord.infra.lake.schema import TABLES
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.milvus_collections import drop_unneeded
from trichord.pipelines.index.partition_map import read_planned
from trichord.pipelines.prepare.job import REJECTED_BY_OP
from trichord.pipelines.publish.pinned import find_candidate, kept_publications, missing_files, pinned_files
from trichord.transforms.collect.last_plan import kept_parts
from trichord.transforms.collect.read import find_needed_downloads


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

    Files are removed only if `delete`, and notes never (`layout.Kind`). Milvus collections that only older publications
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
    named = _named_paths(workspace)
    folders = tuple(row.model.rstrip("/") + "/" for row in kept_publications(workspace))
    collections = drop_unneeded(workspace, kept_publications(workspace), _candidate(workspace), delete=own is not None)
    oldest = time.time_ns() - int(workspace.project.gc_grace_s * 1e9)
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


def _named_paths(workspace: Workspace) -> set[str | None]:
    """Return the lake-relative path of every file that is needed, without the models' folders."""
    named: set[str | None] = {
        layout.PLAN_VERSIONS,
        *map(layout.footers_path, (*TABLES, layout.FEATURES, REJECTED_BY_OP)),
    }
    heads = {name: workspace.table(name) for name in TABLES}
    for table in heads.values():
        if table.version() is not None:
            named |= {ref.path for ref in table.shards().values()}
    for row in kept_publications(workspace):
        named |= pinned_files(workspace, row).keys()
        named |= {planned.path for planned in read_planned(workspace, row.manifest).values()}
        named.add(row.verdict.outcomes)
    candidate, verdict = find_candidate(workspace) or (None, None)
    if candidate is not None and verdict is not None and not missing_files(workspace, candidate):
        named |= pinned_files(workspace, candidate).keys() | {verdict.outcomes}
    named |= kept_parts(workspace.lake, [source.name for source in workspace.project.sources])
    return named | find_needed_downloads(workspace.lake)


def _candidate(workspace: Workspace) -> Candidate | None:
    """Return the last candidate, if all its files exist."""
    candidate, _ = find_candidate(workspace) or (None, None)
    return None if candidate is None or missing_files(workspace, candidate) else candidate
