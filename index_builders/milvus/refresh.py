"""Change a collection row by row into what another manifest says: upserts and deletes, read back.

The cost is that of the change, not of the collection. But while it runs, readers of the publication before see new rows
come and old rows go: neither publication whole. So a new collection for every publication is the default.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import BinaryIO

from trichord.index_builders.manifest import IndexManifest, IndexShard
from trichord.index_builders.milvus.client import Milvus
from trichord.index_builders.milvus.rows import READ_BACK, Row, import_batches, parse_rows, reads_back
from trichord.index_builders.milvus.stage import Wrong

Opener = Callable[[IndexShard], AbstractContextManager[BinaryIO]]
BATCH = 1_000


@dataclass(slots=True)
class Change:
    """What distinguishes a manifest's rows from those that a collection may hold."""

    opener: Opener
    target: IndexManifest
    sources: Sequence[IndexManifest]
    before: list[dict[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        kept = {shard.index.sha256 for shard in self.target.shards}
        for source in self.sources:
            gone = [shard for shard in source.shards if shard.index.sha256 not in kept]
            self.before.append({row["id"]: _signature(row) for shard in gone for row in self._rows(shard)})

    def upserts(self) -> Iterator[Row]:
        """Yield rows that some source lacks or has otherwise."""
        for row in self._touched():
            signature = _signature(row)
            if any(before.get(row["id"]) != signature for before in self.before):
                yield row

    def deletes(self) -> list[str]:
        """Return ids that some source has and the target has not."""
        wanted = {row["id"] for row in self._touched()}
        return sorted({ident for before in self.before for ident in before} - wanted)

    def _touched(self) -> Iterator[Row]:
        held = [{shard.index.sha256 for shard in source.shards} for source in self.sources]
        for shard in self.target.shards:
            if not all(shard.index.sha256 in files for files in held):
                yield from self._rows(shard)

    def _rows(self, shard: IndexShard) -> Iterator[Row]:
        if shard.rows:
            with self.opener(shard) as file:
                for batch in import_batches(file, BATCH):
                    yield from parse_rows(batch)


def count_changed_rows(opener: Opener, source: IndexManifest, target: IndexManifest) -> int:
    """Return how many rows are added, altered or deleted between two manifests."""
    change = Change(opener, target, [source])
    return sum(1 for _ in change.upserts()) + len(change.deletes())


def refresh(milvus: Milvus, collection: str, change: Change) -> int:
    """Bring a collection from any mixture of the sources to the target; may be repeated. Returns rows changed.

    Raises:
        Wrong: a changed row does not read back, or a deleted one does.
    """
    rows: list[Row] = []
    changed = 0
    for row in change.upserts():
        rows.append(row)
        if len(rows) == BATCH:
            changed += _put(milvus, collection, rows)
            rows = []
    changed += _put(milvus, collection, rows)
    gone = change.deletes()
    milvus.delete(collection, gone)
    if left := milvus.fetch(collection, gone, []):
        raise Wrong(f"{len(left)} of {len(gone)} deleted rows of {collection} are still there.")
    return changed + len(gone)


def _put(milvus: Milvus, collection: str, rows: list[Row]) -> int:
    if rows:
        milvus.upsert(collection, rows)
        stored = milvus.fetch(collection, [row["id"] for row in rows], READ_BACK)
        for row in rows:
            if not reads_back(row, stored.get(row["id"])):
                raise Wrong(f"Key {row['key']!r} of {collection} does not read back as it was written.")
    return len(rows)


def _signature(row: Row) -> bytes:
    labels = "\x1f".join([row["source"], row["partition"], row["row_digest"], json.dumps(row["meta"])])
    return hashlib.blake2b(labels.encode("utf-8", "surrogatepass") + row["vector"].tobytes(), digest_size=16).digest()
