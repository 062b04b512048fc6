"""Tables of the lake as pyarrow datasets, at the version that the live publication pins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.dataset as ds
import pyarrow.fs as pafs

from trichord.infra.bucket_uri import split_remote
from trichord.infra.errors import ConfigError
from trichord.infra.lake import schema
from trichord.infra.lake.object_stores import file_system
from trichord.pipelines.core.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa


def open_dataset(workspace: Workspace, name: str) -> ds.Dataset:
    """Open a table as the live publication pins it, or its newest version if nothing is published.

    Raises:
        ConfigError: the table does not exist yet.
        StorageError: the table cannot be read.
    """
    live = workspace.publications.live()
    if live is None and workspace.table(name).version() is None:
        raise ConfigError(f"The lake holds no {name} yet. Run `trichord reindex` first.")
    shards = workspace.pinned_shards(name, live).values()
    paths = [workspace.lake.uri(ref.path).rpartition("://")[2] for ref in shards]
    if not paths:
        return ds.dataset(_schema(name).empty_table())
    return ds.dataset(paths, format="parquet", filesystem=_filesystem(workspace))


def _schema(name: str) -> pa.Schema:
    return {"records": schema.RECORDS, "rejects": schema.REJECTS, "vectors": schema.vectors_schema(0)}[name]


def _filesystem(workspace: Workspace) -> pafs.FileSystem:
    if not workspace.lake.remote:
        return pafs.LocalFileSystem()
    config = workspace.project.storage
    kind = split_remote(workspace.lake.root)[0]
    if kind != "s3":
        return file_system(kind, config)
    scheme, _, host = (config.endpoint or "").partition("://")
    return pafs.S3FileSystem(region=config.region, endpoint_override=host or None, scheme=scheme or "https")
