"""encode: records → features (once, cached) → vectors of the space, one shard of each for every records shard.

Under strict numerics, what older shards hold of a record is copied. Actors load their model once and want a GPU. The
next rows are decoded while the encoders process the current ones. Blocks are planned from the shard alone, so its bytes
depend on nothing else. Timings are reported, but not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa

from trichord.encoders.frozen import Encoders, load_encoders
from trichord.encoders.views import Features
from trichord.infra import digest, log
from trichord.infra.config import ModelConfig
from trichord.infra.engines.base import Engine
from trichord.infra.engines.gpus import choose_gpus, machine_gpus
from trichord.infra.lake import layout, schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, ShardWriter, read_shard
from trichord.pipelines.core.bases import find_bases, keep_bases
from trichord.pipelines.core.exclusions import Excluded, Exclusions
from trichord.pipelines.core.materialise import at_its_place, make_missing
from trichord.pipelines.core.model_store import TrainedModel, load_model
from trichord.pipelines.core.pace import Pace
from trichord.pipelines.core.timings import Stopwatch, Timed, Timings
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.model.encode_changed import copy_features, copy_vectors, group_changed
from trichord.pipelines.model.encode_items import EncodeItem, divide, keep_span
from trichord.pipelines.model.feature_cache import (
    FEATURES_FORMAT,
    FEATURES_SCHEMA,
    features_address,
    features_table,
    featurised,
    lists_of,
    read_features,
)
from trichord.pipelines.model.prefetch import BLOCKS, Blocks, Keep, keep_all
from trichord.pipelines.prepare.prepared import Prepared
from trichord.transforms.collect.partitions import Partition

if TYPE_CHECKING:
    from trichord.encoders.model import FusionModel

ENCODE_FORMAT = 5
Partitions: TypeAlias = Mapping[str, Sequence[Partition]]  # by source
LABELS = ("key", "source", "partition", "row_digest", "meta")


@dataclass(frozen=True, slots=True)
class FeatureActor:
    """Turns records shards into features shards; the encoders are loaded when the actor starts."""

    lake: Lake
    encoders: Encoders
    blocks: Blocks = BLOCKS

    @at_its_place
    def __call__(self, item: EncodeItem) -> Timed:
        watch = Stopwatch()
        with ShardWriter(self.lake, layout.FEATURES, item.address, FEATURES_SCHEMA) as writer:
            written = 0
            for rows in self._put_together(item, watch) if item.parts else self._made(item, watch):
                with watch("write"):
                    writer.write(rows)
                written += rows.num_rows
            with watch("write"):
                ref = writer.finish({"rows_in": item.rows, "rows_kept": written, "rows_rejected": 0})
        return Timed(ref, watch.spent(), part=item.span is not None)

    def _put_together(self, item: EncodeItem, watch: Stopwatch) -> Iterator[pa.Table]:
        for part in item.parts:
            with watch("read"):
                rows = read_shard(self.lake, part)
            yield rows

    def _made(self, item: EncodeItem, watch: Stopwatch) -> Iterator[pa.Table]:
        pace, keep = Pace(item.rows), keep_all if item.span is None else keep_span(item.span)
        encoders = self.encoders.featurise
        for rows, features in featurised(self.lake, item.records, encoders, keep=keep, watch=watch, blocks=self.blocks):
            with watch("write"):
                table = features_table(rows, features)
            yield table
            pace.add(rows.num_rows)
            if pace.due():
                log.event("encoding", table=layout.FEATURES, **pace.report())


@dataclass(frozen=True, slots=True)
class VectorActor:
    """Turns records shards (or their cached features) into vectors shards of one space."""

    lake: Lake
    model: FusionModel
    views: tuple[str, ...]
    dtype: schema.VectorDtype = "float32"
    blocks: Blocks = BLOCKS

    @at_its_place
    def __call__(self, item: EncodeItem) -> Timed:
        watch, mask = Stopwatch(), item.excluded.mask(self.lake)
        table_schema = schema.vectors_schema(self.model.dimension, self.dtype)
        covered = encoded = 0
        with ShardWriter(self.lake, "vectors", item.address, table_schema) as writer:
            with watch("read"):
                digests = read_shard(self.lake, item.records, ["row_digest"])
            wanted = int(mask.keeps(digests).sum())
            for records, part in self._made(item, watch, mask.keeps, table_schema):
                with watch("write"):
                    writer.write(part)
                encoded += records
                covered += _records_in(part)
            with watch("write"):
                left_out, without = item.rows - wanted, encoded - covered
                counts = {"rows_in": item.rows, "rows_kept": covered, "rows_rejected": left_out + without}
                ref = writer.finish(counts | {"dropped": left_out, "without_view": without})
        return Timed(ref, watch.spent())

    def _made(
        self, item: EncodeItem, watch: Stopwatch, keep: Keep, table_schema: pa.Schema
    ) -> Iterator[tuple[int, pa.Table]]:
        """Yield how many records `keep` marks, and their vectors."""
        for rows, features in self._features(item, watch, keep):
            with watch("forward"):
                vectors_VND, present_VN = self.embed(features)
            keep_N = keep(rows)
            yield int(keep_N.sum()), self.table(rows, vectors_VND, present_VN & keep_N, table_schema)

    def _features(self, item: EncodeItem, watch: Stopwatch, keep: Keep) -> Iterator[tuple[pa.Table, Features]]:
        if item.features is None:
            encoders = self.model.featurise
            yield from featurised(self.lake, item.records, encoders, keep=keep, watch=watch, blocks=self.blocks)
            return
        parts = read_features(self.lake, item.features, self.model.input_dimensions)
        while True:
            with watch("read"):
                part = next(parts, None)
            if part is None:
                return
            yield part

    def embed(self, features: Features) -> tuple[np.ndarray, np.ndarray]:
        """Embed all views: vectors (V, N, D), and which records have them, bool (V, N)."""
        found = [self.model.embed(features, view) for view in self.views]
        return np.stack([vectors for vectors, _ in found]), np.stack([present for _, present in found])

    def table(self, rows: pa.Table, vectors_VND: np.ndarray, seen_VN: np.ndarray, table_schema: pa.Schema) -> pa.Table:
        """Write one row for each view, record by record: an order that does not depend on the blocks."""
        record_R, view_R = np.nonzero(seen_VN.T)
        columns = {name: rows[name].take(pa.array(record_R)) for name in LABELS}
        columns["view"] = pa.array(self.views, pa.string()).take(pa.array(view_R))
        columns["fingerprint"] = pa.array([self.model.fingerprint] * len(record_R), pa.string())
        columns["vector"] = lists_of(vectors_VND[view_R, record_R].astype(self.dtype, copy=False))
        return pa.table(columns, schema=table_schema)


def _records_in(vectors: pa.Table) -> int:
    """Return how many records have rows; the rows of a record follow each other."""
    return len(set(vectors["row_digest"].to_pylist()))


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
    partitions: Partitions | None = None,
    timings: Timings | None = None,
) -> dict[str, ShardRef]:
    """Make features shards of all records shards, by partition, and of training variants, by `augmented/<address>`.

    Cached shards are reused; with `partitions` (all, by source), so is what older ones hold of unchanged records. The
    seconds spent are added to `timings`.
    """
    config = workspace.project.model
    fingerprint = load_encoders(config).fingerprint
    items = [
        EncodeItem(
            address=features_address(fingerprint, item.address),
            partition=item.partition,
            records=item.records,
            changed=_changed(item),
        )
        for item in prepared
    ]
    items += [
        EncodeItem(
            address=features_address(fingerprint, ref.address), partition=f"augmented/{ref.address}", records=ref
        )
        for ref in variants
    ]
    factory = ActorFactory(lake=workspace.lake, config=config)
    made_by = digest.address("features", FEATURES_FORMAT, fingerprint)
    return _make_shards(workspace, engine, layout.FEATURES, items, factory, timings, made_by, partitions)


def encode(
    workspace: Workspace,
    engine: Engine,
    prepared: Sequence[Prepared],
    exclusions: Exclusions,
    features: Mapping[str, ShardRef],
    model: TrainedModel,
    *,
    partitions: Partitions | None = None,
    timings: Timings | None = None,
) -> dict[str, ShardRef]:
    """Make vectors shards of all records shards, by partition, from cached features where `features` has them.

    With `partitions` (all, by source), what older shards hold of unchanged records is copied.
    """
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
                changed=_changed(item),
            )
        )
    factory = ActorFactory(
        lake=workspace.lake,
        config=workspace.project.model,
        model=model,
        views=views,
        dtype=dtype,
    )
    made_by = digest.address("vectors", ENCODE_FORMAT, model.fingerprint, list(views), dtype)
    return _make_shards(workspace, engine, "vectors", items, factory, timings, made_by, partitions)


def _changed(item: Prepared) -> int:
    """Return about how many records are new; all, if an earlier run made them."""
    return item.ran if item.ran or item.copied else item.records.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorFactory:
    """Makes an actor inside its worker, so that the model is loaded there, once. It takes items of `group_changed`."""

    lake: Lake
    config: ModelConfig
    model: TrainedModel | None = None
    views: tuple[str, ...] = ()
    dtype: schema.VectorDtype = "float32"

    def __call__(self) -> Callable[[Sequence[EncodeItem]], Sequence[Timed]]:
        if self.model is None:
            features = FeatureActor(self.lake, load_encoders(self.config))
            return lambda items: copy_features(features, items) if items[0].bases else list(map(features, items))
        loaded = load_model(self.lake, self.model.path, self.model.fingerprint, self.config)
        vectors = VectorActor(self.lake, loaded, self.views, self.dtype)
        return lambda items: copy_vectors(vectors, items) if items[0].bases else list(map(vectors, items))


def _make_shards(
    workspace: Workspace,
    engine: Engine,
    table: str,
    items: Sequence[EncodeItem],
    factory: ActorFactory,
    timings: Timings | None,
    made_by: str,
    partitions: Partitions | None,
) -> dict[str, ShardRef]:
    strict = workspace.project.model.numerics == "strict"
    copying = partitions is not None and strict
    otherwise = "shards could not be encoded"
    divided: list[tuple[EncodeItem, list[EncodeItem]]] = []

    def add_bases(missing: list[EncodeItem]) -> list[EncodeItem]:
        if partitions is None or not copying:
            return missing
        found = find_bases(workspace.lake, table, made_by, partitions, [item.partition for item in missing])
        return [replace(item, bases=found.get(item.partition, ())) for item in missing]

    def group(missing: list[EncodeItem]) -> list[list[EncodeItem]]:
        missing, config = add_bases(missing), workspace.project.engine
        if table == layout.FEATURES and strict and not choose_gpus(config, machine_gpus()):
            at_once, found = divide(missing, config.workers)
            divided.extend(found)
            missing = sorted([*at_once, *(part for _, parts in found for part in parts)], key=lambda item: -item.rows)
        return group_changed(missing)

    made = make_missing(
        workspace,
        engine,
        table,
        items,
        factory,
        otherwise,
        group=group,
        timings=timings,
        accelerator=True,
    )
    if divided:
        whole = {
            item.address: replace(item, parts=tuple(made[part.address] for part in parts)) for item, parts in divided
        }
        items = [whole.get(item.address, item) for item in items]
        made = make_missing(workspace, engine, table, items, factory, otherwise, timings=timings)
        for ref in [ref for item in whole.values() for ref in item.parts]:
            workspace.storage.delete(workspace.lake.uri(ref.path))
    if partitions is not None and copying:
        addresses = {item.partition: item.address for item in items}
        for source, mine in partitions.items():
            keep_bases(workspace.lake, table, source, made_by, mine, addresses)
    return {item.partition: made[item.address] for item in items}
