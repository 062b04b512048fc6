"""explain, rejects: a record's whole journey, and the rows that were left out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from infra.errors import ConfigError
from infra.lake.shard import ShardRef, read_shard
from pipelines.workspace import Workspace


def explain(workspace: Workspace, key: str) -> dict[str, Any]:
    """Tell what became of a record: rejected by an op, dropped for a survivor, or indexed.

    Looks at the tables as the live publication pins them, or as they stand where nothing is published.

    Raises:
        ConfigError: no source row of the last run had this key.
    """
    if not key.isprintable():
        raise ConfigError(f"A key holds printable characters only, not {key!r}.")
    live = workspace.publications.live()
    versions = json.loads(live["table_versions"]) if live else {}
    journey: list[dict[str, Any]] = []
    for row, ref in _find(workspace, "rejects", versions.get("rejects"), key):
        journey.append({"step": "rejected", **row, "payload": json.loads(row["payload"]), "shard": ref.path})
    for row, ref in _find(workspace, "records", versions.get("records"), key):
        media = {name: len(row.pop(name) or b"") for name in ("image", "audio")}
        row["scores"] = dict(row["scores"])
        row["meta"] = json.loads(row["meta"])
        journey.append(
            {"step": "prepared", **row, "stored_bytes": media, "shard": ref.path, "shard_sha256": ref.sha256}
        )
    for row, ref in _find(workspace, "duplicates", versions.get("duplicates"), key):
        journey.append({"step": "duplicate", **row, "shard": ref.path})
    for row, ref in _find(workspace, "agreement", versions.get("agreement"), key):
        journey.append({"step": "agreement", **row, "cosines": dict(row["cosines"]), "shard": ref.path})
    for row, ref in _find(workspace, "vectors", versions.get("vectors"), key):
        row.pop("vector")
        journey.append({"step": "encoded", **row, "shard": ref.path})
    if live:
        journey += _index_rows(workspace, live, key)
    if not journey:
        raise ConfigError(
            f"No record with key {key!r} is known here. List rejects with `trichord rejects ls`; "
            "if the source was changed since the last run, run `trichord reindex` first."
        )
    fate = {"rejected": "rejected", "duplicate": "duplicate", "indexed": "indexed", "encoded": "encoded"}
    steps = [step["step"] for step in journey]
    outcome = next(
        (fate[name] for name in ("indexed", "duplicate", "encoded", "rejected") if name in steps), "prepared"
    )
    return {"key": key, "outcome": outcome, "publication": live["publication"] if live else None, "journey": journey}


def _index_rows(workspace: Workspace, live: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    from index_builders.keys import read_keys
    from index_builders.manifest import read_manifest

    manifest = read_manifest(workspace.storage, workspace.lake, live["manifest"], live["manifest_digest"])
    for shard in manifest.shards:
        keys = read_keys(workspace.storage, workspace.lake, shard)
        rows = pc.indices_nonzero(pc.equal(keys["key"], key)).to_pylist()
        for row in rows:
            yield {
                "step": "indexed",
                "view": keys["view"][row].as_py(),
                "index_row": row,
                "index_shard": shard.index.path,
                "fingerprint": manifest.fingerprint,
                "publication": live["publication"],
            }


def list_rejects(workspace: Workspace, *, reason: str | None, limit: int) -> dict[str, Any]:
    """Counts of rejects by op and reason, and the first `limit` rows in order of key."""
    counts: Counter[tuple[str, str]] = Counter()
    rows: list[dict[str, Any]] = []
    for table, _ in _shards(workspace, "rejects", _live_version(workspace, "rejects")):
        if reason is not None:
            table = table.filter(pc.equal(table["reason"], reason))
        counts.update(zip(table["op"].to_pylist(), table["reason"].to_pylist(), strict=True))
        rows = sorted(rows + table.to_pylist(), key=lambda row: row["key"])[:limit]
    by_reason = [{"op": op, "reason": code, "rows": n} for (op, code), n in sorted(counts.items())]
    for row in rows:
        row["payload"] = json.loads(row["payload"])
    return {"total": counts.total(), "by_reason": by_reason, "rows": rows}


def show_reject(workspace: Workspace, key: str) -> dict[str, Any]:
    """Everything known about the rejected rows of one key.

    Raises:
        ConfigError: no reject has this key.
    """
    found = [row for row, _ in _find(workspace, "rejects", _live_version(workspace, "rejects"), key)]
    if not found:
        raise ConfigError(f"No reject has the key {key!r}. List them: `trichord rejects ls`.")
    for row in found:
        row["payload"] = json.loads(row["payload"])
    return {"key": key, "rejects": found}


def _live_version(workspace: Workspace, table: str) -> int | None:
    live = workspace.publications.live()
    return json.loads(live["table_versions"])[table] if live else None


def _shards(workspace: Workspace, name: str, version: int | None) -> Iterator[tuple[pa.Table, ShardRef]]:
    table = workspace.table(name)
    if table.version() is None:
        return
    for _, ref in sorted(table.shards(version).items()):
        yield read_shard(workspace.storage, workspace.lake, ref), ref


def _find(workspace: Workspace, name: str, version: int | None, key: str) -> Iterator[tuple[dict[str, Any], ShardRef]]:
    table = workspace.table(name)
    if table.version() is None:
        return
    for _, ref in sorted(table.shards(version).items()):
        keys = read_shard(workspace.storage, workspace.lake, ref, ["key"])["key"]
        hits = pc.indices_nonzero(pc.equal(keys, key))
        if len(hits):
            rows = read_shard(workspace.storage, workspace.lake, ref).take(hits)
            yield from ((row, ref) for row in rows.to_pylist())
