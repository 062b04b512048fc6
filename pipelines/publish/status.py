"""status: what is live, what the lake holds, and what the gate last said."""

from __future__ import annotations

import json
from typing import Any

from trichord.infra.lake.schema import TABLES
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.milvus_collections import collections
from trichord.pipelines.publish.pinned import kept_publications

PARSED = ("table_versions", "counts", "recipe", "verdict")


def status(workspace: Workspace) -> dict[str, Any]:
    """The live publication, the history, the tables' heads, and a candidate that was refused or not published."""
    history = workspace.publications.rows()
    for row in history:
        row.update({name: json.loads(row[name]) for name in PARSED})
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
        {name: row[name] for name in ("publication", "kind", "created_at", "manifest_digest", "fingerprint")}
        | {"rows": row["counts"]["rows_kept"]}
        for row in history
    ]
    return {
        "lake": workspace.lake,
        "live": live,
        "history": summary,
        "tables": tables,
        "candidate": _candidate(workspace, live),
        "milvus": collections(workspace, kept_publications(workspace)),
    }


def _candidate(workspace: Workspace, live: dict[str, Any] | None) -> dict[str, Any] | None:
    uri = workspace.lake.uri("index", "candidate.json")
    if not workspace.storage.exists(uri):
        return None
    stored: dict[str, Any] = json.loads(workspace.storage.read(uri))
    same = live is not None and stored["candidate"]["manifest_digest"] == live["manifest_digest"]
    if same and stored["verdict"]["passed"]:
        return None
    return stored
