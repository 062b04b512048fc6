"""The lake's tables as their commits and the copies of these say, without Delta: readable where Delta gives up."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast

from trichord.infra.errors import StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.checked_parquet import REMEDY
from trichord.infra.lake.commit_log import CommitLog, Damage
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.log_base import Base
from trichord.infra.lake.shard import ShardRef, parse_shard_path

Actions = list[dict[str, Any]]


class LoggedTables:
    """Reads each table's log once. A damaged commit is read from its copy."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._actions: dict[str, list[Actions | None]] = {}
        self._first: dict[str, int] = {}

    def examine(self, name: str) -> list[Damage]:
        """Return what is damaged of a table's log and its copies."""
        return CommitLog(self._lake, name).examine()

    def newest(self, name: str) -> int:
        """Return the newest version; -1 where the table was never committed to."""
        return len(self.commits(name)) - 1

    def first(self, name: str) -> int:
        """Return the first version that can be read; of earlier ones `trichord maintain` has removed the commits."""
        self.commits(name)
        return self._first[name]

    def commits(self, name: str) -> list[Actions | None]:
        """Return the actions of each commit of a table; None for a commit that is lost, copy included.

        The commit of the `first` version replaces all earlier ones, which then have no actions.
        """
        if name not in self._actions:
            log = CommitLog(self._lake, name)
            base = log.base()
            commits = _read(log, base)
            while None in commits and (after := log.base()) != base:  # it was shortened meanwhile
                base, commits = after, _read(log, after)
            self._first[name], self._actions[name] = 0 if base is None else base.version, commits
        return self._actions[name]

    def shards(self, name: str, version: int) -> dict[str, ShardRef]:
        """Return the shards of a version by address.

        Raises:
            StorageError: there is no such version, or it is no longer kept, or one of its commits is lost.
        """
        commits = self.commits(name)[: version + 1]
        if len(commits) <= version:
            raise StorageError(f"table {name} has no version {version}")
        if version < self.first(name):
            raise StorageError(gone(name, version, self.first(name)))
        return shards_in(name, commits)


def shards_in(name: str, commits: Iterable[Actions | None]) -> dict[str, ShardRef]:
    """Return the shards that a table holds after these commits, its first ones, by address.

    Raises:
        StorageError: one of them is lost.
    """
    refs: dict[str, ShardRef] = {}
    for number, actions in enumerate(commits):
        if actions is None:
            raise StorageError(f"commit {number} of table {name} and its copy are lost. {REMEDY}")
        for action in actions:
            if removed := action.get("remove"):
                refs.pop(removed["path"], None)
            elif added := action.get("add"):
                refs[added["path"]] = _ref(name, added)
    return {ref.address: ref for ref in refs.values()}


def gone(table: str, version: int, first: int) -> str:
    """Return a message that a version is no longer kept."""
    return (
        f"Version {version} of table {table} is no longer kept: its log begins with version {first}. "
        "`trichord maintain` keeps what the last `keep_publications` publications need"
    )


def _read(log: CommitLog, base: Base | None) -> list[Actions | None]:
    versions = log.since(base)
    state = [] if base is None else [base.actions()]
    return [*([[]] * versions.start), *state, *map(log.actions, versions[len(state) :])]


def _ref(table: str, added: dict[str, Any]) -> ShardRef:
    name = parse_shard_path(added["path"])
    if name is None:
        raise StorageError(f"table {table} names {added['path']}, which is not a shard")
    return ShardRef(
        address=name[0],
        table=table,
        path=layout.shard_path(table, *name),
        rows=cast(int, json.loads(added["stats"])["numRecords"]),
        bytes=added["size"],
        sha256=name[1],
    )
