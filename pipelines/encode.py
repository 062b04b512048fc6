"""encode: records → features (once, cached) → vectors of the space, one shard of each a records shard.

Actors load their model once; the next rows are decoded while the present ones run through the encoders; batches are
planned from the shard alone (DESIGN section 6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from encoders.frozen import Encoders, load_encoders
from encoders.views import Features
from infra import digest
from infra.config import ModelConfig
from infra.engines.base import Engine
from infra.lake import schema
from infra.lake.shard import ShardRef, ShardWriter
from infra.lake.storage import Storage
from pipelines.features import (
    FEATURES,
    FEATURES_SCHEMA,
    features_address,
    features_table,
    featurised,
    lists_of,
    read_features,
)
from pipelines.missing import make_missing
from pipelines.prepare import Prepared
from pipelines.train import TrainedModel, load_model
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from encoders.model import FusionModel

ENCODE_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeItem:
    """A records shard to encode. `dropped` holds the row digests that duplicates take out."""

    address: str
    split: str
    records: ShardRef
    features: ShardRef | None = None
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FeatureActor:
    """Turns records shards into features shards; the encoders are loaded when the actor starts."""

    storage: Storage
    lake: str
    encoders: Encoders

    def __call__(self, item: EncodeItem) -> ShardRef:
        with ShardWriter(self.storage, self.lake, FEATURES, item.address, FEATURES_SCHEMA) as writer:
            for rows, features in featurised(self.storage, self.lake, item.records, self.encoders.featurise):
                writer.write(features_table(rows, features))
            return writer.finish({"rows": item.records.rows})


@dataclass(frozen=True, slots=True)
class VectorActor:
    """Turns records shards (or their cached features) into vectors shards of one space."""

    storage: Storage
    lake: str
    model: FusionModel
    views: tuple[str, ...]

    def __call__(self, item: EncodeItem) -> ShardRef:
        table_schema = schema.vectors_schema(self.model.dimension)
        dropped = set(item.dropped)
        covered = records = 0
        with ShardWriter(self.storage, self.lake, "vectors", item.address, table_schema) as writer:
            for rows, features in self._features(item):
                keep = np.array([row not in dropped for row in rows["row_digest"].to_pylist()])
                seen = np.zeros(len(keep), dtype=bool)
                for view in self.views:
                    vectors, present = self.model.embed(features, view)
                    chosen = np.flatnonzero(keep & present)
                    writer.write(self._table(rows.take(pa.array(chosen)), view, vectors[chosen]))
                    seen[chosen] = True
                covered, records = covered + int(seen.sum()), records + int(keep.sum())
            return writer.finish({"records": records, "without_view": records - covered})

    def _features(self, item: EncodeItem) -> Iterator[tuple[pa.Table, Features]]:
        if item.features is None:
            return featurised(self.storage, self.lake, item.records, self.model.featurise)
        return read_features(self.storage, self.lake, item.features, self.model.input_dimensions)

    def _table(self, rows: pa.Table, view: str, vectors: np.ndarray) -> pa.Table:
        columns = {name: rows[name] for name in ("key", "source", "split", "row_digest")}
        same = {"view": view, "fingerprint": self.model.fingerprint}
        columns |= {name: pa.array([value] * rows.num_rows, pa.string()) for name, value in same.items()}
        columns["vector"] = lists_of(vectors)
        names = schema.vectors_schema(self.model.dimension).names
        return pa.table({name: columns[name] for name in names})


def featurise(
    workspace: Workspace, engine: Engine, prepared: Sequence[Prepared], variants: Sequence[ShardRef] = ()
) -> dict[str, ShardRef]:
    """Features shards of all records shards, by split, and of variants to train on, by `augmented/<address>`.

    Those that stand in the cache are not made again.
    """
    config = workspace.project.model
    fingerprint = load_encoders(config).fingerprint
    items = [
        EncodeItem(address=features_address(fingerprint, item.address), split=item.split, records=item.records)
        for item in prepared
    ]
    items += [
        EncodeItem(address=features_address(fingerprint, ref.address), split=f"augmented/{ref.address}", records=ref)
        for ref in variants
    ]
    factory = _Factory(storage=workspace.storage, lake=workspace.lake, config=config)
    return _by_split(workspace, engine, FEATURES, items, factory)


def encode(
    workspace: Workspace,
    engine: Engine,
    prepared: Sequence[Prepared],
    dropped: Mapping[str, Sequence[str]],
    features: Mapping[str, ShardRef],
    model: TrainedModel,
) -> dict[str, ShardRef]:
    """Vectors shards of all records shards, by split. Cached features are used where `features` has them."""
    views = tuple(workspace.project.index.views)
    items = []
    for item in prepared:
        gone = tuple(dropped.get(item.split, ()))
        address = digest.address("vectors", ENCODE_FORMAT, item.address, list(gone), model.fingerprint, list(views))
        items.append(
            EncodeItem(
                address=address, split=item.split, records=item.records, features=features.get(item.split), dropped=gone
            )
        )
    factory = _Factory(storage=workspace.storage, lake=workspace.lake, model=model, views=views)
    return _by_split(workspace, engine, "vectors", items, factory)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Factory:
    """Makes an actor inside its worker, so that a model is loaded there and once."""

    storage: Storage
    lake: str
    config: ModelConfig | None = None
    model: TrainedModel | None = None
    views: tuple[str, ...] = ()

    def __call__(self) -> Callable[[EncodeItem], ShardRef]:
        if self.model is None:
            assert self.config is not None
            return FeatureActor(self.storage, self.lake, load_encoders(self.config))
        loaded = load_model(self.storage, self.storage.join(self.lake, self.model.path), self.model.fingerprint)
        return VectorActor(self.storage, self.lake, loaded, self.views)


def _by_split(
    workspace: Workspace, engine: Engine, table: str, items: Sequence[EncodeItem], factory: _Factory
) -> dict[str, ShardRef]:
    made = make_missing(workspace, engine, table, items, factory, "shards could not be encoded")
    return {item.split: made[item.address] for item in items}
