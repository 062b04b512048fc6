"""Lake tables: Delta logs over our own shards. One commit makes a set of shards visible, or another set, never a mix.

A commit is accepted only if nobody else committed since the table was read (deltalake's own retries are off: they would
merge two reconciliations into a state that neither wanted). Old versions stay readable: logs are never cleaned up here.
Rows are read from the shards by `trichord.infra.lake.shard`; deltalake's pyarrow readers can abort the interpreter.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyarrow as pa
from deltalake import DeltaTable
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import (
    AddAction,
    CommitProperties,
    PostCommitHookProperties,
    RemoveAction,
    create_table_with_add_actions,
)

from trichord.infra.digest import address, canonical_json
from trichord.infra.errors import CommitConflict, ConfigError, StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.publication import Publication
from trichord.infra.lake.schema import PUBLICATIONS
from trichord.infra.lake.shard import (
    ShardRef,
    ShardWriter,
    parse_shard_path,
    read_shard,
    require_same_bytes,
)
from trichord.infra.system_errors import as_storage_error

# Publications pin versions for as long as they are kept: no log entry and no file goes by age, only by `trichord gc`.
_CONFIGURATION: Mapping[str, str | None] = {
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
    "delta.enableExpiredLogCleanup": "false",
    "delta.checkpointInterval": "10",
}


class LakeTable:
    """One table of the lake at `<lake>/<name>`."""

    def __init__(self, lake: Lake, name: str) -> None:
        self.name = name
        self._lake = lake
        self._uri = lake.uri(name)

    def version(self) -> int | None:
        """Return the newest version; None while the table was never committed to."""
        table = self._load()
        return table.version() if table is not None else None

    def shards(self, version: int | None = None) -> dict[str, ShardRef]:
        """Return the shards of a version (the newest by default) by address; none if the table was never committed to.

        Raises:
            StorageError: there is no such version, or the log is damaged.
        """
        table = self._load(version)
        return self._shards_of(table) if table is not None else {}

    def reconcile(self, wanted: Sequence[ShardRef], *, schema: pa.Schema, run: str, recipe: str) -> int:
        """Make the table consist of exactly the wanted shards, in one commit; return its version.

        Nothing is committed where nothing changes. `run` and `recipe` (a digest) are kept in the commit's metadata.

        Raises:
            CommitConflict: another writer committed in between; reconcile again.
            StorageError: a wanted shard differs from the committed one of its address, the table has another
                schema, or the log could not be read or written.
        """
        by_address: dict[str, ShardRef] = {}
        for ref in wanted:
            if ref.table != self.name:
                raise ValueError(f"shard {ref.path} is not one of table {self.name}")
            require_same_bytes(by_address.setdefault(ref.address, ref), ref)
        table = self._load()
        present = self._shards_of(table) if table is not None else {}
        for shared in by_address.keys() & present.keys():
            require_same_bytes(present[shared], by_address[shared])
        add = [by_address[shard] for shard in sorted(by_address.keys() - present.keys())]
        remove = [present[shard] for shard in sorted(present.keys() - by_address.keys())]
        if table is not None and not add and not remove:
            return table.version()
        return self._commit(table, add, remove, schema, {"run": run, "recipe": recipe})

    def add(self, ref: ShardRef, *, schema: pa.Schema, run: str, recipe: str) -> int:
        """Add one shard to whatever the table holds, in one commit; return its version. Nothing is removed.

        Raises:
            CommitConflict: another writer committed in between; add it again.
            StorageError: as `reconcile`.
        """
        table = self._load()
        present = self._shards_of(table) if table is not None else {}
        if table is not None and ref.address in present:
            require_same_bytes(present[ref.address], ref)
            return table.version()
        return self._commit(table, [ref], [], schema, {"run": run, "recipe": recipe})

    def _load(self, version: int | None = None) -> DeltaTable | None:
        with self._delta_failures():
            try:
                return DeltaTable(
                    self._uri, version=version, storage_options=self._lake.storage.delta_options(self._uri)
                )
            except TableNotFoundError:
                if version is not None:
                    raise
                return None

    def _shards_of(self, table: DeltaTable) -> dict[str, ShardRef]:
        with self._delta_failures():
            actions = pa.table(table.get_add_actions(flatten=True))
        refs: dict[str, ShardRef] = {}
        columns = (actions[name].to_pylist() for name in ("path", "size_bytes", "num_records"))
        for path, size, rows in zip(*columns, strict=True):
            name = parse_shard_path(path)
            if (
                name is None
                or rows is None
                or path != layout.shard_path(self.name, *name).removeprefix(f"{self.name}/")
            ):
                raise StorageError(f"table {self._uri} names {path}, which is not our shard. Run `trichord verify`")
            refs[name[0]] = ShardRef(
                address=name[0],
                table=self.name,
                path=layout.shard_path(self.name, *name),
                rows=rows,
                bytes=size,
                sha256=name[1],
            )
        return refs

    def _commit(
        self,
        table: DeltaTable | None,
        add: Sequence[ShardRef],
        remove: Sequence[ShardRef],
        schema: pa.Schema,
        metadata: dict[str, str],
    ) -> int:
        """Commit on top of the version `table` was read at (None: create it); return the new version."""
        delta_schema = DeltaSchema.from_arrow(schema.remove_metadata())
        now_ms = time.time_ns() // 1_000_000
        adds = [
            AddAction(
                path=ref.path.removeprefix(f"{self.name}/"),
                size=ref.bytes,
                partition_values={},
                modification_time=now_ms,
                data_change=True,
                stats=canonical_json({"numRecords": ref.rows}).decode(),
            )
            for ref in add
        ]
        removes = [RemoveAction(ref.path.removeprefix(f"{self.name}/"), True, now_ms, ref.bytes) for ref in remove]
        properties = CommitProperties(custom_metadata=metadata, max_commit_retries=0)
        hooks = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
        expected = 0 if table is None else table.version() + 1
        try:
            if table is None:
                create_table_with_add_actions(
                    self._uri,
                    delta_schema,
                    adds,
                    mode="error",
                    configuration=_CONFIGURATION,
                    storage_options=self._lake.storage.delta_options(self._uri),
                    commit_properties=properties,
                    post_commithook_properties=hooks,
                )
            else:
                if table.schema() != delta_schema:
                    raise StorageError(
                        f"table {self._uri} has other columns than this version of trichord writes. Use another lake"
                    )
                table.create_write_transaction(
                    [*removes, *adds],
                    "append",
                    delta_schema,
                    commit_properties=properties,
                    post_commithook_properties=hooks,
                )
        except (DeltaError, OSError) as error:
            newest = self.version()
            if newest is not None and newest >= expected:
                raise CommitConflict(
                    f"table {self._uri} went to version {newest} while version {expected} was prepared by this run: "
                    "another writer was first. Nothing of this run is visible; run the same command again"
                ) from error
            raise self._storage_error(error) from error
        self._flush_log(expected)
        return expected

    def _flush_log(self, version: int) -> None:
        log = self._lake.uri(layout.log_folder(self.name))
        for stat in self._lake.storage.list(log):
            if stat.uri.rsplit("/", 1)[-1].startswith((f"{version:020d}", "_last_checkpoint")):
                self._lake.storage.flush(stat.uri)

    @contextmanager
    def _delta_failures(self) -> Iterator[None]:
        try:
            yield
        except (DeltaError, OSError) as error:
            raise self._storage_error(error) from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # deltalake's, where it finds no descriptor for its threads
                raise
            raise self._storage_error(error) from error

    def _storage_error(self, error: BaseException) -> StorageError:
        known = as_storage_error(error, f"table {self._uri}")
        if known is not None:
            return known
        return StorageError(f"table {self._uri}: {' '.join(str(error).splitlines()[:1])}. Run `trichord doctor`")


class Publications(LakeTable):
    """The table that readers follow: its last row is live. Kept as one small shard, replaced by each append."""

    def __init__(self, lake: Lake) -> None:
        super().__init__(lake, "publications")
        self._read: tuple[DeltaTable | None, list[Publication]] | None = None

    def rows(self, version: int | None = None) -> list[Publication]:
        """Return all publications of a table version (the newest by default), first to last."""
        table = self._load(version)
        rows = [
            Publication.from_row(row)
            for ref in (self._shards_of(table).values() if table is not None else ())
            for row in read_shard(self._lake, ref, verify=True).to_pylist()
        ]
        rows.sort(key=lambda row: row.sequence)
        if version is None:
            self._read = (table, rows)
        return rows

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
        published = [*before, publication]
        rows = [one.to_row() for one in published]
        with ShardWriter(self._lake, self.name, address(self.name, rows), PUBLICATIONS) as writer:
            writer.write(pa.Table.from_pylist(rows, schema=PUBLICATIONS))
            ref = writer.finish({})
        present = list(self._shards_of(table).values()) if table is not None else []
        version = self._commit(table, [ref], present, PUBLICATIONS, {"publication": publication.id})
        self._read = (self._load(version), published)
        return version
