"""The table `publications`: which index is live, and which ones were."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from trichord.infra.digest import address, canonical_json
from trichord.infra.errors import CommitConflict, ConfigError, StorageError
from trichord.infra.lake.checked_parquet import REMEDY
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.log_base import ROWS
from trichord.infra.lake.logged_table import LoggedTables, gone
from trichord.infra.lake.publication import Publication
from trichord.infra.lake.schema import PUBLICATIONS
from trichord.infra.lake.shard import ShardRef, ShardWriter, read_shard
from trichord.infra.lake.table import LakeTable


class Publications(LakeTable):
    """The table that readers follow: its last row is live. Kept as one small shard, replaced by each append.

    Each commit also holds the rows that it added, so the table can be made again from its log (`logged`).
    """

    def __init__(self, lake: Lake) -> None:
        super().__init__(lake, "publications")
        self._read: tuple[DeltaTable | None, list[Publication]] | None = None

    def rows(self, version: int | None = None) -> list[Publication]:
        """Return all publications of a table version (the newest by default), first to last.

        Raises:
            StorageError: the shard or the log is damaged, or there is no such version.
        """
        table = self._load(version)
        if version is not None and table is not None:
            try:
                return self._rows_of(table)
            except StorageError:
                return self.logged(version)  # `gc` removes the shards of earlier versions
        rows = self._rows_of(table) if table is not None else []
        self._read = (table, rows)
        return rows

    def _rows_of(self, table: DeltaTable) -> list[Publication]:
        self.log.read(table.version())
        shards = list(self._shards_of(table).values())
        if len(shards) != 1:
            raise StorageError(f"table {self._uri} names {len(shards)} shards instead of one. {REMEDY}")
        try:
            rows = [Publication.from_row(row) for row in read_shard(self._lake, shards[0], verify=True).to_pylist()]
        except FileNotFoundError as missing:
            raise StorageError(f"shard {self._lake.uri(shards[0].path)} is missing. {REMEDY}") from missing
        return sorted(rows, key=lambda row: row.sequence)

    def live(self) -> Publication | None:
        """Return the publication that readers use now; None before the first."""
        rows = self.rows()
        return rows[-1] if rows else None

    def require_live(self) -> Publication:
        """Return the publication that readers use now.

        Raises:
            ConfigError: nothing is published yet.
        """
        live = self.live()
        if live is None:
            raise ConfigError("Nothing is published yet. Run `trichord reindex` first.")
        return live

    def append(self, publication: Publication) -> int:
        """Make a publication live, on top of what this object read last (`rows` or `live`).

        Of two writers that read the same state, one gets CommitConflict: neither overrules the other unknowingly.

        Returns:
            The table's version.

        Raises:
            ValueError: its sequence does not go on.
            CommitConflict: another writer published since that read.
        """
        if self._read is None:
            self.rows()
        assert self._read is not None
        table, before = self._read
        if before and publication.sequence <= before[-1].sequence:
            raise ValueError(f"sequence {publication.sequence} does not come after {before[-1].sequence}")
        return self._replace(table, [*before, publication], [publication])

    def rewrite(self, rows: Sequence[Publication], added: Sequence[Publication], *, after: int) -> int | None:
        """Make the table consist of `rows` and those `added`, for a table that cannot be read.

        The log must be whole, or gone: the table is then created again.

        Args:
            rows: the publications that were found, first to last.
            added: further ones, which become live.
            after: the version that `rows` were found in; -1 if the log is gone.

        Returns:
            The version; None where writing the shard again was enough.

        Raises:
            CommitConflict: another writer published meanwhile.
        """
        table = self._load()
        if (-1 if table is None else table.version()) != after:
            raise CommitConflict(
                f"table {self._uri} is no longer at version {after}: another writer was first. "
                "Run `trichord recover` again"
            )
        if table is None or added:
            return self._replace(table, [*rows, *added], added if table is not None else [*rows, *added])
        ref = self.store(rows)
        if {shard.path for shard in self._shards_of(table).values()} == {ref.path}:
            return None
        return self._replace(table, rows, [])

    def logged(self, version: int) -> list[Publication]:
        """Return the publications that the commits up to this version hold, first to last; no shard is read.

        Raises:
            StorageError: the version is no longer kept, or a commit and its copy are lost.
        """
        tables = LoggedTables(self._lake)
        commits, first = tables.commits(self.name)[: version + 1], tables.first(self.name)
        if version < first:
            raise StorageError(gone(self.name, version, first))
        base = self.log.base()
        lost = commits.index(None) if None in commits else first if base is not None and not base.stored else None
        if lost is not None:
            raise StorageError(f"Commit {lost} of table {self._uri} and its copy are lost. {REMEDY}")
        found = [row for actions in commits for row in rows_in(actions or [])]
        return sorted({one.sequence: one for one in found}.values(), key=lambda one: one.sequence)

    def _replace(self, table: DeltaTable | None, rows: Sequence[Publication], added: Sequence[Publication]) -> int:
        ref = self.store(rows)
        present = [old for old in self._shards_of(table).values() if old.path != ref.path] if table is not None else []
        noted = canonical_json([one.to_row() for one in added]).decode()
        version = self._commit(table, [ref], present, PUBLICATIONS, {"publication": rows[-1].id, ROWS: noted})
        self._read = (self._load(version), list(rows))
        return version

    def store(self, publications: Sequence[Publication]) -> ShardRef:
        """Write the shard of these publications; no commit names it yet."""
        rows = [one.to_row() for one in publications]
        with ShardWriter(self._lake, self.name, address(self.name, rows), PUBLICATIONS) as writer:
            writer.write(pa.Table.from_pylist(rows, schema=PUBLICATIONS))
            return writer.finish({})


def rows_until(tables: LoggedTables, version: int, history: Sequence[Publication]) -> list[dict[str, Any]]:
    """Return the rows of the table at a version: those of its history that no later commit has added."""
    later = {
        row.sequence for actions in tables.commits("publications")[version + 1 :] for row in rows_in(actions or [])
    }
    return [row.to_row() for row in history if row.sequence not in later]


def rows_in(actions: Iterable[Mapping[str, Any]]) -> list[Publication]:
    """Return the publications that a commit's actions hold; none if an earlier version of trichord wrote it."""
    return [
        Publication.from_row(row)
        for action in actions
        for row in json.loads(action.get("commitInfo", {}).get(ROWS, "[]"))
    ]
