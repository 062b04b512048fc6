"""status: what is live, what the lake holds, and what the gate last said."""

from __future__ import annotations

from trichord.infra.lake.publication import JsonObject, Publication
from trichord.infra.lake.schema import TABLES
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.milvus_collections import collections
from trichord.pipelines.publish.pinned import kept_publications, read_candidate


def status(workspace: Workspace) -> JsonObject:
    """The live publication, the history, the tables' heads, and a candidate that was refused or not published."""
    history = workspace.publications.rows()
    tables = {}
    for name in TABLES:
        table = workspace.table(name)
        version = table.version()
        if version is not None:
            shards = table.shards().values()
            tables[name] = {
                "version": version,
                "shards": len(shards),
                "rows": sum(ref.rows for ref in shards),
                "bytes": sum(ref.bytes for ref in shards),
            }
    live = history[-1] if history else None
    summary = [
        {
            "publication": row.id,
            "kind": row.kind,
            "created_at": row.created_at,
            "manifest_digest": row.manifest_digest,
            "fingerprint": row.fingerprint,
            "rows": row.counts.rows_kept,
        }
        for row in history
    ]
    return {
        "lake": workspace.lake.root,
        "live": live.to_dict() if live is not None else None,
        "history": summary,
        "tables": tables,
        "candidate": _candidate(workspace, live),
        "milvus": collections(workspace, kept_publications(workspace)),
    }


def _candidate(workspace: Workspace, live: Publication | None) -> JsonObject | None:
    """The candidate that was refused, or that is not published yet."""
    stored = read_candidate(workspace)
    if stored is None:
        return None
    candidate, verdict = stored
    if verdict.passed and live is not None and candidate.manifest_digest == live.manifest_digest:
        return None
    return {"candidate": candidate.to_dict(), "verdict": verdict.to_dict()}
