"""Compare the pictures and sounds of candidate pairs, as the records hold them: the costly step, in parallel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trichord.infra.config import DedupConfig
from trichord.infra.engines.base import Engine
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, take_rows
from trichord.pipelines.core.workspace import run_all
from trichord.transforms.batch import Image, Waveform
from trichord.transforms.dedup import same_picture, same_sound
from trichord.transforms.dedup.detail import compare_shown, read_detail
from trichord.transforms.dedup.near import Ints, Modality
from trichord.transforms.record import stored_image, stored_wave

PAIRS_PER_TASK = 64
SHARD_BITS = 32
UNCERTAIN = 3.0  # times the limit: a picture that differs less may be the same after all
UNCERTAIN_SOUND = 0.25  # the same of a sound: 1 - correlation


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What became of a pair: the modality that decided if they are not the same, and how far each differs."""

    same: bool
    distances: Mapping[Modality, float]
    modality: Modality
    why: str
    uncertain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """The media of a record, decoded."""

    image: Image | None
    detail: Image | None
    wave: Waveform | None


@dataclass(frozen=True, slots=True)
class ComparePairs:
    """Pairs of rows (P, 2), by number → how they compare."""

    lake: Lake
    records: tuple[ShardRef, ...]  # row for row as `signatures`
    signatures: tuple[ShardRef, ...]
    names: tuple[Modality, ...]  # modalities that must match
    rate_hz: int

    def __call__(self, item: tuple[int, Ints]) -> tuple[int, list[Compared]]:
        number, pairs = item
        media = self._read(np.unique(pairs))
        return number, [compare_media(media[a], media[b], self.names) for a, b in pairs.tolist()]

    def _read(self, rows: Ints) -> dict[int, Media]:
        found: dict[int, Media] = {}
        shards = rows >> SHARD_BITS
        for shard in np.unique(shards).tolist():
            here = rows[shards == shard]
            places = (here & ((1 << SHARD_BITS) - 1)).tolist()
            stored = take_rows(self.lake, self.records[shard], places, ["key", "image", "audio"])
            details = take_rows(self.lake, self.signatures[shard], places, ["image_detail"])
            found |= zip(here.tolist(), map(self._decode, stored.to_pylist(), details.to_pylist()), strict=True)
        return found

    def _decode(self, row: Mapping[str, Any], more: Mapping[str, Any]) -> Media:
        detail = more["image_detail"]
        return Media(
            image=stored_image(row["key"], row["image"]) if "image" in self.names else None,
            detail=None if detail is None or "image" not in self.names else read_detail(detail),
            wave=stored_wave(row["key"], row["audio"], self.rate_hz) if "audio" in self.names else None,
        )


def compare_media(one: Media, other: Media, names: Sequence[Modality]) -> Compared:
    """Compare the pictures and sounds of two records that have the same modalities; sounds first, which cost least."""
    distances: dict[Modality, float] = {}
    if "audio" in names and one.wave is not None and other.wave is not None:
        sound = same_sound.compare_sounds(one.wave, other.wave)
        distances["audio"] = sound.difference
        if not sound.same:
            return Compared(same=False, distances=distances, modality="audio", why=sound.why,
                            uncertain=sound.difference < UNCERTAIN_SOUND)  # fmt: skip
    if "image" in names and one.image is not None and other.image is not None:
        picture = compare_shown((one.image, one.detail), (other.image, other.detail))
        distances = {"image": picture.difference, **distances}
        if not picture.same:
            uncertain = picture.difference < UNCERTAIN * same_picture.MOST_DIFFERENCE
            return Compared(same=False, distances=distances, modality="image", why=picture.why, uncertain=uncertain)
    return Compared(same=True, distances=distances, modality="image", why="", uncertain=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparer:
    """Compares pairs on an engine, each once."""

    engine: Engine
    lake: Lake
    records: tuple[ShardRef, ...]
    signatures: tuple[ShardRef, ...]
    config: DedupConfig
    rate_hz: int

    @property
    def names(self) -> tuple[Modality, ...]:
        """The modalities that are compared."""
        wanted: tuple[Modality, ...] = ("image", "audio")
        return tuple(name for name in wanted if name not in self.config.ignore)

    def compare(self, pairs: Ints) -> list[Compared]:
        """Return how pairs of rows (P, 2), by number, compare, in their order.

        Raises:
            StorageError: a stored medium cannot be read.
            PartialRun: a worker failed; a rerun resumes.
        """
        task = ComparePairs(self.lake, self.records, self.signatures, self.names, self.rate_hz)
        starts = range(0, len(pairs), PAIRS_PER_TASK)
        items = [(start, pairs[start : start + PAIRS_PER_TASK]) for start in starts]
        done = dict(run_all(self.engine, task, items, "Comparing near duplicates failed"))
        return [one for start in starts for one in done[start]]
