"""Encode the few changed rows of many shards together; what older shards hold of all other rows is copied.

A pass of strict numerics is filled up, so rows of one shard alone would cost as much as those of many. A row's bits do
not depend on its company, and the shards are those of a whole run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from trichord.encoders.views import Features
from trichord.infra.lake import layout, schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, ShardWriter, read_shard
from trichord.pipelines.core.timings import Spent, Stopwatch, Timed
from trichord.pipelines.model.feature_cache import (
    FEATURE_SCHEMA,
    FEATURES_SCHEMA,
    LABELS,
    features_table,
    featurise_marked,
    read_features,
)
from trichord.pipelines.model.old_rows import OldRows
from trichord.pipelines.model.prefetch import Keep, is_among

if TYPE_CHECKING:
    from trichord.pipelines.model.encode import FeatureActor, VectorActor
    from trichord.pipelines.model.encode_items import EncodeItem

CHANGED_ROWS, ROWS = 256, 4_096  # of the shards that are made together: about a pass, and what is held in memory


def group_changed(items: Iterable[EncodeItem]) -> list[list[EncodeItem]]:
    """Put items together whose changed rows share passes; one that copies nothing is alone."""
    groups: list[list[EncodeItem]] = []
    open_group: list[EncodeItem] | None = None
    changed = rows = 0
    for item in items:
        if not item.bases:
            groups.append([item])
            continue
        if open_group is None or changed + item.changed > CHANGED_ROWS or rows + item.rows > ROWS:
            open_group, changed, rows = [], 0, 0
            groups.append(open_group)
        open_group.append(item)
        changed, rows = changed + item.changed, rows + item.rows
    return groups


@dataclass(frozen=True, slots=True)
class _Open:
    """A shard to make: the records that it covers (column `row_digest`), and what older shards hold of them."""

    item: EncodeItem
    records: pa.Table
    old: OldRows
    missing: pa.Array  # row digests


def copy_features(actor: FeatureActor, items: Sequence[EncodeItem]) -> list[Timed]:
    """Make features shards of all records of some shards."""
    watch, lake = Stopwatch(), actor.lake
    with watch("read"):
        opened = [_open(lake, item, FEATURE_SCHEMA, read_shard(lake, item.records, LABELS)) for item in items]
    encoders, made = actor.encoders.featurise, [FEATURES_SCHEMA.empty_table()]
    for part in featurise_marked(lake, _shards(opened), encoders, watch=watch, blocks=actor.blocks):
        made.append(features_table(*part))
    new, done = pa.concat_tables(made), list[Timed]()
    for one in opened:
        with watch("write"), ShardWriter(lake, layout.FEATURES, one.item.address, FEATURES_SCHEMA) as writer:
            columns, counts_N = one.old.between(one.records, _of(new, one.missing))
            records = one.records.filter(pa.array(counts_N > 0))
            writer.write(pa.table([*records.columns, *columns.columns], names=[*LABELS, *FEATURE_SCHEMA.names]))
            ref = writer.finish({"rows_in": one.item.rows, "rows_kept": len(records), "rows_rejected": 0})
        done.append(Timed(ref, Spent(), len(one.records) - len(one.missing)))
    return _timed(done, watch)


def copy_vectors(actor: VectorActor, items: Sequence[EncodeItem]) -> list[Timed]:
    """Make vectors shards of the records of some shards that are not left out."""
    watch = Stopwatch()
    table_schema = schema.vectors_schema(actor.model.dimension, actor.dtype)
    with watch("read"):
        opened = []
        for item in items:
            digests = read_shard(actor.lake, item.records, ["row_digest"])
            wanted = digests.filter(pa.array(item.excluded.mask(actor.lake).keeps(digests)))
            opened.append(_open(actor.lake, item, table_schema, wanted))
    found = [*_cached(actor, opened, watch)]
    without = [one for one in opened if one.item.features is None]
    found += featurise_marked(actor.lake, _shards(without), actor.model.featurise, watch=watch, blocks=actor.blocks)
    encoded, new = FEATURES_SCHEMA.empty_table(), table_schema.empty_table()
    if found:
        rows, features = pa.concat_tables([part for part, _ in found]), Features.concat([part for _, part in found])
        with watch("forward"):
            vectors_VND, present_VN = actor.embed(features)
        with watch("write"):
            new = actor.table(rows, vectors_VND, present_VN, table_schema)
        encoded = rows
    done = list[Timed]()
    for one in opened:
        item = one.item
        with watch("write"), ShardWriter(actor.lake, "vectors", item.address, table_schema) as writer:
            rows, counts_N = one.old.between(one.records, _of(new, one.missing))
            at = rows.column_names.index("partition")
            writer.write(
                rows.set_column(at, table_schema.field(at), pa.array([item.partition] * len(rows), pa.string()))
            )
            covered, copied = int(np.count_nonzero(counts_N)), len(one.records) - len(one.missing)
            left_out = item.rows - len(one.records)
            without_view = copied + len(_of(encoded, one.missing)) - covered
            counts = {"rows_in": item.rows, "rows_kept": covered, "rows_rejected": left_out + without_view}
            ref = writer.finish(counts | {"dropped": left_out, "without_view": without_view})
        done.append(Timed(ref, Spent(), copied))
    return _timed(done, watch)


def _open(lake: Lake, item: EncodeItem, table_schema: pa.Schema, records: pa.Table) -> _Open:
    old = OldRows(lake, item.bases, table_schema, records)
    return _Open(item, records, old, records.filter(pa.array(~old.has(records)))["row_digest"].combine_chunks())


def _shards(opened: Sequence[_Open]) -> list[tuple[ShardRef, Keep]]:
    """Return the shards that hold missing rows, each with what marks these."""
    return [(one.item.records, partial(is_among, one.missing)) for one in opened if len(one.missing)]


def _cached(actor: VectorActor, opened: Sequence[_Open], watch: Stopwatch) -> Iterable[tuple[pa.Table, Features]]:
    """Yield the missing rows with the features that are in the cache."""
    for one in opened:
        if one.item.features is None or not len(one.missing):
            continue
        with watch("read"):
            for rows, features in read_features(actor.lake, one.item.features, actor.model.input_dimensions):
                chosen = np.flatnonzero(is_among(one.missing, rows))
                yield rows.take(pa.array(chosen)), features.take(chosen)


def _of(rows: pa.Table, row_digests: pa.Array) -> pa.Table:
    return rows.filter(pa.array(is_among(row_digests, rows)))


def _timed(done: Sequence[Timed], watch: Stopwatch) -> list[Timed]:
    """Return the shards, the first with the seconds of all."""
    return [Timed(one.ref, watch.spent() if one is done[0] else one.spent, one.copied) for one in done]
