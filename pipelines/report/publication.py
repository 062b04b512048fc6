"""The live publication: its row, its index, and its shards compared with the publication before."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trichord.index_builders.manifest import IndexManifest, read_manifest
from trichord.infra.errors import ConfigError
from trichord.infra.lake.publication import Publication
from trichord.infra.lake.schema import TABLES
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.report.facts import Facts, read_facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A publication opened for reading; `previous` was live before it."""

    publication: Publication
    previous: Publication | None
    manifest: IndexManifest
    story: Mapping[str, Any]  # how the model was trained: `history`, `before`, `after`; empty if it is not stored
    facts: Facts

    @property
    def vectors(self) -> str:
        """How many vectors the index holds, by view."""
        views = {
            name.removeprefix("view:"): rows for name, rows in self.manifest.counts.items() if name.startswith("view:")
        }
        return ", ".join(f"{rows:,} {view}" for view, rows in views.items()) or "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """A table or the index, and its shards compared with the publication before."""

    name: str
    version: int | None
    shards: int
    rows: int
    bytes: int
    made: int
    kept: int
    removed: int


def open_snapshot(workspace: Workspace) -> Snapshot:
    """Open the live publication.

    Raises:
        ConfigError: nothing is published.
        StorageError: the manifest or a shard is missing or damaged.
    """
    history = workspace.publications.rows()
    if not history:
        raise ConfigError("Nothing is published yet, so there is nothing to show. Run `trichord reindex` first.")
    live = history[-1]
    story = (live.model, "training.json")
    return Snapshot(
        publication=live,
        previous=history[-2] if len(history) > 1 else None,
        manifest=read_manifest(workspace.lake, live.manifest, live.manifest_digest),
        story=json.loads(workspace.lake.read(*story)) if workspace.lake.exists(*story) else {},
        facts=read_facts(workspace, live.table_versions),
    )


def touched(snapshot: Snapshot) -> list[Touched]:
    """Compare every pinned table, and the index, with the publication before."""
    workspace, previous = snapshot.facts.workspace, snapshot.previous
    versions = snapshot.publication.table_versions
    found = []
    for name in (name for name in TABLES if name in versions):
        shards = workspace.pinned_shards(name, snapshot.publication)
        now = {address: (ref.rows, ref.bytes) for address, ref in shards.items()}
        before = workspace.pinned_shards(name, previous) if previous is not None else ()
        found.append(_compared(name, versions[name], now, before))
    index = {one.address: (one.rows, one.index.bytes + one.keys.bytes) for one in snapshot.manifest.shards}
    earlier: Iterable[str] = ()
    if previous is not None and workspace.lake.exists(previous.manifest):  # `gc` may have removed it
        manifest = read_manifest(workspace.lake, previous.manifest, previous.manifest_digest)
        earlier = (shard.address for shard in manifest.shards)
    return [*found, _compared("index", None, index, earlier)]


def _compared(name: str, version: int | None, now: Mapping[str, tuple[int, int]], before: Iterable[str]) -> Touched:
    earlier = set(before)
    return Touched(
        name=name,
        version=version,
        shards=len(now),
        rows=sum(rows for rows, _ in now.values()),
        bytes=sum(size for _, size in now.values()),
        made=len(now.keys() - earlier),
        kept=len(now.keys() & earlier),
        removed=len(earlier - now.keys()),
    )
