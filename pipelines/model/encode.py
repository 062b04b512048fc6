"""encode: records → features (once, cached) → vectors of the space, one shard of each for every records shard.

Actors load their model once and want a GPU. The next rows are decoded while the encoders process the current ones.
Blocks are planned from the shard alone, so its bytes depend on nothing else. Timings are reported, but not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from trichord.encoders.frozen import Encoders, load_encoders
from trichord.encoders.views import Features
from trichord.infra import digest, log
from trichord.infra.config import ModelConfig
from trichord.infra.engines.base import Engine
from trichord.infra.lake import layout, schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, ShardWriter
from trichord.pipelines.core.exclusions import NOTHING, Excluded, Exclusions
from trichord.pipelines.core.materialise import make_missing
from trichord.pipelines.core.model_store import TrainedModel, load_model
from trichord.pipelines.core.pace import Pace
from trichord.pipelines.core.timings import Stopwatch, Timed, Timings
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.model.feature_cache import (
    FEATURES_SCHEMA,
    features_address,
    features_table,
    featurised,
    lists_of,
    read_features,
)
from trichord.pipelines.model.prefetch import BLOCKS, Blocks
from trichord.pipelines.prepare.prepared import Prepared

if TYPE_CHECKING:
    from trichord.encoders.model import FusionModel

ENCODE_FORMAT = 4
LABELS = ("key", "source", "partition", "row_digest", "meta")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeItem:
    """A records shard to encode. `excluded` says which of its rows are left out."""

    address: str
    partition: str
    records: ShardRef
    features: ShardRef | None = None
    excluded: Excluded = NOTHING

    @property
    def rows(self) -> int:
        """Rows that go in."""
        return self.records.rows


@dataclass(frozen=True, slots=True)
class FeatureActor:
    """Turns records shards into features shards; the encoders are loaded when the actor starts."""

    lake: Lake
    encoders: Encoders
    blocks: Blocks = BLOCKS

    def __call__(self, item: EncodeItem) -> Timed:
        watch = Stopwatch()
        with ShardWriter(self.lake, layout.FEATURES, item.address, FEATURES_SCHEMA) as writer:
            encoders, written, pace = self.encoders.featurise, 0, Pace(item.rows)
            for rows, features in featurised(self.lake, item.records, encoders, watch=watch, blocks=self.blocks):
                with watch("write"):
                    writer.write(features_table(rows, features))
                written += rows.num_rows
                pace.add(rows.num_rows)
                if pace.due():
                    log.event("encoding", table=layout.FEATURES, partition=item.partition, **pace.report())
            with watch("write"):
                ref = writer.finish({"rows_in": item.records.rows, "rows_kept": written, "rows_rejected": 0})
        return Timed(ref, watch.spent())


@dataclass(frozen=True, slots=True)
class VectorActor:
    """Turns records shards (or their cached features) into vectors shards of one space."""

    lake: Lake
    model: FusionModel
    views: tuple[str, ...]
    dtype: schema.VectorDtype = "float32"
    blocks: Blocks = BLOCKS

    def __call__(self, item: EncodeItem) -> Timed:
        watch, mask = Stopwatch(), item.excluded.mask(self.lake)
        table_schema = schema.vectors_schema(self.model.dimension, self.dtype)
        covered = records = left_out = 0
        with ShardWriter(self.lake, "vectors", item.address, table_schema) as writer:
            for rows, features in self._features(item, watch):
                keep_N = mask.keeps(rows)
                with watch("forward"):
                    vectors_VND, present_VN = self._embed(features)
                seen_VN = present_VN & keep_N
                with watch("write"):
                    writer.write(self._table(rows, vectors_VND, seen_VN, table_schema))
                records += int(keep_N.sum())
                left_out += int((~keep_N).sum())
                covered += int(seen_VN.any(axis=0).sum())
            with watch("write"):
                without = records - covered
                counts = {"rows_in": item.records.rows, "rows_kept": covered, "rows_rejected": left_out + without}
                ref = writer.finish(counts | {"dropped": left_out, "without_view": without})
        return Timed(ref, watch.spent())

    def _features(self, item: EncodeItem, watch: Stopwatch) -> Iterator[tuple[pa.Table, Features]]:
        if item.features is None:
            encoders = self.model.featurise
            yield from featurised(self.lake, item.records, encoders, watch=watch, blocks=self.blocks)
            return
        parts = read_features(self.lake, item.features, self.model.input_dimensions)
        while True:
            with watch("read"):
                part = next(parts, None)
            if part is None:
                return
            yield part

    def _embed(self, features: Features) -> tuple[np.ndarray, np.ndarray]:
        """Embed all views: vectors (V, N, D), and which records have them, bool (V, N)."""
        found = [self.model.embed(features, view) for view in self.views]
        return np.stack([vectors for vectors, _ in found]), np.stack([present for _, present in found])

    def _table(self, rows: pa.Table, vectors_VND: np.ndarray, seen_VN: np.ndarray, table_schema: pa.Schema) -> pa.Table:
        """Write one row for each view, record by record: an order that does not depend on the blocks."""
        record_R, view_R = np.nonzero(seen_VN.T)
        columns = {name: rows[name].take(pa.array(record_R)) for name in LABELS}
        columns["view"] = pa.array(self.views, pa.string()).take(pa.array(view_R))
        columns["fingerprint"] = pa.array([self.model.fingerprint] * len(record_R), pa.string())
        columns["vector"] = lists_of(vectors_VND[view_R, record_R].astype(self.dtype, copy=False))
        return pa.table({name: columns[name] for name in table_schema.names})


def vectors_address(
    records: str, excluded: Excluded, fingerprint: str, views: Sequence[str], dtype: schema.VectorDtype
) -> str:
    """Return the address of the vectors that a model makes of a records shard without the excluded rows."""
    return digest.address("vectors", ENCODE_FORMAT, records, excluded.digest, fingerprint, list(views), dtype)


def featurise(
    workspace: Workspace,
    engine: Engine,
    prepared: Sequence[Prepared],
    variants: Sequence[ShardRef] = (),
    *,
    timings: Timings | None = None,
) -> dict[str, ShardRef]:
    """Make features shards of all records shards, by partition, and of training variants, by `augmented/<address>`.

    Cached shards are reused. The seconds spent are added to `timings`.
    """
    config = workspace.project.model
    fingerprint = load_encoders(config).fingerprint
    items = [
        EncodeItem(address=features_address(fingerprint, item.address), partition=item.partition, records=item.records)
        for item in prepared
    ]
    items += [
        EncodeItem(
            address=features_address(fingerprint, ref.address), partition=f"augmented/{ref.address}", records=ref
        )
        for ref in variants
    ]
    factory = ActorFactory(lake=workspace.lake, config=config)
    return _make_shards(workspace, engine, layout.FEATURES, items, factory, timings)


def encode(
    workspace: Workspace,
    engine: Engine,
    prepared: Sequence[Prepared],
    exclusions: Exclusions,
    features: Mapping[str, ShardRef],
    model: TrainedModel,
    *,
    timings: Timings | None = None,
) -> dict[str, ShardRef]:
    """Make vectors shards of all records shards, by partition, from cached features where `features` has them."""
    index = workspace.project.index
    views, dtype = tuple(index.views), index.vector_dtype
    items = []
    for item in prepared:
        excluded = exclusions.of(item.partition)
        address = vectors_address(item.address, excluded, model.fingerprint, views, dtype)
        items.append(
            EncodeItem(
                address=address,
                partition=item.partition,
                records=item.records,
                features=features.get(item.partition),
                excluded=excluded,
            )
        )
    factory = ActorFactory(
        lake=workspace.lake,
        config=workspace.project.model,
        model=model,
        views=views,
        dtype=dtype,
    )
    return _make_shards(workspace, engine, "vectors", items, factory, timings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorFactory:
    """Makes an actor inside its worker, so that the model is loaded there, once."""

    lake: Lake
    config: ModelConfig
    model: TrainedModel | None = None
    views: tuple[str, ...] = ()
    dtype: schema.VectorDtype = "float32"

    def __call__(self) -> Callable[[EncodeItem], Timed]:
        if self.model is None:
            return FeatureActor(self.lake, load_encoders(self.config))
        loaded = load_model(self.lake, self.model.path, self.model.fingerprint, self.config)
        return VectorActor(self.lake, loaded, self.views, self.dtype)


def _make_shards(
    workspace: Workspace,
    engine: Engine,
    table: str,
    items: Sequence[EncodeItem],
    factory: ActorFactory,
    timings: Timings | None,
) -> dict[str, ShardRef]:
    otherwise = "shards could not be encoded"
    made = make_missing(workspace, engine, table, items, factory, otherwise, timings=timings, accelerator=True)
    return {item.partition: made[item.address] for item in items}
