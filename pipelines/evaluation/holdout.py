"""Which records are held out from training, and the queries and galleries that a model makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from trichord.encoders.views import Features
from trichord.infra import digest
from trichord.infra.config import TrainConfig
from trichord.pipelines.evaluation.galleries import FORMS, MODALITIES, HeldOut

if TYPE_CHECKING:
    from trichord.encoders.model import FusionModel

K = 10  # depth of every measure, in the names of the figures too


def is_held_out(subset: str, group: str, config: TrainConfig) -> bool:
    """Return True where a record is kept from training: by the source's mark, else by the digest of its group.

    The same for every seed of training: models that differ in it are measured on the same records.
    """
    if subset:
        return subset in config.held_out_subsets
    return digest.hash64(f"held-out/{group}") < config.held_out * 2**64


def held_out_mask(rows: pa.Table, config: TrainConfig) -> np.ndarray:
    """Return `is_held_out` of every row, bool (N,)."""
    marks = zip(rows["subset"].to_pylist(), rows["group"].to_pylist(), strict=True)
    return np.array([is_held_out(subset, group, config) for subset, group in marks], dtype=bool)


def text_ids(rows: pa.Table) -> np.ndarray:
    """Return numbers that are equal for rows of the same words, which are relevant to each other; -1 without text."""
    return np.array(
        [digest.hash64(text.casefold()) >> 1 if text else -1 for text in rows["text"].to_pylist()], dtype=np.int64
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutRows:
    """Held-out records as features, ready to be embedded by any model of the same encoders."""

    keys: tuple[str, ...]
    text_ids: np.ndarray
    features: Features

    @classmethod
    def gather(cls, parts: Iterator[tuple[pa.Table, Features]], limit: int) -> HeldOutRows | None:
        """The first `limit` rows of the parts; None where there are none."""
        keys: list[str] = []
        ids: list[np.ndarray] = []
        found: list[Features] = []
        for rows, features in parts:
            room = np.arange(min(rows.num_rows, limit - len(keys)))
            keys += rows["key"].to_pylist()[: len(room)]
            ids.append(text_ids(rows)[room])
            found.append(features.take(room))
            if len(keys) == limit:
                break
        if not keys:
            return None
        # small numbers, because the measures count by them
        _, numbers = np.unique(np.concatenate(ids), return_inverse=True)
        numbers = np.where(np.concatenate(ids) < 0, -1, numbers)
        return cls(keys=tuple(keys), text_ids=numbers, features=Features.concat(found))

    def views(self, model: FusionModel) -> HeldOut:
        """Embed the rows: queries by one modality (text: by another caption where there is one), galleries by form."""
        features = self.features
        gallery = dict(zip(FORMS, model.embed_views(features, FORMS), strict=True))
        queries = {name: gallery[name].copy() for name in MODALITIES}
        starts, counts = features.offsets[:-1], np.diff(features.offsets)
        other = (counts > 0) & features.present[:, MODALITIES.index("text")]
        captions = model.embed_captions(features)
        queries["text"][other] = captions[starts[other]]
        further = np.ones(len(captions), dtype=bool)
        further[starts[counts > 0]] = False  # the first is the query
        return HeldOut(
            keys=self.keys,
            text_ids=self.text_ids,
            present=features.present,
            queries=queries,
            other_caption=other,
            gallery=gallery,
            captions=captions[further],
            caption_rows=np.repeat(np.arange(len(self.keys)), counts)[further],
        )
