"""verify and gc: prove that what is kept is whole, and find what nothing names any more."""

from __future__ import annotations

import json
import time
from typing import Any

from trichord.index_builders.hashed_files import opened
from trichord.index_builders.manifest import read_manifests
from trichord.infra.errors import StorageError, TrichordError
from trichord.infra.lake.schema import TABLES
from trichord.infra.lake.shard import verify_shard
from trichord.pipelines.core.model_store import MODEL_FILES
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.milvus_collections import NOTES, drop_unneeded, verify_collections
from trichord.pipelines.index.partition_map import partitions_path, read_partitions
from trichord.transforms.collect.read import needed_downloads

CACHES = ("_features", "_plans", "_checkpoints", "_dedup", "_downloads", "_truth")


def kept_publications(workspace: Workspace) -> list[dict[str, Any]]:
    """The live publication and those before it, `keep_publications` different indexes in all, newest first."""
    kept: dict[str, dict[str, Any]] = {}
    for row in reversed(workspace.publications.rows()):
        if len(kept) < workspace.project.keep_publications:
            kept.setdefault(row["manifest_digest"], row)
    return list(kept.values())


def verify(workspace: Workspace) -> dict[str, Any]:
    """Re-hash every shard, index file and model that the kept publications pin, and check the counts.

    Returns:
        JSON-ready: `publications`, `files`, `bytes`.

    Raises:
        StorageError: something is damaged or missing; the message names every such file.
    """
    problems: list[str] = []
    checked: dict[str, int] = {}
    kept = kept_publications(workspace)
    for row in kept:
        rows = {}
        for name, version in json.loads(row["table_versions"]).items():
            shards = workspace.table(name).shards(version)
            rows[name] = sum(ref.rows for ref in shards.values())
            for ref in shards.values():
                if ref.path not in checked:
                    _try(problems, lambda ref=ref: verify_shard(workspace.lake, ref))
                    checked[ref.path] = ref.bytes
        counts = json.loads(row["counts"])
        left = rows["records"] - rows["duplicates"] - counts.get("rows_disagreeing", 0)
        if left != counts["rows_kept"]:
            problems.append(f"{row['publication']}: records − duplicates − disagreeing = {left}, "
                            f"but {counts['rows_kept']} were published")  # fmt: skip
        _try(problems, lambda row=row: _verify_index(workspace, row, checked))
        _try(problems, lambda row=row: _verify_model(workspace, row))
    _try(problems, lambda: verify_collections(workspace, kept))
    if problems:
        raise StorageError(
            f"{len(problems)} problems in {len(checked)} files:\n  " + "\n  ".join(problems)
            + "\nRemove the damaged files and run `trichord reindex`: it makes exactly these again."
            "\nUntil then `trichord rollback` goes back to a whole publication."
        )  # fmt: skip
    return {"publications": len(kept), "files": len(checked), "bytes": sum(checked.values())}


def _verify_index(workspace: Workspace, row: dict[str, Any], checked: dict[str, int]) -> None:
    manifests = read_manifests(workspace.lake, row["manifest"], row["manifest_digest"])
    records = {
        ref.path for ref in workspace.table("records").shards(json.loads(row["table_versions"])["records"]).values()
    }
    if set(read_partitions(workspace, row["manifest"]).values()) != records:
        raise StorageError(f"{partitions_path(row['manifest'])} does not name the records of {row['publication']}.")
    refs = [
        ref for manifest in manifests for shard in manifest.shards for ref in (shard.index, shard.keys, *shard.blocks)
    ]
    for ref in [*refs, *(manifest.quantiser.file for manifest in manifests if manifest.quantiser)]:
        if ref.path not in checked:
            with opened(workspace.lake, ref):
                checked[ref.path] = ref.bytes


def _verify_model(workspace: Workspace, row: dict[str, Any]) -> None:
    from trichord.pipelines.core.model_store import load_model

    load_model(workspace.lake, row["model"], row["fingerprint"], workspace.project.model)


