"""Which records shard holds which partition, stored beside an index manifest, to find a hit's record at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from trichord.index_builders.manifest import IndexManifest
from trichord.infra import digest
from trichord.infra.errors import StorageError
from trichord.infra.json_values import parse_object
from trichord.infra.lake import layout
from trichord.infra.lake.checked_parquet import REMEDY
from trichord.infra.lake.publication import JsonDict
from trichord.pipelines.core.workspace import Workspace

if TYPE_CHECKING:
    from trichord.pipelines.prepare.plan import WantedShard
    from trichord.pipelines.prepare.prepared import Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """Where the plan of a partition of loose files is: it says which files its rows name."""

    source: str
    path: str  # lake-relative, of the plan
    row_group: int


def write_partitions(
    workspace: Workspace, manifest: IndexManifest, prepared: Sequence[Prepared], shards: Sequence[WantedShard]
) -> None:
    """Write beside the manifest which records shard holds each partition, and where its plan is.

    A hit's record, and the files that it was made from, can then be found at once.
    """
    paths = {item.partition: item.records.path for item in prepared}
    planned = {
        shard.partition.id: [shard.source.name, shard.partition.locator, shard.partition.row_group]
        for shard in shards
        if shard.partition.locator and shard.partition.part is None
    }
    workspace.lake.write(layout.plans_path(manifest.path), _checked(planned))
    workspace.lake.write(layout.partitions_path(manifest.path), partitions_bytes(paths))


def partitions_bytes(paths: Mapping[str, str]) -> bytes:
    """Return the bytes of a partition map: the lake-relative path of the records shard of each partition."""
    return _checked(paths)


def read_partitions(workspace: Workspace, manifest_path: str) -> dict[str, str]:
    """Return the lake-relative path of the records shard of each partition of an index.

    Raises:
        StorageError: the file is missing or damaged.
    """
    return dict(_read(workspace, layout.partitions_path(manifest_path)))


def read_planned(workspace: Workspace, manifest_path: str) -> dict[str, Planned]:
    """Return where the plans of an index's partitions are; data files that hold their media have none.

    Raises:
        StorageError: the file is missing or damaged.
    """
    return {
        partition: Planned(source=source, path=path, row_group=row_group)
        for partition, (source, path, row_group) in _read(workspace, layout.plans_path(manifest_path)).items()
    }


def _checked(noted: Mapping[str, object]) -> bytes:
    return digest.canonical_json({"noted": noted, "check": digest.address(noted)})


def _read(workspace: Workspace, path: str) -> JsonDict:
    try:
        stored = parse_object(workspace.lake.read(path))
        noted: JsonDict = cast(JsonDict, stored["noted"])
        if stored["check"] != digest.address(noted):
            raise ValueError("its check does not match")
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{workspace.lake.uri(path)} is missing or damaged.\n{REMEDY}.") from error
    return noted
