"""The commits of a table, and a checksummed copy of each, so that a lost or damaged commit is noticed and restored.

Delta's log carries no checksum: one flipped byte can add or hide a shard, and a table that lost its last commit looks
like the table of the day before. So each commit is copied, once it is visible, to `<table>/_commits/<version>.copy`:
the SHA-256 of the rest, a line that names the checkpoint files of that version with their SHA-256, and the commit.
A copy is written after its commit, so a commit may lack one for a moment, but a copy without its commit is a loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trichord.infra.digest import canonical_json, sha256_hex
from trichord.infra.errors import StorageError
from trichord.infra.json_values import parse_object
from trichord.infra.lake import layout
from trichord.infra.lake.checked_parquet import REMEDY
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import parse_shard_path

LAST_CHECKPOINT = "_last_checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What a copy holds: a commit, and the SHA-256 of the checkpoint files that were written with it, by name."""

    commit: bytes
    checkpoints: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A damaged or missing file of a table's log.

    Attributes:
        path: lake-relative.
        problem: what is wrong with it.
        remedy: bytes to write in its place; None where it must be removed.
        version: the commit that is lost where no copy is whole; None where the file can be restored.
    """

    path: str
    problem: str
    remedy: bytes | None = None
    version: int | None = None


class CommitLog:
    """The log of one table and its copies."""

    def __init__(self, lake: Lake, table: str) -> None:
        self._lake, self._table = lake, table

    def has_copy(self, version: int) -> bool:
        """Return True if there is a copy of this commit; it may be damaged."""
        return self._lake.exists(layout.copy_path(self._table, version))

    def read(self, version: int) -> bytes:
        """Return a commit's bytes, as they were written.

        Raises:
            FileNotFoundError: there is no such commit.
            StorageError: the commit differs from its copy.
        """
        found = self._lake.read(layout.commit_path(self._table, version))
        copy = self._copy(version)
        if copy is not None and copy.commit != found:
            path = self._lake.uri(layout.commit_path(self._table, version))
            raise StorageError(f"{path} is damaged: it differs from its copy. {REMEDY}")
        return found

    def keep(self, version: int) -> None:
        """Write the copy of this commit, and of the commits right before it that have none.

        Raises:
            StorageError: a copy could not be written.
        """
        while version >= 0 and not self.has_copy(version):
            self.write_copy(version)
            version -= 1

    def write_copy(self, version: int) -> None:
        """Write the copy of a commit, replacing the one that is there. Raises as `Lake.read` and `Lake.write`."""
        self._lake.write(layout.copy_path(self._table, version), self._content(version))

    def versions(self) -> list[int]:
        """Return the versions of all commits, ascending, whether the commit, its copy, or both are there."""
        found = set()
        for folder, ending in ((layout.log_folder(self._table), ".json"), (f"{self._table}/{layout.COPIES}", ".copy")):
            for stat in self._lake.list(folder):
                name = stat.uri.rsplit("/", 1)[-1].removesuffix(ending)
                if len(name) == 20 and name.isdigit():
                    found.add(int(name))
        return sorted(found)

    def examine(self) -> list[Damage]:
        """Return every damaged or missing commit, copy and checkpoint file."""
        versions = self.versions()
        found: list[Damage] = []
        checkpoints: dict[str, str] = {}
        for version in range(versions[-1] + 1) if versions else ():
            copy = self._copy(version)
            found += self._examine_commit(version, copy)
            checkpoints |= copy.checkpoints if copy is not None else {}
        for name, sha256 in checkpoints.items():
            path = f"{layout.log_folder(self._table)}/{name}"
            try:
                whole = sha256_hex(self._lake.read(path)) == sha256
            except FileNotFoundError:
                found.append(Damage(path=path, problem="is missing"))
                continue
            if not whole:
                found.append(Damage(path=path, problem="is damaged"))
        return found

    def actions(self, version: int) -> list[dict[str, Any]] | None:
        """Return the actions of a commit, from its copy if it is damaged; None where both are lost."""
        copy = self._copy(version)
        data = copy.commit if copy is not None else self._commit(version)
        return None if data is None else _actions(data)

    def forget_checkpoints(self) -> None:
        """Remove all checkpoints, and rewrite the copies that name them. Delta reads the commits instead."""
        for stat in list(self._lake.list(layout.log_folder(self._table))):
            name = stat.uri.rsplit("/", 1)[-1]
            if name == LAST_CHECKPOINT or ".checkpoint" in name:
                self._lake.storage.delete(stat.uri)
        for version in self.versions():
            copy = self._copy(version)
            if copy is not None and copy.checkpoints:
                self.write_copy(version)

    def _examine_commit(self, version: int, copy: Copy | None) -> list[Damage]:
        path, copy_path = layout.commit_path(self._table, version), layout.copy_path(self._table, version)
        commit = self._commit(version)
        if copy is not None:
            if commit == copy.commit:
                return []
            return [Damage(path=path, problem="is missing" if commit is None else "is damaged", remedy=copy.commit)]
        problem = "is damaged" if self.has_copy(version) else "is missing"
        if commit is not None and _actions(commit) is not None:
            return [Damage(path=copy_path, problem=problem, remedy=self._content(version))]
        return [Damage(path=path, problem="is lost, and so is its copy", version=version)]

    def _commit(self, version: int) -> bytes | None:
        try:
            return self._lake.read(layout.commit_path(self._table, version))
        except FileNotFoundError:
            return None

    def _copy(self, version: int) -> Copy | None:
        """Return the copy of a commit; None where there is none, or it is damaged."""
        try:
            data = self._lake.read(layout.copy_path(self._table, version))
        except FileNotFoundError:
            return None
        stated, _, rest = data.partition(b"\n")
        if stated != sha256_hex(rest).encode():
            return None
        names, _, commit = rest.partition(b"\n")
        return Copy(commit=commit, checkpoints={name: str(one) for name, one in parse_object(names).items()})

    def _content(self, version: int) -> bytes:
        log, checkpoints = layout.log_folder(self._table), dict[str, str]()
        prefix = f"{version:020d}.checkpoint"
        for stat in self._lake.list(log):
            name = stat.uri.rsplit("/", 1)[-1]
            if name.startswith(prefix):
                checkpoints[name] = sha256_hex(self._lake.storage.chunks(stat.uri))
        if checkpoints and self._lake.exists(log, LAST_CHECKPOINT):
            last = self._lake.read(log, LAST_CHECKPOINT)
            if parse_object(last).get("version") == version:
                checkpoints[LAST_CHECKPOINT] = sha256_hex(last)
        rest = canonical_json(checkpoints) + b"\n" + self._lake.read(layout.commit_path(self._table, version))
        return sha256_hex(rest).encode() + b"\n" + rest


_REQUIRED: Mapping[str, Mapping[str, type]] = {  # what Delta does without in no action
    "add": {"path": str, "partitionValues": dict, "size": int, "modificationTime": int, "dataChange": bool},
    "remove": {"path": str, "dataChange": bool},
    "metaData": {"id": str, "format": dict, "schemaString": str, "partitionColumns": list},
    "protocol": {"minReaderVersion": int, "minWriterVersion": int},
}
_KNOWN = _REQUIRED.keys() | {"commitInfo", "txn", "domainMetadata", "cdc"}


def _actions(commit: bytes) -> list[dict[str, Any]] | None:
    """Return the actions of a commit, one JSON object a line; None where it is not a commit that Delta reads."""
    try:
        actions = [dict(parse_object(line)) for line in commit.splitlines() if line.strip()]
    except ValueError:
        return None
    return actions if actions and all(map(_is_action, actions)) else None


def _is_action(action: dict[str, Any]) -> bool:
    fits = action.keys() <= _KNOWN and all(
        isinstance(content, dict) and isinstance(content.get(name), kind)
        for verb, content in action.items()
        for name, kind in _REQUIRED.get(verb, {}).items()
    )
    return fits and ("add" not in action or _is_shard(action["add"]))


def _is_shard(added: dict[str, Any]) -> bool:
    """Return True if an action names a shard where shards are, and its rows."""
    name = parse_shard_path(added["path"])
    try:
        rows = parse_object(str(added.get("stats"))).get("numRecords")
    except ValueError:
        return False
    return name is not None and layout.shard_path("", *name) == f"/{added['path']}" and isinstance(rows, int)