def _try(problems: list[str], check: Any) -> None:
    try:
        check()
    except (TrichordError, FileNotFoundError) as error:
        problems.append(str(error).splitlines()[0])


def pinned_files(workspace: Workspace, row: dict[str, Any]) -> dict[str, int | None]:
    """Lake-relative path of every file that a publication pins, with its size where that is pinned too.

    Raises:
        StorageError: the manifest is missing or damaged.
    """
    files: dict[str, int | None] = {partitions_path(row["manifest"]): None}
    files |= dict.fromkeys(f"{row['model']}/{name}" for name in MODEL_FILES)
    for name, version in json.loads(row["table_versions"]).items():
        files |= {ref.path: ref.bytes for ref in workspace.table(name).shards(version).values()}
    for manifest in read_manifests(workspace.lake, row["manifest"], row["manifest_digest"]):
        files |= dict.fromkeys(manifest.files())
    return files


def read_candidate(workspace: Workspace) -> dict[str, Any] | None:
    """The candidate that the last gate looked at, in the form of a publication's row; None if there is none."""
    uri = workspace.lake.uri("index", "candidate.json")
    if not workspace.storage.exists(uri):
        return None
    candidate: dict[str, Any] = json.loads(workspace.storage.read(uri))["candidate"]
    return candidate | {"table_versions": json.dumps(candidate["table_versions"])}


def missing_files(workspace: Workspace, row: dict[str, Any]) -> list[str]:
    """Files of a publication that are gone or have another size, by listing alone. A lost manifest is one of them."""
    try:
        pinned = pinned_files(workspace, row)
    except StorageError:
        return [row["manifest"]]
    found = {
        workspace.lake.relative(stat.uri): stat.size
        for top in sorted({path.split("/", 1)[0] for path in pinned})
        for stat in workspace.lake.list(top)
    }
    return sorted(path for path, size in pinned.items() if path not in found or size not in (None, found[path]))


def gc(workspace: Workspace, *, delete: bool) -> dict[str, Any]:
    """Find files that no kept publication and no table's head names, older than the grace period.

    Nothing is removed unless `delete`. Delta logs are never touched; caches are removed when old. Collections of Milvus
    that only older publications have are dropped too.

    Returns:
        JSON-ready: `removed` (bool), `files`, `bytes`, `paths` (lake-relative, sorted), `collections`.
    """
    named = set()
    heads = {name: workspace.table(name) for name in TABLES}
    for table in heads.values():
        if table.version() is not None:
            named |= {ref.path for ref in table.shards().values()}
    folders = []
    for row in kept_publications(workspace):
        named |= pinned_files(workspace, row).keys()
        folders.append(row["model"].rstrip("/") + "/")
    candidate = read_candidate(workspace)
    if candidate is not None and missing_files(workspace, candidate):
        candidate = None
    if candidate is not None:
        named |= pinned_files(workspace, candidate).keys()
    collections = drop_unneeded(workspace, kept_publications(workspace), candidate, delete=delete)
    named |= needed_downloads(workspace.lake)
    named.add("index/candidate.json")
    oldest = time.time_ns() - int(workspace.project.gc_grace_s * 1e9)
    found, untouched = [], (NOTES, *folders)
    for top in (*TABLES, "index", "models", *CACHES):
        left = workspace.lake.list(top, temporary=True)
        for stat in (*workspace.lake.list(top), *left):
            path = workspace.lake.relative(stat.uri)
            if "/_delta_log/" in path or path in named or path.startswith(untouched) or stat.mtime_ns > oldest:
                continue
            found.append((path, stat.size))
            if delete:
                workspace.storage.delete(stat.uri)
    return {
        "removed": delete,
        "files": len(found),
        "bytes": sum(size for _, size in found),
        "paths": sorted(path for path, _ in found),
        "collections": collections,
    }
