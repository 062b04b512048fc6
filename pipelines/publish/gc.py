"""gc: find and remove the files that no kept publication and no table's newest version needs."""

from __future__ import annotations

import time
from dataclasses import dataclass

from trichord.infra.lake import layout
from trichord.infra.lake.schema import TABLES
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.milvus_collections import drop_unneeded
from trichord.pipelines.index.partition_map import read_planned
from trichord.pipelines.publish.pinned import find_candidate, kept_publications, missing_files, pinned_files
from trichord.transforms.collect.read import find_needed_downloads


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected(Result):
    """What is no longer needed.

    Attributes:
        removed: True if the files were removed, not only listed.
        files: number of them.
        bytes: their total size.
        paths: lake-relative, sorted.
        collections: names of Milvus collections.
    """

    removed: bool
    files: int
    bytes: int
    paths: tuple[str, ...]
    collections: tuple[str, ...]


def gc(workspace: Workspace, *, delete: bool) -> Collected:
    """Find files older than the grace period that no kept publication and no table's newest version needs.

    Files are removed only if `delete`, and notes never (`layout.Kind`). Milvus collections that only older publications
    use are dropped too.
    """
    named: set[str | None] = set()
    heads = {name: workspace.table(name) for name in TABLES}
    for table in heads.values():
        if table.version() is not None:
            named |= {ref.path for ref in table.shards().values()}
    folders = []
    for row in kept_publications(workspace):
        named |= pinned_files(workspace, row).keys()
        named |= {planned.path for planned in read_planned(workspace, row.manifest).values()}
        named.add(row.verdict.outcomes)
        folders.append(row.model.rstrip("/") + "/")
    candidate, verdict = find_candidate(workspace) or (None, None)
    if candidate is not None and missing_files(workspace, candidate):
        candidate = None
    if candidate is not None and verdict is not None:
        named |= pinned_files(workspace, candidate).keys() | {verdict.outcomes}
    collections = drop_unneeded(workspace, kept_publications(workspace), candidate, delete=delete)
    named |= find_needed_downloads(workspace.lake)
    oldest = time.time_ns() - int(workspace.project.gc_grace_s * 1e9)
    found = []
    for top in layout.FOLDERS:
        left = workspace.lake.list(top, temporary=True)
        for stat in (*workspace.lake.list(top), *left):
            path = workspace.lake.relative(stat.uri)
            kept = path in named or path.startswith(tuple(folders)) or layout.kind_of(path) is layout.Kind.NOTE
            if kept or stat.mtime_ns > oldest:
                continue
            found.append((path, stat.size))
            if delete:
                workspace.storage.delete(stat.uri)
    return Collected(
        removed=delete,
        files=len(found),
        bytes=sum(size for _, size in found),
        paths=tuple(sorted(path for path, _ in found)),
        collections=tuple(collections),
    )
