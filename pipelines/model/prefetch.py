"""Read a records shard as decoded blocks; threads decode the next block while the current one is encoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from trichord.encoders.base import AUDIO_RATE_HZ
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, iter_shard
from trichord.infra.lazy import arrow_compute as pc
from trichord.pipelines.core.timings import Stopwatch
from trichord.transforms.batch import Batch, join
from trichord.transforms.record import batch_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """How a shard is cut for the encoders: by its rows alone, so that a rerun gets the same blocks.

    Encoders sort a block by length and fill their passes from it: a larger block needs less padding. Decoding runs
    one block ahead, so a block's bytes bound the memory: two blocks and a few parts. The first block is small, because
    nothing else runs while it is decoded.
    """

    rows: int = 512
    first_rows: int = 64
    bytes: int = 96 << 20  # of decoded media
    part_rows: int = 16  # decoded by one thread at a time
    threads: int = 2


BLOCKS = Blocks()
_MEDIA = ("captions", "image", "audio")


Keep: TypeAlias = Callable[[pa.Table], np.ndarray]  # marks rows of a part, bool (N,)


def keep_all(rows: pa.Table) -> np.ndarray:
    """Keep all rows."""
    return np.ones(rows.num_rows, dtype=bool)


def is_among(row_digests: pa.Array, rows: pa.Table) -> np.ndarray:
    """Mark the rows (column `row_digest`) that have one of these digests, bool (N,)."""
    return np.asarray(pc.is_in(rows["row_digest"], value_set=row_digests).to_numpy(), bool)


def decode_blocks(
    lake: Lake, shards: Sequence[tuple[ShardRef, Keep]], labels: Sequence[str], *, watch: Stopwatch, blocks: Blocks
) -> Iterator[tuple[pa.Table, Batch]]:
    """Yield the marked rows of records shards in order: the columns `labels`, and decoded rows and media.

    Each shard comes with what marks its rows; they share blocks.

    Raises:
        StorageError: a shard is damaged, or a medium in it cannot be decoded.
    """
    with ThreadPoolExecutor(blocks.threads) as decoders, ThreadPoolExecutor(1) as ahead:
        parts = (part for records, keep in shards for part in _read_parts(lake, records, labels, keep, watch, blocks))
        cut = _cut_blocks(_decode_parts(parts, labels, decoders, watch, blocks), blocks)
        pending = ahead.submit(next, cut, None)
        while True:
            with watch("waited"):
                ready = pending.result()
            if ready is None:
                return
            pending = ahead.submit(next, cut, None)
            yield ready


def _read_parts(
    lake: Lake,
    records: ShardRef,
    labels: Sequence[str],
    keep: Keep,
    watch: Stopwatch,
    blocks: Blocks,
) -> Iterator[pa.Table]:
    """Yield the kept rows part by part, with the columns that encoders and labels need."""
    parts = iter_shard(lake, records, (*labels, *_MEDIA), batch_rows=blocks.part_rows)
    while True:
        with watch("read"):
            part = next(parts, None)
        if part is None:
            return
        rows = pa.Table.from_batches([part])
        yield rows.filter(pa.array(keep(rows)))


def _decode_parts(
    parts: Iterator[pa.Table], labels: Sequence[str], decoders: ThreadPoolExecutor, watch: Stopwatch, blocks: Blocks
) -> Iterator[tuple[pa.Table, Batch]]:
    """Yield the parts in order, each decoded by one of the threads, a few of them ahead."""

    def decode(part: pa.Table) -> tuple[pa.Table, Batch]:
        with watch("decode"):
            return part.select(labels), batch_of(part, AUDIO_RATE_HZ)

    waiting: deque[Future[tuple[pa.Table, Batch]]] = deque()
    for part in parts:
        waiting.append(decoders.submit(decode, part))
        if len(waiting) > 2 * blocks.threads:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _cut_blocks(parts: Iterator[tuple[pa.Table, Batch]], blocks: Blocks) -> Iterator[tuple[pa.Table, Batch]]:
    """Join parts until they have enough rows or bytes for a block."""
    held: list[tuple[pa.Table, Batch]] = []
    rows = size = 0
    enough = blocks.first_rows
    for part, batch in parts:
        held.append((part, batch))
        rows, size = rows + len(batch), size + _media_bytes(batch)
        if rows >= enough or size >= blocks.bytes:
            yield _join(held)
            held, rows, size, enough = [], 0, 0, blocks.rows
    if rows:
        yield _join(held)


def _join(parts: Sequence[tuple[pa.Table, Batch]]) -> tuple[pa.Table, Batch]:
    return pa.concat_tables([part for part, _ in parts]), join([batch for _, batch in parts])


def _media_bytes(batch: Batch) -> int:
    pixels = sum(image.nbytes for image in batch.images if image is not None)
    return pixels + sum(wave.samples.nbytes for wave in batch.waves if wave is not None)
