"""Lost commits of tables, written again from what publications pin.

A commit that is lost with its copy takes with it which shards a version of its table held. A publication seals that
list: its digest proves a guess. Guesses come from its manifest and its partition map, from the shards' addresses, and
from the other commits. Only what a seal proves is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass

from trichord.index_builders.manifest import read_manifest
from trichord.infra import digest
from trichord.infra.digest import canonical_json
from trichord.infra.errors import StorageError
from trichord.infra.lake import layout, schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.logged_table import Actions, LoggedTables
from trichord.infra.lake.publication import Pinned
from trichord.infra.lake.schema import TABLES
from trichord.infra.lake.shard import ShardRef, find_finished, parse_shard_path
from trichord.infra.lake.table import LakeTable
from trichord.infra.scratch import scratch_folder
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.ground_truth import vector_shards
from trichord.pipelines.index.partition_map import read_partitions
from trichord.pipelines.publish.pinned import read_each_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Remade:
    """Lost commits of a table that can be written again, by version, and the pinned versions that are whole then."""

    commits: Mapping[int, bytes]
    whole: frozenset[int]


def find_lost_commits(workspace: Workspace, tables: LoggedTables, rows: Sequence[Pinned]) -> dict[str, Remade]:
    """Return the lost commits that can be written again, by table.

    Args:
        workspace: the project on its lake.
        tables: reads the tables by their logs.
        rows: the publications and the candidate that may pin them, the most important first.
    """
    found = {}
    for name in (name for name in TABLES if name not in ("publications", "feedback")):
        pins = {row.table_versions[name]: row for row in reversed(rows) if f"table:{name}" in row.seals}
        commits: list[Actions | None] = [*tables.commits(name)]
        commits += [None] * (max(pins, default=-1) + 1 - len(commits))
        if pins and None in commits:
            with suppress(StorageError):  # shards or the manifest are damaged too
                remade = _remake(workspace, name, commits, pins)
                if remade.whole:
                    found[name] = remade
    return found


def _remake(workspace: Workspace, name: str, commits: Sequence[Actions | None], pins: Mapping[int, Pinned]) -> Remade:
    """Make the lost commits up to the last one that a pinned version proves."""
    lake, remade, whole, state = workspace.lake, dict[int, bytes](), set[int](), set[str]()
    guessed = ((version, _prove(workspace, name, pins[version], version, commits)) for version in sorted(pins))
    proven = {version: paths for version, paths in guessed if paths is not None}
    for version, actions in enumerate(commits):
        if actions is not None:
            state = _after(state, actions)
        else:
            pinned = next((later for later in proven if later >= version), None)
            if pinned is None or None in commits[version + 1 : pinned + 1]:
                break
            wanted = set(proven[pinned])
            for later in reversed(commits[version + 1 : pinned + 1]):
                wanted = (wanted - _paths(later or [], "add")) | _paths(later or [], "remove")
            added = find_finished(lake, name, _addresses(wanted - state)).values()
            wanted &= state | {
                _below(ref) for ref in added
            }  # what `gc` removed since is in none of the pinned versions
            head = [] if version else _head(workspace, name, pins[pinned])
            remade[version] = b"\n".join([*head, *_actions(added, state - wanted)]) + b"\n"
            state = wanted
        if version in pins and _digest(name, state) == pins[version].seals[f"table:{name}"]:
            whole.add(version)
    return Remade(commits=remade, whole=frozenset(whole))


def _prove(
    workspace: Workspace, name: str, row: Pinned, version: int, commits: Sequence[Actions | None]
) -> Set[str] | None:
    """Return the paths of a pinned version, where a guess has the digest that the publication sealed."""
    for paths in _guess(workspace, name, row, version, commits):
        found = {_below(ref) for ref in find_finished(workspace.lake, name, _addresses(paths), verify=True).values()}
        if _digest(name, found) == row.seals[f"table:{name}"]:
            return found
    return None


def _guess(
    workspace: Workspace, name: str, row: Pinned, version: int, commits: Sequence[Actions | None]
) -> Iterator[Set[str]]:
    """Yield sets of paths that a version of a table may have held."""
    stats = workspace.lake.list(name)
    present = {workspace.lake.relative(stat.uri).split("/", 1)[1] for stat in stats if parse_shard_path(stat.uri)}
    with suppress(StorageError):
        records = _addresses(read_partitions(workspace, row.manifest).values())
        yield {path for path in present if not records.isdisjoint(_addresses([path]))}  # rejects, signatures: the same
    manifests, _ = read_each_manifest(workspace, row)
    inputs = {address for manifest in manifests for address in vector_shards(manifest)}
    yield {path for path in present if not inputs.isdisjoint(_addresses([path]))}
    named = {path for actions in commits for path in _paths(actions or [], "add")}
    state = set[str]()
    for place, actions in enumerate(commits[: version + 1]):
        if actions is None:  # it may have added what later commits remove, and what none of the others names
            later = {path for one in commits[place:] for path in _paths(one or [], "remove")}
            state |= (present - named) | (later & present)
        else:
            state = _after(state, actions)
    yield state


def _actions(added: Iterable[ShardRef], removed: Iterable[str]) -> Iterator[bytes]:
    """Yield the lines of a commit."""
    yield canonical_json({"commitInfo": {"operation": "WRITE", "recipe": "recover", "run": "recover"}})
    for path in sorted(removed):
        yield canonical_json({"remove": {"path": path, "dataChange": True, "deletionTimestamp": 0}})
    for ref in sorted(added, key=lambda ref: ref.path):
        stats = canonical_json({"numRecords": ref.rows}).decode()
        add = {"path": _below(ref), "partitionValues": {}, "size": ref.bytes, "modificationTime": 0}
        yield canonical_json({"add": {**add, "dataChange": True, "stats": stats}})


def _head(workspace: Workspace, name: str, row: Pinned) -> list[bytes]:
    """Return the lines of a table's first commit that say its format and columns, as `LakeTable` writes them."""
    if name == "vectors":
        columns = schema.vectors_schema(read_manifest(workspace.lake, row.manifest, row.manifest_digest).dimension)
    else:
        columns = getattr(schema, name.upper())
    with scratch_folder("commit") as folder:
        scratch = Lake(workspace.storage, folder)
        LakeTable(scratch, name).reconcile([], schema=columns, run="recover", recipe="recover")
        lines = scratch.read(layout.commit_path(name, 0)).splitlines()
    return [line for line in lines if line.startswith((b'{"protocol"', b'{"metaData"'))]


def _digest(name: str, paths: Iterable[str]) -> str:
    return digest.address("shards", sorted(f"{name}/{path}" for path in paths))


def _after(state: Set[str], actions: Actions) -> set[str]:
    return (set(state) - _paths(actions, "remove")) | _paths(actions, "add")


def _paths(actions: Actions, verb: str) -> set[str]:
    return {action[verb]["path"] for action in actions if verb in action}


def _below(ref: ShardRef) -> str:
    return ref.path.split("/", 1)[1]


def _addresses(paths: Iterable[str]) -> set[str]:
    return {parsed[0] for path in paths if (parsed := parse_shard_path(path)) is not None}
