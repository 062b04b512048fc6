"""verify: prove that every file of the kept publications is whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trichord.index_builders.hashed_files import open_verified
from trichord.index_builders.manifest import read_manifests
from trichord.infra.errors import StorageError, TrichordError
from trichord.infra.lake import layout
from trichord.infra.lake.publication import Pinned, Publication
from trichord.infra.lake.shard import verify_shard
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.milvus_collections import verify_collections
from trichord.pipelines.index.partition_map import read_partitions
from trichord.pipelines.publish.pinned import kept_publications


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified(Result):
    """What was verified: the number of publications and files, and the files' bytes."""

    publications: int
    files: int
    bytes: int


def verify(workspace: Workspace) -> Verified:
    """Hash every shard, index file and model of the kept publications again, and check the counts.

    Raises:
        StorageError: something is damaged or missing; the message names every such file.
    """
    problems: list[str] = []
    checked: dict[str, int] = {}
    kept = kept_publications(workspace)
    for row in kept:
        rows = {}
        for name, version in row.table_versions.items():
            shards = workspace.table(name).shards(version)
            rows[name] = sum(ref.rows for ref in shards.values())
            for ref in shards.values():
                if ref.path not in checked:
                    _try(problems, lambda ref=ref: verify_shard(workspace.lake, ref))
                    checked[ref.path] = ref.bytes
        left = rows["records"] - rows["duplicates"] - row.counts.rows_disagreeing
        if left != row.counts.rows_kept:
            problems.append(
                f"{row.id}: records − duplicates − disagreeing = {left}, but {row.counts.rows_kept} were published"
            )
        _try(problems, lambda row=row: _verify_index(workspace, row, checked))
        _try(problems, lambda row=row: _verify_model(workspace, row))
    _try(problems, lambda: verify_collections(workspace, kept))
    if problems:
        raise StorageError(
            f"{len(problems)} problems in {len(checked)} files:\n  " + "\n  ".join(problems)
            + "\nRemove the damaged files and run `trichord reindex`, which makes exactly these again."
            "\nUntil then, `trichord rollback` switches to an intact publication."
        )  # fmt: skip
    return Verified(publications=len(kept), files=len(checked), bytes=sum(checked.values()))


def _verify_index(workspace: Workspace, row: Publication, checked: dict[str, int]) -> None:
    manifests = read_manifests(workspace.lake, row.manifest, row.manifest_digest)
    records = {ref.path for ref in workspace.table("records").shards(row.table_versions["records"]).values()}
    if set(read_partitions(workspace, row.manifest).values()) != records:
        raise StorageError(f"{layout.partitions_path(row.manifest)} does not list the records of {row.id}.")
    refs = [
        ref for manifest in manifests for shard in manifest.shards for ref in (shard.index, shard.keys, *shard.blocks)
    ]
    for ref in [*refs, *(manifest.quantiser.file for manifest in manifests if manifest.quantiser)]:
        if ref.path not in checked:
            with open_verified(workspace.lake, ref):
                checked[ref.path] = ref.bytes


def _verify_model(workspace: Workspace, row: Pinned) -> None:
    from trichord.pipelines.core.model_store import load_model

    load_model(workspace.lake, row.model, row.fingerprint, workspace.project.model)


def _try(problems: list[str], check: Any) -> None:
    try:
        check()
    except (TrichordError, FileNotFoundError) as error:
        problems.append(str(error).splitlines()[0])
