"""Features of every record by frozen encoders, computed once and cached in the lake under the encoders' fingerprint.

Blocks of rows are planned from the shard alone, and decoded ahead of the encoders (pipelines/model/prefetch.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from trichord.encoders.base import Modality
from trichord.encoders.views import MODALITIES, Features
from trichord.infra import digest
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, iter_shard
from trichord.pipelines.core.timings import Stopwatch
from trichord.pipelines.model.prefetch import BLOCKS, Blocks, Keep, decode_blocks, keep_all

FEATURES_FORMAT = 3
LABELS = ("key", "source", "partition", "group", "subset", "row_digest", "meta", "text")
_VECTOR = pa.list_(pa.field("element", pa.float32(), nullable=False))
FEATURE_SCHEMA = pa.schema(
    [pa.field(f"{name}_features", _VECTOR) for name in MODALITIES] + [pa.field("captions", pa.list_(_VECTOR))]
)
FEATURES_SCHEMA = pa.schema([*(pa.field(name, pa.string()) for name in LABELS), *FEATURE_SCHEMA])


def features_address(encoders: str, records: str) -> str:
    """Return the address of the features that encoders of this fingerprint make of a records shard."""
    return digest.address("features", FEATURES_FORMAT, encoders, records)


def featurised(
    lake: Lake,
    records: ShardRef,
    encoders: Callable[..., Features],
    *,
    keep: Keep = keep_all,
    watch: Stopwatch | None = None,
    blocks: Blocks = BLOCKS,
) -> Iterator[tuple[pa.Table, Features]]:
    """Yield the rows of a records shard that `keep` marks (columns `LABELS`) and their features, in the shard's order.

    The next block is read and decoded while the encoders process the current one.

    Args:
        lake: holds the shard.
        records: shard of the tables `records` or `augmented`.
        encoders: makes features of a batch.
        keep: marks the rows to keep of a part, bool (N,).
        watch: adds up the seconds.
        blocks: how the shard is cut.
    """
    yield from featurise_marked(lake, [(records, keep)], encoders, watch=watch or Stopwatch(), blocks=blocks)


def featurise_marked(
    lake: Lake,
    shards: Sequence[tuple[ShardRef, Keep]],
    encoders: Callable[..., Features],
    *,
    watch: Stopwatch,
    blocks: Blocks = BLOCKS,
) -> Iterator[tuple[pa.Table, Features]]:
    """Do as `featurised` with several shards, each with what marks its rows; they share passes."""
    for rows, batch in decode_blocks(lake, shards, LABELS, watch=watch, blocks=blocks):
        with watch("forward"):
            features = encoders(batch)
        yield rows, features


def features_table(rows: pa.Table, features: Features) -> pa.Table:
    """Write features as rows of the cache; an absent modality is null."""
    columns = {name: rows[name] for name in LABELS}
    for m, name in enumerate(MODALITIES):
        columns[f"{name}_features"] = lists_of(features.values[name], features.present[:, m])
    captions = pa.ListArray.from_arrays(pa.array(features.offsets, pa.int32()), lists_of(features.captions))
    columns["captions"] = captions.cast(FEATURES_SCHEMA.field("captions").type)
    return pa.table(columns, schema=FEATURES_SCHEMA)


def read_features(lake: Lake, ref: ShardRef, dimensions: Mapping[Modality, int]) -> Iterator[tuple[pa.Table, Features]]:
    """Read the cache's rows as features, bit for bit as they were written."""
    for part in iter_shard(lake, ref, batch_rows=1_024):
        rows = pa.Table.from_batches([part])
        values, present = {}, np.zeros((rows.num_rows, len(MODALITIES)), bool)
        for m, name in enumerate(MODALITIES):
            column = part.column(f"{name}_features")
            present[:, m] = column.is_valid().to_numpy(zero_copy_only=False)
            values[name] = np.zeros((rows.num_rows, dimensions[name]), np.float32)
            values[name][present[:, m]] = column.flatten().to_numpy().reshape(-1, dimensions[name])
        captions = part.column("captions")
        offsets = captions.offsets.to_numpy() - captions.offsets[0].as_py()
        flat = captions.flatten().flatten().to_numpy().reshape(-1, dimensions["text"])
        yield rows.select(LABELS), Features(values=values, present=present, captions=flat, offsets=offsets)


def lists_of(values_ND: np.ndarray, present_N: np.ndarray | None = None) -> pa.Array:
    """Wrap a matrix (float32 or float16) as an Arrow list column, without a copy; absent rows become null."""
    rows, dimension = values_ND.shape
    kind = pa.list_(pa.field("element", pa.from_numpy_dtype(values_ND.dtype), nullable=False))
    if present_N is None or present_N.all():
        offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * dimension)
        return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(values_ND).ravel()), type=kind)
    lengths = np.where(present_N, dimension, 0)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    flat = pa.array(np.ascontiguousarray(values_ND[present_N]).ravel())
    return pa.ListArray.from_arrays(offsets, flat, type=kind, mask=pa.array(~present_N))
