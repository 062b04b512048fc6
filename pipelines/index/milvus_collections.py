"""The Milvus collections of a lake: which stand, which one readers are sent to, and which nothing needs any more."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trichord.index_builders.manifest import IndexManifest, read_manifests
from trichord.infra.errors import ServiceError, StorageError
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.open import MILVUS, place_of

NOTES = "index/collections/"


def collections(workspace: Workspace, kept: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What `status` shows: None where the project has no Milvus; `error` where the server fails.

    Args:
        workspace: the project on its lake.
        kept: rows of the publications that are kept, newest first; the first is live.
    """
    place = place_of(workspace)
    if place is None:
        return None
    from trichord.index_builders.milvus.client import connected

    told: dict[str, Any] = {"uri": place.uri, "alias": place.alias}
    try:
        held = {name: row["publication"] for row, name, _ in reversed(list(_held(workspace, kept)))}
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


def verify_collections(workspace: Workspace, kept: Sequence[Mapping[str, Any]]) -> None:
    """Count the rows of every standing collection of a kept publication, ask canary queries, and mend the alias.

    Raises:
        ServiceError: the server fails, or a collection holds something else than its manifest says.
        StorageError: the live collection is gone.
    """
    place = place_of(workspace)
    if place is None:
        return
    from trichord.index_builders.milvus.client import connected
    from trichord.index_builders.milvus.load import Loader
    from trichord.pipelines.index.build import follow

    with connected(place) as milvus:
        for row, name, manifest in _held(workspace, kept):
            if milvus.describe(name) is not None:
                Loader(workspace.lake, milvus, manifest).verify(name)
            elif row is kept[0]:
                raise StorageError(f"{row['publication']}: its collection {name} is gone. Run `trichord reindex`.")
    follow(workspace, kept[0] if kept else None)


def drop_unneeded(
    workspace: Workspace, kept: Sequence[Mapping[str, Any]], candidate: Mapping[str, Any] | None, *, delete: bool
) -> list[str]:
    """Collections that this lake once filled and needs no more, older than the grace period; dropped with `delete`.

    The newest `milvus.keep_collections` publications keep theirs: an older one is filled again when it is rolled back
    to. Only what this lake noted is ever dropped, whoever else uses the server.
    """
    place = place_of(workspace)
    if place is None:
        return []
    from trichord.index_builders.milvus.client import connected
    from trichord.index_builders.milvus.state import forget, noted_collections

    needed: list[str] = []
    for _, name, _ in _held(workspace, kept):
        if name not in needed:
            needed.append(name)
    needed = needed[: workspace.project.milvus.keep_collections]
    needed += [name for _, name, _ in _held(workspace, [candidate] if candidate is not None else [])]
    oldest = time.time_ns() - int(workspace.project.gc_grace_s * 1e9)
    noted = list(noted_collections(workspace.lake))
    gone = sorted(name for name, noted_ns in noted if name not in needed and noted_ns <= oldest)
    if delete and gone:
        with connected(place) as milvus:
            standing = milvus.alias_target()
            for name in gone:
                if name != standing:  # readers are still sent there: the next `gc` has it
                    milvus.drop(name)
                    forget(workspace.lake, name)
    return gone


def _held(
    workspace: Workspace, rows: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any], str, IndexManifest]]:
    """The collections of these publications: (publication, collection, manifest)."""
    for row in rows:
        for manifest in read_manifests(workspace.lake, row["manifest"], row["manifest_digest"]):
            if manifest.kind == MILVUS:
                yield row, str(manifest.params["collection"]), manifest
