"""Commits: set which shards a table holds, and record what changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from trichord.infra import digest, log
from trichord.infra.lake.footers import Footers
from trichord.infra.lake.schema import TABLES
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.core.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """What a run changed in one table, or in the index: addresses of shards, and the bytes of those that were made."""

    table: str
    version: int | None
    made: tuple[str, ...]
    reused: int
    removed: tuple[str, ...]
    bytes: int = 0


def keep_copies(workspace: Workspace) -> None:
    """Compare each table's last commit with its copy, and copy it if its writer was killed before it did.

    Raises:
        StorageError: a table's log is damaged, or a copy could not be written.
    """
    for name in TABLES:
        table = workspace.table(name)
        version = table.version()
        if version is not None:
            table.log.read(version)
            table.log.keep(version)


class Commits:
    """Commits shards table by table and records what changed."""

    visible = True  # the tables hold what was committed

    def __init__(self, workspace: Workspace, recipe: str) -> None:
        self._workspace, self._recipe = workspace, recipe
        self._run = digest.address(
            "run", recipe, time.time_ns()
        )  # names the run in Delta's log; nothing else depends on it
        self.touched: list[Touched] = []

    @property
    def versions(self) -> dict[str, int]:
        """Delta version of every table committed so far."""
        return {item.table: item.version for item in self.touched if item.version is not None}

    def __call__(self, name: str, refs: Sequence[ShardRef], table_schema: pa.Schema) -> None:
        """Make a table hold exactly these shards, in one commit; make none if it does already."""
        table = self._workspace.table(name)
        before = set(table.shards())
        now = {ref.address for ref in refs}
        version = table.reconcile(list(refs), schema=table_schema, run=self._run, recipe=self._recipe)
        self.touched.append(
            Touched(
                table=name,
                version=version,
                made=tuple(sorted(now - before)),
                reused=len(now & before),
                removed=tuple(sorted(before - now)),
                bytes=sum({ref.address: ref.bytes for ref in refs if ref.address not in before}.values()),
            )
        )
        Footers.remember(self._workspace.lake, name, refs)
        log.event("committed", table=name, version=version, added=len(now - before), removed=len(before - now))


class Uncommitted(Commits):
    """Takes the place of `Commits` where shards are made beside the live index, and no table may change."""

    visible = False

    def __init__(self, workspace: Workspace, recipe: str) -> None:
        super().__init__(workspace, recipe)
        self._present = {
            name: {stat.uri.rsplit("/", 1)[-1].split(".", 1)[0] for stat in workspace.lake.list(name)}
            for name in TABLES
        }

    def __call__(self, name: str, refs: Sequence[ShardRef], table_schema: pa.Schema) -> None:
        """Note which shards were made since this object was."""
        made = {ref.address: ref.bytes for ref in refs if ref.address not in self._present[name]}
        self.touched.append(
            Touched(
                table=name,
                version=None,
                made=tuple(sorted(made)),
                reused=len({ref.address for ref in refs}) - len(made),
                removed=(),
                bytes=sum(made.values()),
            )
        )
