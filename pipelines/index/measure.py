"""What a sample shows of the vectors, before a kind is chosen; taken again only when many of them changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from trichord.index_builders.choose import find_codes
from trichord.index_builders.manifest import IndexManifest
from trichord.index_builders.measure_sample import measure_sample, sample_rows
from trichord.index_builders.measured import Measured
from trichord.infra import log
from trichord.infra.engines.base import Engine
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.core.model_store import TrainedModel
from trichord.pipelines.core.workspace import Workspace, run_alone
from trichord.pipelines.index.vector_tables import VectorTables, spread

SPREAD = 4  # times the sample: rows of the vector shards that it is taken from
CHANGED = 0.1  # share of the rows that may come or go before a sample is looked at again


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSample:
    """Measures rows of few vector shards (address -> rows, as chosen by `spread`), picked by their digests."""

    tables: VectorTables
    model: TrainedModel
    sampled: Mapping[str, int]
    rows: int

    def __call__(self, codes: tuple[str, ...]) -> Measured | None:
        wanted = sample_rows(self.rows, self.model.dimension)
        sample = self.tables.sample(sorted(self.sampled), sum(self.sampled.values()), 2 * wanted, self.model)
        return measure_sample(sample[:wanted], self.rows, codes)


def measure_vectors(
    workspace: Workspace,
    engine: Engine,
    vectors: Mapping[str, ShardRef],
    model: TrainedModel,
    before: IndexManifest | None,
) -> Measured | None:
    """Return what a sample of the vectors shows, or what the live index was chosen by if few of them changed since.

    None where no kind is chosen by price: the project names one, or there are too few vectors.
    """
    config, rows = workspace.project.index, sum(ref.rows for ref in vectors.values())
    if config.kind != "auto" or rows < config.flat_max_rows:
        return None
    codes = tuple(find_codes(rows, model.dimension, config))
    if before is not None and (known := before.measured) is not None:
        held = {address for shard in before.shards for address in shard.inputs}
        changed = known.changed + sum(ref.rows for ref in vectors.values() if ref.address not in held)
        if max(changed, known.rows - rows) <= CHANGED * rows and known.recall.keys() >= set(codes):
            return replace(known, changed=changed)
    sampled = spread(vectors, SPREAD * sample_rows(rows, model.dimension))
    measure = MeasureSample(tables=VectorTables.of(workspace, vectors), model=model, sampled=sampled, rows=rows)
    measured: Measured | None = run_alone(engine, measure, codes)
    if measured is not None:
        log.event("sample_measured", **measured.to_json())
    return measured
