"""The Milvus collections of a lake: which exist, where the alias points, and which are no longer needed.

Milvus holds one collection per manifest. Our readers search the collection that the publication names. The alias is
for other readers, and moves right after the commit. If a process dies between the two, the alias stays on the old
collection, which is kept until `gc`; `reindex`, `rollback`, `publish` and `verify` all move the alias.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from trichord.index_builders.manifest import IndexManifest, read_manifests
from trichord.infra import log
from trichord.infra.errors import ServiceError, StorageError
from trichord.infra.lake.publication import Pinned, Publication
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.build_milvus import load, milvus_manifests
from trichord.pipelines.index.open import MILVUS, place_of

P = TypeVar("P", bound=Pinned)


def collections(workspace: Workspace, kept: Sequence[Publication]) -> dict[str, Any] | None:
    """Return what `status` shows: None if the project does not use Milvus; `error` if the server fails.

    Args:
        workspace: the project on its lake.
        kept: the kept publications, newest first; the first is live.
    """
    place = place_of(workspace)
    if place is None:
        return None
    from trichord.index_builders.milvus.client import connected

    told: dict[str, Any] = {"uri": place.uri, "alias": place.alias}
    try:
        held = {name: row.id for row, name, _ in reversed(list(_held(workspace, kept)))}
        live = next((name for _, name, _ in _held(workspace, kept[:1])), None)
        with connected(place) as milvus:
            standing = set(milvus.collections())
            target = milvus.alias_target()
    except (ServiceError, StorageError) as error:
        return told | {"error": str(error).splitlines()[0]}
    names = sorted(standing | held.keys())
    return told | {
        "alias_of": target,
        "in_step": target == live,
        "collections": [
            {"collection": name, "publication": held.get(name), "stands": name in standing, "live": name == live}
            for name in names
        ],
    }


def make_ready(workspace: Workspace, row: Pinned) -> None:
    """Fill a publication's dropped collections again; called before the commit, when every backend must hold it."""
    for manifest in milvus_manifests(workspace, row):
        load(workspace, manifest)


def follow(workspace: Workspace, row: Publication | None) -> None:
    """Point the alias at the live publication's collection, and test it with a query; called after the commit.

    If the live publication has no collection, the alias is removed: its readers get an error, not old rows.

    Raises:
        ServiceError: the server fails; the publication is live nevertheless.
    """
    place = place_of(workspace)
    if place is None or row is None:
        return
    from trichord.index_builders.milvus.builder import collection_of
    from trichord.index_builders.milvus.client import connected
    from trichord.index_builders.milvus.load import Loader

    manifests = milvus_manifests(workspace, row)
    with connected(place) as milvus:
        standing = milvus.alias_target()
        if not manifests and standing is not None:
            milvus.drop_alias()
            log.event("alias_dropped", alias=place.alias, collection=standing)
        for manifest in manifests:
            collection = collection_of(manifest)
            if standing != collection:
                milvus.set_alias(collection)
                Loader(workspace.lake, milvus, manifest).verify_alias()
                log.event("alias_moved", alias=place.alias, collection=collection)


def verify_collections(workspace: Workspace, kept: Sequence[Publication]) -> None:
    """Count the rows of every collection of a kept publication, run canary queries, and fix the alias.

    Raises:
        ServiceError: the server fails, or a collection does not match its manifest.
        StorageError: the live collection is missing.
    """
    place = place_of(workspace)
    if place is None:
        return
    from trichord.index_builders.milvus.client import connected
    from trichord.index_builders.milvus.load import Loader

    with connected(place) as milvus:
        for row, name, manifest in _held(workspace, kept):
            if milvus.describe(name) is not None:
                Loader(workspace.lake, milvus, manifest).verify(name)
            elif row is kept[0]:
                raise StorageError(f"The collection {name} of {row.id} is missing. Run `trichord reindex`.")
    follow(workspace, kept[0] if kept else None)


def drop_unneeded(
    workspace: Workspace, kept: Sequence[Publication], candidate: Pinned | None, *, delete: bool
) -> list[str]:
    """Return the collections that this lake filled and no longer needs; drop them if `delete`.

    The newest `milvus.keep_collections` publications keep theirs; a rollback to an older one fills its own again.
    Collections younger than the grace period, and those that other users of the server made, are never dropped.
    """
    place = place_of(workspace)
    if place is None:
        return []
    from trichord.index_builders.milvus.client import connected
    from trichord.index_builders.milvus.state import forget, list_noted_collections

    needed: list[str] = []
    for _, name, _ in _held(workspace, kept):
        if name not in needed:
            needed.append(name)
    needed = needed[: workspace.project.milvus.keep_collections]
    needed += [name for _, name, _ in _held(workspace, [candidate] if candidate is not None else [])]
    oldest = time.time_ns() - int(workspace.project.gc_grace_s * 1e9)
    noted = list(list_noted_collections(workspace.lake))
    gone = sorted(name for name, noted_ns in noted if name not in needed and noted_ns <= oldest)
    if delete and gone:
        with connected(place) as milvus:
            standing = milvus.alias_target()
            for name in gone:
                if name != standing:  # the alias still points there: the next `gc` drops it
                    milvus.drop(name)
                    forget(workspace.lake, name)
    return gone


def _held(workspace: Workspace, rows: Sequence[P]) -> Iterator[tuple[P, str, IndexManifest]]:
    """Yield (publication, collection, manifest) for the collections of these publications."""
    for row in rows:
        for manifest in read_manifests(workspace.lake, row.manifest, row.manifest_digest):
            if manifest.kind == MILVUS:
                yield row, str(manifest.params["collection"]), manifest
