"""Which records shard holds which partition, noted beside an index manifest: a hit's record is found at once."""

from __future__ import annotations

import json
from collections.abc import Sequence

from trichord.index_builders.manifest import IndexManifest
from trichord.infra import digest
from trichord.infra.errors import StorageError
from trichord.infra.lake import layout
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.records import Prepared


def write_partitions(workspace: Workspace, manifest: IndexManifest, prepared: Sequence[Prepared]) -> None:
    """Note beside the manifest which records shard holds which partition, so that a hit's record is found at once."""
    paths = {item.partition: item.records.path for item in prepared}
    workspace.lake.write(layout.partitions_path(manifest.path), digest.canonical_json(paths))


def read_partitions(workspace: Workspace, manifest_path: str) -> dict[str, str]:
    """Lake-relative path of each partition's records shard, as an index was made from them.

    Raises:
        StorageError: the note is missing or damaged.
    """
    path = layout.partitions_path(manifest_path)
    try:
        paths: dict[str, str] = json.loads(workspace.lake.read(path))
    except (FileNotFoundError, ValueError) as error:
        raise StorageError(f"{path} is missing or damaged.\nRemove it and run `trichord reindex`.") from error
    return paths
