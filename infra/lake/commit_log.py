"""The commits of a table, and a checksummed copy of each, so that a lost or damaged commit is noticed and restored.

Delta's log carries no checksum: one flipped byte can add or hide a shard, and a table that lost its last commit looks
like the table of the day before. So each commit is copied, once it is visible, to `<table>/_commits/<version>.copy`:
the SHA-256 of the rest, a line that names the checkpoint files of that version with their SHA-256, and the commit.
A copy is written after its commit, so a commit may lack one for a moment, but a copy without its commit is a loss.

A log that was shortened (`shorten`) begins with its `base`; what is left of earlier versions counts for nothing.
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
from trichord.infra.lake.log_base import Base, checkpoint_name, is_shard

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

    def first_copy(self) -> int | None:
        """Return the first version of which there is a copy or a base, which may be damaged; None if there is none."""
        for stat in self._lake.list(f"{self._table}/{layout.COPIES}"):
            return version_of(stat.uri.rsplit("/", 1)[-1])
        return None

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
                name = stat.uri.rsplit("/", 1)[-1]
                version = version_of(name)
                if version >= 0 and name == f"{version:020d}{ending}":
                    found.add(version)
        return sorted(found)

    def since(self, base: Base | None) -> range:
        """Return the versions from the base on, whether anything of them is there or not."""
        first, versions = 0 if base is None else base.version, self.versions()
        return range(first, max([*versions[-1:], first if base is not None else -1]) + 1)

    def base(self) -> Base | None:
        """Return what the log begins with; None where it begins with version 0, or nothing is left that says more.

        If its file is damaged or missing, what it held is read from the checkpoint, without `Base.rows`.
        """
        stats = self._lake.list(f"{self._table}/{layout.COPIES}")
        names = [stat.uri.rsplit("/", 1)[-1] for stat in stats if stat.uri.endswith(".base")]
        for version in sorted(map(version_of, names), reverse=True):
            if version >= 0 and (found := self._stored_base(version) or self.checkpoint(version)) is not None:
                return found
        first = next(iter(self.versions()), 0)
        return self.checkpoint(first) if first else None

    def checkpoint(self, version: int) -> Base | None:
        """Return the checkpoint of a version; None where its copy names none, or it is damaged or missing."""
        copy, name = self._copy(version), checkpoint_name(version)
        try:
            data = self._lake.read(layout.log_folder(self._table), name)
        except FileNotFoundError:
            return None
        whole = copy is not None and copy.checkpoints.get(name) == sha256_hex(data)
        return Base(version=version, checkpoint=data, stored=False) if whole else None

    def write_base(self, base: Base) -> None:
        """Write the file of a base. Raise as `Lake.write`."""
        self._lake.write(layout.base_path(self._table, base.version), base.to_bytes())

    def examine(self) -> list[Damage]:
        """Return every damaged or missing commit, copy and checkpoint file."""
        base = self.base()
        found = self._examine(base)
        while found and (after := self.base()) != base:  # it was shortened meanwhile
            base, found = after, self._examine(after)
        return found

    def _examine(self, base: Base | None) -> list[Damage]:
        found: list[Damage] = []
        checkpoints: dict[str, str] = {}
        for version in self.since(base):
            copy = self._copy(version)
            found += self._examine_commit(version, copy)
            if copy is not None:
                checkpoints |= copy.checkpoints
            else:
                checkpoints.pop(LAST_CHECKPOINT, None)  # this copy may have named a later one
        remedies = dict[str, bytes]()
        if base is not None:
            checkpoints[base.name], remedies[base.name] = sha256_hex(base.checkpoint), base.checkpoint
            if not base.stored:
                path = layout.base_path(self._table, base.version)
                problem = "is damaged" if self._lake.exists(path) else "is missing"
                found.append(Damage(path=path, problem=problem))
        for name, sha256 in checkpoints.items():
            path = f"{layout.log_folder(self._table)}/{name}"
            try:
                whole = sha256_hex(self._lake.read(path)) == sha256
            except FileNotFoundError:
                found.append(Damage(path=path, problem="is missing", remedy=remedies.get(name)))
                continue
            if not whole:
                found.append(Damage(path=path, problem="is damaged", remedy=remedies.get(name)))
        return found

    def actions(self, version: int) -> list[dict[str, Any]] | None:
        """Return the actions of a commit, from its copy if it is damaged; None where both are lost."""
        copy = self._copy(version)
        data = copy.commit if copy is not None else self._commit(version)
        return None if data is None else _actions(data)

    def forget_checkpoints(self) -> None:
        """Remove all checkpoints but that of the base, and rewrite the copies that name them.

        Delta reads the commits instead.
        """
        base = self.base()
        kept = {base.name} if base is not None else set[str]()
        for stat in list(self._lake.list(layout.log_folder(self._table))):
            name = stat.uri.rsplit("/", 1)[-1]
            if name not in kept and (name == LAST_CHECKPOINT or ".checkpoint" in name):
                self._lake.storage.delete(stat.uri)
        for version in self.versions():
            copy = self._copy(version)
            if copy is not None and copy.checkpoints.keys() - kept:
                left = {name: sha256 for name, sha256 in copy.checkpoints.items() if name in kept}
                self._lake.write(layout.copy_path(self._table, version), _copy_of(copy.commit, left))

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
        return _copy_of(self._lake.read(layout.commit_path(self._table, version)), checkpoints)

    def _stored_base(self, version: int) -> Base | None:
        try:
            return Base.parse(version, self._lake.read(layout.base_path(self._table, version)))
        except FileNotFoundError:
            return None


def _copy_of(commit: bytes, checkpoints: Mapping[str, str]) -> bytes:
    rest = canonical_json(checkpoints) + b"\n" + commit
    return sha256_hex(rest).encode() + b"\n" + rest


def version_of(name: str) -> int:
    """Return the version that the name of a log's file begins with; -1 for another file."""
    digits, dot, _ = name.partition(".")
    return int(digits) if dot and len(digits) == 20 and digits.isascii() and digits.isdigit() else -1


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
    return fits and ("add" not in action or is_shard(action["add"]))
