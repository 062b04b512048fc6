"""Fill a collection with exactly the rows of its manifest, verify it, and prove it by canary queries.

A collection is never searched before it was verified, so whatever goes wrong while it is filled costs nobody an answer:
it is dropped and filled again. What is kept over a crash is the work of the server's finished imports.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from trichord.index_builders.base import Scalar
from trichord.index_builders.hashed_files import open_verified
from trichord.index_builders.manifest import IndexManifest, IndexShard, read_manifest
from trichord.index_builders.milvus.builder import (
    collection_of,
    content_digest,
    exact_scores,
    lists,
)
from trichord.index_builders.milvus.client import FAILED, Consistency, Milvus, quoted
from trichord.index_builders.milvus.refresh import Change, refresh
from trichord.index_builders.milvus.rest import RestImports, finish, honours_keys, stuck
from trichord.index_builders.milvus.rows import READ_BACK, import_batches, parse_rows, reads_back
from trichord.index_builders.milvus.stage import Staged, Wrong
from trichord.index_builders.milvus.state import Held, LoadState, read_state, write_state
from trichord.infra import digest, log
from trichord.infra.errors import StorageError
from trichord.infra.lake.lake import Lake

ATTEMPTS = 2
ASKED = "asked"  # noted for an import before it is asked for
ALL = "all"  # the one job of the REST way
UNDER_WAY = 4  # imports asked for at once; the oldest is waited for, as 2.3.5 runs them in order
POLL_S = 0.1
MOST_POLL_S = 2.0  # as often as 2.3.5 looks itself; cutting the connection during a poll ends that server
CANARY_FILES, CANARY_ROWS = 8, 4
SETTLE_S = 20.0
ALIAS_S = 90.0  # under 64 clients on two cores a switch took 11 s in the median, and once more than 20


def index_params(index_type: str, given: dict[str, Scalar]) -> dict[str, Scalar]:
    """Build parameters of an index type: those given, else customary ones."""
    if index_type.startswith("HNSW"):
        return {"M": 16, "efConstruction": 200} | given
    return ({"nlist": 1024} | given) if lists(index_type) else given


class Loader:
    """Fills the collection of one manifest."""

    def __init__(self, lake: Lake, milvus: Milvus, manifest: IndexManifest) -> None:
        self._lake = lake
        self._milvus, self._manifest = milvus, manifest
        self._name, self._content = collection_of(manifest), content_digest(manifest)
        self._config = milvus.place.config
        self._target = Held(content=self._content, manifest=manifest.path)
        self._state = read_state(lake, self._name)

    def ensure(self) -> bool:
        """Make the collection hold exactly the manifest's rows, loaded and verified; return True if anything was to do.

        Raises:
            PartialRun: an import is stuck, or an import file is damaged (it was removed); a rerun resumes.
            ServiceError: the server fails, or holds something else than it was given, twice.
        """
        if self._stands():
            if self._state.held != self._target:  # the same rows by another manifest: its search was tuned
                self._note(replace(self._state, held=self._target))
            return False
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if not self._refreshed():
                    self._fill()
                self.verify(self._name)
                break
            except Wrong as wrong:
                log.event("collection_dropped", collection=self._name, reason=str(wrong).splitlines()[0])
                self._discard()
                if attempt == ATTEMPTS:
                    raise
        self._note(replace(self._state, held=self._target, toward=None))
        log.event("collection_loaded", collection=self._name, rows=self._manifest.rows, mode=self.mode)
        return True

    @property
    def mode(self) -> str:
        """The method of filling this server: files, rest or insert."""
        config = self._config
        if config.lite:
            return "insert"
        if config.bulk != "auto":
            return config.bulk
        if config.bulk_folder is None:
            return "insert"
        major, minor = (int(part) for part in self._milvus.version().lstrip("v").split(".")[:2])
        return "files" if (major, minor) < (2, 4) else "rest"

    def verify(self, name: str) -> None:
        """Compare what a collection (or an alias) holds with the manifest, and ask for rows that must be found.

        Raises:
            Wrong: rows are missing, are there twice, or are not what was given.
        """
        self._milvus.load(name)
        self._settle(name, "Strong")
        self._settle(name, "Bounded")  # as readers ask; what follows then need not wait for the server's clock
        for label, rows in self._manifest.counts.items():
            field, _, value = label.partition(":")
            self._compare(name, label, f"{field} == {quoted(value)}", rows, "Bounded")
        self._ask_canaries(name)

    def verify_alias(self) -> None:
        """Ask through the alias, which a server may know late: rows, and canary queries.

        Raises:
            Wrong: the alias does not name the manifest's collection.
        """
        alias, until = self._milvus.place.alias, time.monotonic() + ALIAS_S
        self._milvus.load(self._name)
        while True:
            try:
                self._compare(alias, "rows", "", self._manifest.rows)
                return self._ask_canaries(alias)
            except Wrong as wrong:
                if time.monotonic() > until:
                    raise Wrong(
                        f"The publication is live, but the alias {alias} answers otherwise after {ALIAS_S:g} s: {wrong}"
                    ) from wrong
            time.sleep(POLL_S)

    def _stands(self) -> bool:
        if not self._state.holds(self._content) or self._milvus.describe(self._name) is None:
            return False
        try:
            self._milvus.load(self._name)
            self._settle(self._name, "Strong")
        except Wrong as wrong:
            log.event("collection_wrong", collection=self._name, reason=str(wrong).splitlines()[0])
            self._note(replace(self._state, held=None, toward=None, jobs=()))
            return False
        return True

    def _refreshed(self) -> bool:
        """Change a collection that holds other, known rows into ours; return True if that was done."""
        noted = [held for held in (self._state.held, self._state.toward) if held is not None]
        if not noted or all(held.content == self._content for held in noted):
            return False
        if self._milvus.describe(self._name) is None:
            return False
        try:
            sources = [read_manifest(self._lake, held.manifest) for held in noted]
        except StorageError as lost:
            log.event("refresh_impossible", collection=self._name, reason=str(lost).splitlines()[0])
            return False
        self._milvus.load(self._name)
        change = Change(self._opened, self._manifest, sources)
        self._note(replace(self._state, toward=self._target))
        log.event("refreshed", collection=self._name, rows=refresh(self._milvus, self._name, change))
        return True

    def _fill(self) -> None:
        mode = self.mode
        resumes = mode != "insert" and bool(self._state.jobs) and self._state.held is None
        if not (resumes and self._milvus.describe(self._name)):
            self._begin()
        self._milvus.index(self._name, self._manifest.params["index_type"], self._manifest.params["index_params"])
        if mode == "files":
            self._import_files()
        elif mode == "rest":
            self._import_rest()
        else:
            self._insert()

    def _begin(self) -> None:
        """Create an empty collection; the attempt is noted first, so that what this lake began is never forgotten."""
        self._note(LoadState(collection=self._name, attempt=self._state.attempt + 1))
        self._milvus.drop(self._name)
        description = {"fingerprint": self._manifest.fingerprint, "content": self._content}
        self._milvus.create(self._name, self._manifest.dimension, digest.canonical_json(description).decode(),
            self._manifest.params.get("partitions", 0),
        )  # fmt: skip

    def _discard(self) -> None:
        self._milvus.drop(self._name)
        if self.mode != "insert":
            Staged.of(self._lake.storage, self._config, self._name, self._state.attempt).clear()
        self._note(LoadState(collection=self._name, attempt=self._state.attempt))

    def _insert(self) -> None:
        for shard in self._shards():
            with self._opened(shard) as file:
                for batch in import_batches(file, self._config.insert_rows):
                    self._milvus.insert(self._name, parse_rows(batch))
            log.event("rows_inserted", collection=self._name, rows=shard.rows)
        self._milvus.flush(self._name)

    def _import_files(self) -> None:
        staged = Staged.of(self._lake.storage, self._config, self._name, self._state.attempt)
        known = {one.file: one for one in self._milvus.imports(self._name)} if self._state.jobs else {}
        todo, waiting = list(self._shards()), list[IndexShard]()
        while todo or waiting:
            while todo and len(waiting) < UNDER_WAY:
                shard = todo.pop(0)
                sha256, noted = shard.index.sha256, self._state.job(shard.index.sha256)
                if noted is not None and noted[1]:
                    continue
                if noted is None or noted[0] == ASKED:
                    path = staged.put(partial(self._opened, shard), sha256)
                    self._note(self._state.with_job(sha256, ASKED, done=False))
                    # An answer may have been lost, or this process killed before noting it: the file names its import.
                    job = known[path].job if path in known else self._milvus.import_file(self._name, path)
                    self._note(self._state.with_job(sha256, str(job), done=False))
                waiting.append(shard)
            if waiting:
                shard = waiting.pop(0)
                self._await(staged, shard)
                log.event("file_imported", collection=self._name, rows=shard.rows, left=len(todo) + len(waiting))

    def _await(self, staged: Staged, shard: IndexShard) -> None:
        """Wait until the import of a file is complete, and was of the bytes it was given."""
        sha256 = shard.index.sha256
        noted = self._state.job(sha256)
        assert noted is not None
        job, _ = noted
        seen: tuple[str, int, int] | None = None
        since = began = time.monotonic()
        while (one := self._milvus.import_of(int(job))).state != "Completed":
            if one.state in FAILED:
                raise Wrong(f"Milvus could not import {shard.index.path}: {one.reason[:300]}")
            now = (one.state, one.rows, one.progress)
            if now != seen:
                seen, since = now, time.monotonic()
                log.event("importing", collection=self._name, progress=one.progress)
            if time.monotonic() - since > self._config.import_timeout_s:
                raise stuck(self._name, self._config.import_timeout_s)
            time.sleep(min(max(POLL_S, (time.monotonic() - began) / 50), MOST_POLL_S))
        if one.rows != shard.rows:
            raise Wrong(f"Milvus imported {one.rows} of {shard.rows} rows.")
        staged.verify(sha256)
        self._note(self._state.with_job(sha256, job, done=True))
        staged.remove(sha256)

    def _import_rest(self) -> None:
        rest = RestImports(self._milvus.place)
        noted = self._state.job(ALL)
        if noted is not None and noted[0] == ASKED and not honours_keys(self._milvus.version()):
            raise Wrong("The answer to an import request was lost, and this server would begin a second import.")
        staged = Staged.of(self._lake.storage, self._config, self._name, self._state.attempt)
        shards = self._shards()
        if noted is None or noted[0] == ASKED:
            paths = [staged.put(partial(self._opened, shard), shard.index.sha256) for shard in shards]
            self._note(self._state.with_job(ALL, ASKED, done=False))
            job = rest.create(self._name, paths, digest.address("import", self._name, self._state.attempt))
            self._note(self._state.with_job(ALL, job, done=False))
        else:
            job = noted[0]

        def check() -> None:
            for shard in shards:
                staged.verify(shard.index.sha256)

        finish(rest, job, self._manifest.rows, check, self._config.import_timeout_s)
        staged.clear()
        self._note(self._state.with_job(ALL, job, done=True))

    @contextmanager
    def _opened(self, shard: IndexShard) -> Iterator[BinaryIO]:
        """Open an import file whose bytes are verified; a damaged one is removed, and the next run makes it again."""
        with ExitStack() as stack:
            try:
                file = stack.enter_context(open_verified(self._lake, shard.index))
            except StorageError:
                self._lake.delete(shard.index.path)
                raise
            yield file

    def _compare(self, name: str, label: str, where: str, wanted: int, consistency: Consistency = "Strong") -> None:
        found = self._milvus.count(name, where, consistency)
        if found != wanted:
            raise Wrong(f"The collection {name} holds {found} of {wanted} ({label}).\nRun `trichord reindex` again.")

    def _settle(self, name: str, consistency: Consistency) -> None:
        """Wait until exactly all rows are seen: a server may show them a moment after it called an import complete.

        Too many are waited for only where deleted rows may still be seen.
        """
        until, rows = time.monotonic() + SETTLE_S, self._manifest.rows
        while (found := self._milvus.count(name, consistency=consistency)) != rows:
            if time.monotonic() > until or (found > rows and consistency == "Strong"):
                raise Wrong(
                    f"The collection {name} holds {found} of {rows} rows, read with consistency {consistency}.\n"
                    "Run `trichord reindex` again."
                )
            time.sleep(POLL_S)

    def _ask_canaries(self, name: str) -> None:
        coarse = not exact_scores(self._manifest.params["index_type"])
        for batch in self._canaries():
            rows = parse_rows(batch)
            kept = self._milvus.fetch(name, [row["id"] for row in rows], READ_BACK, "Bounded")
            queries = np.stack([row["vector"] for row in rows])
            found = self._milvus.search(name, queries, 10, where="", params={}, fields=["key"])
            for row, hits in zip(rows, found, strict=True):
                if not reads_back(row, kept.get(row["id"])):
                    raise Wrong(f"Key {row['key']!r} of {name} is not what was loaded.")
                best = max((hit["distance"] for hit in hits), default=-1.0)
                if best < 1 - (0.05 if coarse else 1e-3):  # a row finds itself, or one as near
                    raise Wrong(f"Key {row['key']!r} of {name} is not found by its own vector (best {best:.4f}).")

    def _canaries(self) -> Iterator[pa.RecordBatch]:
        shards = [shard for shard in self._shards() if shard.rows]
        for shard in shards[:: max(1, len(shards) // CANARY_FILES)]:
            with self._opened(shard) as file, suppress(StopIteration):
                yield next(import_batches(file, CANARY_ROWS))

    def _shards(self) -> list[IndexShard]:
        return [shard for shard in self._manifest.shards if shard.rows]

    def _note(self, state: LoadState) -> None:
        self._state = write_state(self._lake, state)
