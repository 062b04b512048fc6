"""Lake tables: Delta logs over our own shards. One commit makes a set of shards visible, or another set, never a mix.

A commit is accepted only if nobody else committed since the table was read (deltalake's own retries are off: they would
merge two reconciliations into a state that neither wanted). Old versions stay readable until `shorten` removes them.
Every commit is copied (`commit_log`): a table that lost its last one is not taken for the table of the day before.
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

from trichord.infra.digest import canonical_json
from trichord.infra.errors import CommitConflict, StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.checked_parquet import REMEDY
from trichord.infra.lake.commit_log import CommitLog
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.lease import require_held
from trichord.infra.lake.logged_table import gone
from trichord.infra.lake.object_stores import advice_on_credentials, describe
from trichord.infra.lake.shard import ShardRef, parse_shard_path, require_same_bytes
from trichord.infra.log import event
from trichord.infra.system_errors import as_storage_error

# Publications pin versions for as long as they are kept: no log entry and no file goes by age alone, only by `trichord
# maintain` and `gc`.
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
        self.log = CommitLog(lake, name)

    def version(self) -> int | None:
        """Return the newest version; None while the table was never committed to.

        Raises:
            StorageError: the log is damaged, or its last commit is lost.
        """
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
            CommitConflict: another writer committed in between, or this run lost its lease; reconcile again.
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
        if version is not None:
            return self._open_earlier(version)
        table = self._open(None)
        lost = self._lost(table)
        if lost is not None:
            table = self._open(None)  # another writer may have committed in between
            if _next(table) <= lost:
                raise StorageError(f"table {self._uri} has lost its commit {lost}: only a copy of it is left. {REMEDY}")
        return table

    def _lost(self, table: DeltaTable | None) -> int | None:
        """Return a version after the newest one of which there is a copy."""
        if table is None:
            return self.log.first_copy()
        return _next(table) if self.log.has_copy(_next(table)) else None

    def _open_earlier(self, version: int) -> DeltaTable | None:
        try:
            return self._open(version)
        except StorageError:
            base = self.log.base()
            if base is not None and version < base.version:
                raise StorageError(gone(self.name, version, base.version)) from None
            raise

    def _open(self, version: int | None) -> DeltaTable | None:
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
            actions = pa.RecordBatchReader.from_stream(table.get_add_actions(flatten=True)).read_all()
        refs: dict[str, ShardRef] = {}
        columns = (actions[name].to_pylist() for name in ("path", "size_bytes", "num_records"))
        for path, size, rows in zip(*columns, strict=True):
            name = parse_shard_path(path)
            if (
                name is None
                or rows is None
                or path != layout.shard_path(self.name, *name).removeprefix(f"{self.name}/")
            ):
                raise StorageError(f"table {self._uri} names {path}, which is not our shard. {REMEDY}")
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
        require_held(self._lake)
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
        expected = _next(table)
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
            raise self._storage_error(
                error, "Check the free space and permissions, or run `trichord doctor`"
            ) from error
        self._flush_log(expected)
        self._keep_copy(expected)
        return expected

    def _keep_copy(self, version: int) -> None:
        """Copy the commit. It is visible already, so a failure is only reported: a later run copies it too."""
        try:
            self.log.keep(version)
        except (StorageError, FileNotFoundError) as error:
            event("commit_not_copied", table=self.name, version=version, error=str(error).splitlines()[0])

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
            raise self._storage_error(error, REMEDY) from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # deltalake's, where it finds no descriptor for its threads
                raise
            raise self._storage_error(error, REMEDY) from error

    def _storage_error(self, error: BaseException, remedy: str) -> StorageError:
        known = as_storage_error(error, f"table {self._uri}")
        if known is not None:
            return known
        text = describe(error)
        if advice := advice_on_credentials(self._uri, text):
            remedy = f"{advice}, or run `trichord doctor`"
        return StorageError(f"table {self._uri}: {text}. {remedy}")


def _next(table: DeltaTable | None) -> int:
    """Return the version that the next commit will have."""
    return 0 if table is None else table.version() + 1
