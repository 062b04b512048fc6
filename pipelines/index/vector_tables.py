"""The vectors shards of a publication, as tasks read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from trichord.index_builders.vectors import stratified_sample
from trichord.infra import digest
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, read_shard
from trichord.pipelines.core.model_store import TrainedModel
from trichord.pipelines.core.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorTables:
    """Reads vectors shards by address, one table at a time; workers receive paths only."""

    lake: Lake
    paths: Mapping[str, str]

    @classmethod
    def of(cls, workspace: Workspace, vectors: Mapping[str, ShardRef]) -> VectorTables:
        """Return a reader of these shards."""
        paths = {ref.address: ref.path for ref in vectors.values()}
        return cls(lake=workspace.lake, paths=paths)

    def sample(self, addresses: Sequence[str], rows: int, wanted: int, model: TrainedModel) -> np.ndarray:
        """Sample about `wanted` of the `rows` of these vectors shards, by source and view. float32 (N, D)."""
        return stratified_sample(
            self(addresses), rows=rows, wanted=wanted, dimension=model.dimension, fingerprint=model.fingerprint
        )

    def __call__(self, addresses: Sequence[str], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        for address in addresses:
            yield read_shard(self.lake, self.paths[address], columns)


def spread(vectors: Mapping[str, ShardRef], wanted: int) -> dict[str, int]:
    """Return the vectors shards to sample from, address -> rows: about `wanted` rows in all, in whole shards.

    The one worker that trains then need not read a billion rows. Each source contributes its share. Most partitions
    hold rows by the hash of their keys, so any few of them represent all; parts of data files may differ, so shards are
    taken in the order of the hash of their names, which changes little between runs.
    """
    rows, by_source = sum(ref.rows for ref in vectors.values()), dict[str, list[str]]()
    for partition in sorted(vectors, key=lambda partition: digest.hash64(f"spread\x1f{partition}")):
        by_source.setdefault(partition.partition("/")[0], []).append(partition)
    taken: dict[str, int] = {}
    for partitions in by_source.values():
        left = wanted * sum(vectors[partition].rows for partition in partitions) / max(1, rows)
        for partition in partitions:
            if left > 0:
                taken[vectors[partition].address] = vectors[partition].rows
                left -= vectors[partition].rows
    return taken
