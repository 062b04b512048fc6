"""Which publications are kept, and the files that each of them pins."""

from __future__ import annotations

import json

from trichord.index_builders.manifest import read_manifests
from trichord.infra.errors import StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.publication import Candidate, Pinned, Publication, Verdict
from trichord.pipelines.core.model_store import MODEL_FILES
from trichord.pipelines.core.workspace import Workspace


def kept_publications(workspace: Workspace) -> list[Publication]:
    """Return the live publication and earlier ones, `keep_publications` distinct indexes in all, newest first."""
    kept: dict[str, Publication] = {}
    for row in reversed(workspace.publications.rows()):
        if len(kept) < workspace.project.keep_publications:
            kept.setdefault(row.manifest_digest, row)
    return list(kept.values())


def pinned_files(workspace: Workspace, row: Pinned) -> dict[str, int | None]:
    """Return the lake-relative path of every file that a publication pins, and its size if that is pinned too.

    Raises:
        StorageError: the manifest is missing or damaged.
    """
    files: dict[str, int | None] = dict.fromkeys(
        [layout.partitions_path(row.manifest), layout.plans_path(row.manifest)]
    )
    files |= dict.fromkeys(f"{row.model}/{name}" for name in MODEL_FILES)
    for name, version in row.table_versions.items():
        files |= {ref.path: ref.bytes for ref in workspace.table(name).shards(version).values()}
    for manifest in read_manifests(workspace.lake, row.manifest, row.manifest_digest):
        files |= dict.fromkeys(manifest.files())
    return files


def missing_files(workspace: Workspace, row: Pinned) -> list[str]:
    """List a publication's files that are missing or have another size, without reading them; the manifest counts."""
    try:
        pinned = pinned_files(workspace, row)
    except StorageError:
        return [row.manifest]
    found = {
        workspace.lake.relative(stat.uri): stat.size
        for top in sorted({path.split("/", 1)[0] for path in pinned})
        for stat in workspace.lake.list(top)
    }
    return sorted(path for path, size in pinned.items() if path not in found or size not in (None, found[path]))


def read_candidate(workspace: Workspace) -> tuple[Candidate, Verdict] | None:
    """Return the last candidate and the gate's verdict on it; None if there is none."""
    if not workspace.lake.exists(layout.CANDIDATE):
        return None
    stored = json.loads(workspace.lake.read(layout.CANDIDATE))
    return Candidate.from_dict(stored["candidate"]), Verdict.from_dict(stored["verdict"])
