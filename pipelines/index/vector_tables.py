"""The vectors shards of a publication, as tasks read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from trichord.index_builders.vectors import stratified_sample
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
