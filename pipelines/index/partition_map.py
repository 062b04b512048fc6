"""Which records shard holds which partition, noted beside an index manifest: a hit's record is found at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from trichord.index_builders.manifest import IndexManifest
from trichord.infra import digest
from trichord.infra.errors import StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.publication import JsonObject
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.plan import WantedShard
from trichord.pipelines.prepare.records import Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """Where a partition of loose files is planned: a plan says which files its rows name."""

    source: str
    path: str  # lake-relative, of the plan
    row_group: int


def write_partitions(
    workspace: Workspace, manifest: IndexManifest, prepared: Sequence[Prepared], shards: Sequence[WantedShard]
) -> None:
    """Note beside the manifest which records shard holds which partition, and where that one is planned.

    So a hit's record, and the files that it was made from, are found at once.
    """
    paths = {item.partition: item.records.path for item in prepared}
    planned = {
        shard.partition.id: [shard.source.name, shard.partition.locator, shard.partition.row_group]
        for shard in shards
        if shard.partition.locator and shard.partition.part is None
    }
    workspace.lake.write(layout.plans_path(manifest.path), digest.canonical_json(planned))
    workspace.lake.write(layout.partitions_path(manifest.path), digest.canonical_json(paths))


def read_partitions(workspace: Workspace, manifest_path: str) -> dict[str, str]:
    """Lake-relative path of each partition's records shard, as an index was made from them.

    Raises:
        StorageError: the note is missing or damaged.
    """
    return dict(_read(workspace, layout.partitions_path(manifest_path)))


def read_planned(workspace: Workspace, manifest_path: str) -> dict[str, Planned]:
    """Where the partitions of an index are planned; data files that hold their media are not planned row by row.

    Raises:
        StorageError: the note is missing or damaged.
    """
    return {
        partition: Planned(source=source, path=path, row_group=row_group)
        for partition, (source, path, row_group) in _read(workspace, layout.plans_path(manifest_path)).items()
    }


def _read(workspace: Workspace, path: str) -> JsonObject:
    try:
        noted: JsonObject = json.loads(workspace.lake.read(path))
    except (FileNotFoundError, ValueError) as error:
        raise StorageError(f"{path} is missing or damaged.\nRemove it and run `trichord reindex`.") from error
    return noted
