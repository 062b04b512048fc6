"""A connection to Milvus: the calls we make, with one meaning on a server and on Milvus Lite.

Milvus Lite serves one process at a time (it locks its folder), so a connection to it is held only as long as needed,
and a second process waits. The server of a file is shared by the threads of a process.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from trichord.index_builders.milvus.rows import FoundRow, Row, StoredRow
from trichord.infra.config import MilvusConfig, Project
from trichord.infra.errors import ConfigError, ServiceError

FIELDS = {"id": 64, "key": 1_024, "view": 16, "source": 256, "partition": 1_024, "row_digest": 64}  # bytes at most
VECTOR = "vector"
LOCK_WAIT_S = 30.0
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs a traceback for every error that it raises too
for noisy in ("milvus_lite", "grpc._server"):  # as does Milvus Lite for every call that it lacks
    logging.getLogger(noisy).setLevel(logging.CRITICAL)
HERE = ("127.0.0.1", "localhost", "::1")
Consistency = Literal["Strong", "Bounded"]
FAILED = ("Failed", "Failed and cleaned")


@dataclass(frozen=True, slots=True, kw_only=True)
class MilvusPlace:
    """Where a project's collections are: the settings, and the file of Milvus Lite as an absolute path. Pickles."""

    config: MilvusConfig
    uri: str

    @classmethod
    def of(cls, project: Project) -> MilvusPlace:
        """Return the place that a project names.

        Raises:
            ConfigError: the file of Milvus Lite would be in a bucket, or http:// to another machine is not permitted.
        """
        config, uri = project.milvus, project.milvus.uri
        if config.lite:
            uri = os.path.join(project.lake, uri)
            if not os.path.isabs(uri):
                raise ConfigError(f"Milvus Lite needs a local file, and milvus.uri is {uri}.\nName an absolute path.")
        elif uri.startswith("http://") and urlsplit(uri).hostname not in HERE and not config.allow_http:
            raise ConfigError(f"milvus.uri is {uri}: the token and all vectors would travel unprotected.\n"
                              "Use https://, or permit it: milvus.allow_http: true.")  # fmt: skip
        return cls(config=config, uri=uri)

    @property
    def alias(self) -> str:
        """The name that readers follow."""
        return f"{self.config.prefix}_live"

    def token(self) -> str:
        """Return the token, from the environment. Raise ConfigError where the variable is not set."""
        name = self.config.token_env
        if name is None:
            return ""
        if not os.environ.get(name):
            raise ConfigError(f"milvus.token_env names {name}, which is not set.\nNext: export {name}=user:password")
        return os.environ[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """An import of one file, as the server reports it."""

    job: int
    file: str
    state: str
    rows: int
    progress: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What the server knows of a collection: its own name, also where an alias was asked for."""

    name: str
    dimension: int


class Milvus:
    """One connection. Every failure is a ServiceError that names the call."""

    def __init__(self, client: MilvusClient, place: MilvusPlace) -> None:
        self.place = place
        self._client = client
        self._timeout_s = place.config.timeout_s

    def version(self) -> str:
        """Return the server's version, for example `v2.3.5`."""
        return str(self._call("get_server_version", lambda: self._client.get_server_version(timeout=self._timeout_s)))

    def collections(self) -> list[str]:
        """Return names of the collections of this project's prefix, sorted."""
        names = self._call("list_collections", lambda: self._client.list_collections(timeout=self._timeout_s))
        return sorted(name for name in names if name.startswith(f"{self.place.config.prefix}_"))

    def describe(self, name: str) -> Collection | None:
        """Return what the server knows of a collection, or of the one that an alias names; None where there is none."""
        if not self._call("has_collection", lambda: self._client.has_collection(name, timeout=self._timeout_s)):
            return None
        described = self._call(
            "describe_collection", lambda: self._client.describe_collection(name, timeout=self._timeout_s)
        )
        [vector] = [field for field in described["fields"] if field["name"] == VECTOR]
        return Collection(name=str(described["collection_name"]), dimension=int(vector["params"]["dim"]))

    def create(self, name: str, dimension: int, description: str, partitions: int = 0) -> None:
        """Create an empty collection of our schema, with this many partitions by source."""
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=description)
        for field, size in FIELDS.items():
            keyed = {"is_partition_key": True} if partitions and field == "source" else {}
            schema.add_field(field, DataType.VARCHAR, is_primary=field == "id", max_length=size, **keyed)
        schema.add_field("meta", DataType.JSON)
        schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=dimension)
        self._call("create_collection", lambda: self._client.create_collection(
            name, schema=schema, num_shards=1, consistency_level="Strong", timeout=self._timeout_s,
            **({"num_partitions": partitions} if partitions else {})))  # fmt: skip

    def drop(self, name: str) -> None:
        """Drop a collection; nothing happens where there is none."""
        self._call("drop_collection", lambda: self._client.drop_collection(name, timeout=self._timeout_s))

    def index(self, name: str, index_type: str, params: Mapping[str, Any]) -> None:
        """Have a collection's index built (inner product); `load` waits for it. Nothing happens where it has one."""
        if self._call("list_indexes", lambda: self._client.list_indexes(name)):
            return
        wanted = MilvusClient.prepare_index_params()
        wanted.add_index(VECTOR, index_type=index_type, metric_type="IP", params=dict(params))
        limit = self.place.config.import_timeout_s
        self._call("create_index", lambda: self._client.create_index(name, wanted, timeout=limit, sync=False))

    def load(self, name: str) -> None:
        """Make a collection searchable, and wait until it is."""
        limit = self.place.config.import_timeout_s
        self._call("load_collection", lambda: self._client.load_collection(name, timeout=limit))

    def flush(self, name: str) -> None:
        """Seal what was inserted."""
        self._call("flush", lambda: self._client.flush(name, timeout=self.place.config.import_timeout_s))

    def count(self, name: str, where: str = "", consistency: Consistency = "Strong") -> int:
        """Count the rows of a loaded collection that meet a condition."""
        query = {"filter": where, "output_fields": ["count(*)"], "consistency_level": consistency}
        found = self._call("count", lambda: self._client.query(name, **query, timeout=self._timeout_s))
        return int(found[0]["count(*)"])

    def fetch(
        self, name: str, ids: Sequence[str], fields: Sequence[str], consistency: Consistency = "Strong"
    ) -> dict[str, StoredRow]:
        """Fetch rows by their id."""
        rows: list[StoredRow] = []
        for start in range(0, len(ids), 1_000):
            part = list(ids[start : start + 1_000])
            query = {"output_fields": ["id", *fields], "consistency_level": consistency, "timeout": self._timeout_s}
            rows += self._call("get", partial(self._client.get, name, ids=part, **query))
        return {row["id"]: row for row in rows}

    def search(
        self, name: str, queries_ND: np.ndarray, k: int, *, where: str, params: Mapping[str, Any], fields: Sequence[str]
    ) -> list[list[FoundRow]]:
        """Return the k nearest rows of every query by inner product: `distance` and `entity` of each."""
        found: list[list[FoundRow]] = self._call("search", lambda: self._client.search(
            name, data=list(queries_ND), filter=where, limit=k, output_fields=list(fields), anns_field=VECTOR,
            search_params={"metric_type": "IP", "params": dict(params)}, consistency_level="Bounded",
            timeout=self._timeout_s))  # fmt: skip
        return found

    def insert(self, name: str, rows: Sequence[Row]) -> None:
        """Append rows. Never tried twice: rows that arrived although the answer was lost would be there twice."""
        done = self._call(
            "insert", lambda: self._client.insert(name, list(rows), retry_times=0, retry_on_rate_limit=False)
        )
        if done["insert_count"] != len(rows):
            raise ServiceError(
                f"Milvus took {done['insert_count']} of {len(rows)} rows.\nRun `trichord reindex` again."
            )

    def upsert(self, name: str, rows: Sequence[Row]) -> None:
        """Insert rows or replace those of the same id; may be repeated."""
        self._call("upsert", lambda: self._client.upsert(name, list(rows), timeout=self._timeout_s))

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Remove rows by id; may be repeated."""
        for start in range(0, len(ids), 1_000):
            part = list(ids[start : start + 1_000])
            self._call("delete", partial(self._client.delete, name, ids=part, timeout=self._timeout_s))

    def import_file(self, name: str, path: str) -> int:
        """Ask for the import of one file and return the job's id. Never tried twice, as `insert`."""
        return int(self._call("do_bulk_insert", lambda: self._grpc().do_bulk_insert(name, "", [path], retry_times=0)))

    def import_of(self, job: int) -> Import:
        """Return the status of an import."""
        return _import(self._call("get_bulk_insert_state", lambda: self._grpc().get_bulk_insert_state(
            job, timeout=self._timeout_s)))  # fmt: skip

    def imports(self, name: str) -> list[Import]:
        """Return all imports into a collection that the server remembers."""
        states = self._call("list_bulk_insert_tasks", lambda: self._grpc().list_bulk_insert_tasks(
            0, name, timeout=self._timeout_s))  # fmt: skip
        return [_import(state) for state in states]

    def alias_target(self) -> str | None:
        """Return the collection that readers are sent to."""
        described = self.describe(self.place.alias)
        return None if described is None else described.name

    def set_alias(self, name: str) -> None:
        """Send readers to a collection; nothing happens where they are sent there already."""
        alias, target = self.place.alias, self.alias_target()
        if target is None:
            self._call("create_alias", lambda: self._client.create_alias(name, alias, timeout=self._timeout_s))
        elif target != name:
            self._call("alter_alias", lambda: self._client.alter_alias(name, alias, timeout=self._timeout_s))

    def drop_alias(self) -> None:
        """Take the alias away."""
        self._call("drop_alias", lambda: self._client.drop_alias(self.place.alias, timeout=self._timeout_s))

    def _grpc(self) -> Any:
        return self._client._get_connection()  # the client has no call for a server's file import

    def _call(self, name: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except MilvusException as error:
            reason = " ".join(str(error.message).split())[:400]
            raise ServiceError(
                f"Milvus at {self.place.uri} failed in {name}: {reason}\nRun `trichord doctor --project FILE`."
            ) from error


@contextmanager
def connected(place: MilvusPlace) -> Iterator[Milvus]:
    """Connect to a server, or open a file of Milvus Lite.

    Raises:
        ConfigError: the token is not set, or the extra `milvus` is not installed.
        ServiceError: the server does not answer or refuses the token, or another process holds the file.
    """
    connection = Connection(place)
    try:
        yield connection.milvus
    finally:
        connection.close()


class Connection:
    """A connection that is held until it is closed (or forgotten); `connected` is the way to hold one briefly."""

    def __init__(self, place: MilvusPlace) -> None:
        config = place.config
        self._path = place.uri if config.lite else None
        uri = _LITE.open(place.uri) if config.lite else place.uri
        tls: dict[str, str | bool] = {"secure": uri.startswith("https://")}
        if config.ca_file is not None:
            tls |= {"ca_pem_path": config.ca_file} if config.cert_file else {"server_pem_path": config.ca_file}
        if config.cert_file is not None:
            tls |= {"client_pem_path": config.cert_file, "client_key_path": config.key_file or ""}
        database = "" if config.lite or config.database == "default" else config.database
        try:
            self._client = MilvusClient(uri, token=place.token(), db_name=database, timeout=config.timeout_s, **tls)
        except (MilvusException, OSError) as error:
            if self._path is not None:
                _LITE.close(self._path)
            raise ServiceError(
                f"Milvus at {place.uri} cannot be reached: {' '.join(str(error).split())[:300]}\n"
                "Check milvus.uri, milvus.token_env and that the server runs: `trichord doctor --project FILE`."
            ) from error
        self.milvus = Milvus(self._client, place)

    def close(self) -> None:
        """Give the connection back; nothing happens the second time."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
            if self._path is not None:
                _LITE.close(self._path)


class _LiteServers:
    """The Milvus Lite servers of this process by file, each with its users."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, tuple[Any, Any, str]] = {}
        self._users: dict[str, int] = {}

    def open(self, path: str) -> str:
        with self._lock:
            if path not in self._running:
                self._running[path] = _start_lite(path)
            self._users[path] = self._users.get(path, 0) + 1
            return self._running[path][2]

    def close(self, path: str) -> None:
        with self._lock:
            self._users[path] -= 1
            if not self._users[path]:
                server, database, _ = self._running.pop(path)
                server.stop(grace=1).wait()
                database.close()


_LITE = _LiteServers()


def _start_lite(path: str) -> tuple[Any, Any, str]:
    try:
        from milvus_lite import DataDirLockedError
        from milvus_lite.adapter.grpc.server import start_server_in_thread
    except ImportError as missing:
        raise ConfigError("Milvus Lite is not installed.\nNext: pip install 'trichord[milvus]'") from missing
    os.makedirs(os.path.dirname(path), exist_ok=True)
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            server, database, port = start_server_in_thread(data_dir=path, host="127.0.0.1", port=0)
            return server, database, f"http://127.0.0.1:{port}"
        except DataDirLockedError as locked:
            if time.monotonic() > until:
                raise ServiceError(
                    f"Another process has held {path} for {LOCK_WAIT_S:g} s: Milvus Lite serves one at a time.\n"
                    "Wait for it, or use a Milvus server: milvus.uri."
                ) from locked
            time.sleep(0.1)


def _import(state: Any) -> Import:
    return Import(
        job=state.task_id,
        file=str(state.infos.get("files", "")),
        state=state.state_name,
        rows=state.row_count,
        progress=state.progress,
        reason=state.failed_reason,
    )


def quoted(value: str) -> str:
    """Return a string as a condition writes it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
