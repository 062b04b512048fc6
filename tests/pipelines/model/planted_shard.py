"""A small records shard with every kind of row: pictures, sounds, captions, and what lacks them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from trichord.encoders.base import AUDIO_RATE_HZ
from trichord.encoders.frozen import Encoders, load_encoders
from trichord.encoders.heads import FeatureStats
from trichord.encoders.model import FusionModel
from trichord.infra import digest
from trichord.infra.config import ModelConfig, PrepareConfig
from trichord.infra.lake import schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, ShardWriter
from trichord.transforms.batch import Batch, Row, Waveform
from trichord.transforms.record import finish

WORDS = ("red", "green", "blue", "circle", "square", "bell", "hum", "of", "a", "the", "over", "under")


def records_shard(lake: Lake, rows: int, *, side: int = 64, seconds: float = 0.4) -> ShardRef:
    """`rows` records; every fifth has no picture, every fourth no sound, every seventh no text."""
    rng = digest.generator("shard", rows)
    batch = Batch(
        rows=tuple(_row(i, rng) for i in range(rows)),
        images=tuple(
            None if i % 5 == 4 else rng.integers(0, 256, (side, side + i % 3, 3), dtype=np.uint8) for i in range(rows)
        ),
        waves=tuple(
            None
            if i % 4 == 3
            else Waveform(
                rng.uniform(-0.5, 0.5, int(seconds * AUDIO_RATE_HZ * (1 + i % 3))).astype(np.float32), AUDIO_RATE_HZ
            )
            for i in range(rows)
        ),
    )
    table = finish(batch, PrepareConfig())
    with ShardWriter(lake, "records", digest.address("records", rows, side, seconds), schema.RECORDS) as writer:
        writer.write(table)
        return writer.finish({"rows": rows})


def _row(number: int, rng: np.random.Generator) -> Row:
    def words() -> str:
        return " ".join(rng.choice(WORDS, size=int(rng.integers(1, 40))))

    key = f"row-{number:04d}"
    row = Row(key=key, source="planted", partition="planted/0", group=key, text=words())
    row = replace(row, captions=tuple(words() for _ in range(number % 3)))
    return replace(row, text=None, captions=()) if number % 7 == 6 and number % 5 != 4 else row


def fusion_model(config: ModelConfig) -> FusionModel:
    """An untrained model over the encoders that `config` names."""
    encoders = load_encoders(config)
    return FusionModel.initial(config, encoders, plain_stats(encoders), seed=0)


def plain_stats(encoders: Encoders) -> Mapping:
    """Statistics under which features are taken as they come."""
    return {
        name: FeatureStats(np.zeros(width, np.float32), np.ones(width, np.float32))
        for name, width in encoders.dimensions.items()
    }
