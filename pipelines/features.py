"""features: what frozen encoders make of every record, once, cached in the lake under the encoders' fingerprint.

The next rows are decoded while the present ones run through the encoders; batches are planned from the shard alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa

from encoders.base import AUDIO_RATE_HZ, Modality
from encoders.views import MODALITIES, Features
from infra import digest
from infra.lake.shard import ShardRef, iter_shard
from infra.lake.storage import Storage
from transforms.record import batch_of

FEATURES = "_features"  # a cache in the lake, not a table
FEATURES_FORMAT = 1
ROWS = 64  # rows decoded ahead
LABELS = ("key", "source", "split", "group", "subset", "row_digest", "text")
_VECTOR = pa.list_(pa.field("element", pa.float32(), nullable=False))
FEATURES_SCHEMA = pa.schema(
    [pa.field(name, pa.string()) for name in LABELS]
    + [pa.field(f"{name}_features", _VECTOR) for name in MODALITIES]
    + [pa.field("captions", pa.list_(_VECTOR))]
)


def features_address(encoders: str, records: str) -> str:
    """Address of the features that encoders of this fingerprint make of a records shard."""
    return digest.address("features", FEATURES_FORMAT, encoders, records)


def featurised(
    storage: Storage,
    lake: str,
    records: ShardRef,
    encoders: Callable[..., Features],
    *,
    keep: Callable[[pa.Table], np.ndarray] = lambda rows: np.ones(rows.num_rows, dtype=bool),
) -> Iterator[tuple[pa.Table, Features]]:
    """Rows of a records shard that `keep` marks, with their features; the next are decoded in a thread meanwhile."""
    whole = (pa.Table.from_batches([part]) for part in iter_shard(storage, lake, records, batch_rows=ROWS))
    parts = (part.filter(pa.array(keep(part))) for part in whole)
    batches = ((part, batch_of(part, AUDIO_RATE_HZ)) for part in parts)
    with ThreadPoolExecutor(1) as ahead:
        pending = ahead.submit(next, batches, None)
        while (ready := pending.result()) is not None:
            pending = ahead.submit(next, batches, None)
            rows, batch = ready
            yield rows, encoders(batch)


def features_table(rows: pa.Table, features: Features) -> pa.Table:
    """Features as rows of the cache; an absent modality is null."""
    columns = {name: rows[name] for name in LABELS}
    for m, name in enumerate(MODALITIES):
        columns[f"{name}_features"] = lists_of(features.values[name], features.present[:, m])
    captions = pa.ListArray.from_arrays(pa.array(features.offsets, pa.int32()), lists_of(features.captions))
    columns["captions"] = captions.cast(FEATURES_SCHEMA.field("captions").type)
    return pa.table(columns, schema=FEATURES_SCHEMA)


def read_features(
    storage: Storage, lake: str, ref: ShardRef, dimensions: Mapping[Modality, int]
) -> Iterator[tuple[pa.Table, Features]]:
    """The cache's rows as features again, bit for bit as they were written."""
    for part in iter_shard(storage, lake, ref, batch_rows=1_024):
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
    """A matrix as an Arrow list column without copying it; rows that are not present become null."""
    rows, dimension = values_ND.shape
    if present_N is None or present_N.all():
        offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * dimension)
        return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(values_ND).ravel()), type=_VECTOR)
    lengths = np.where(present_N, dimension, 0)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    flat = pa.array(np.ascontiguousarray(values_ND[present_N]).ravel())
    return pa.ListArray.from_arrays(offsets, flat, type=_VECTOR, mask=pa.array(~present_N))
