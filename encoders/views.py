"""Views of records, the features they are made of, and how a training batch draws them.

Shape letters: N rows, B rows of a batch, M modalities in the order of `MODALITIES`, C captions, D values of a vector.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trichord.encoders.base import Modality

MODALITIES: tuple[Modality, ...] = ("text", "image", "audio")
VIEWS = ("fused", *MODALITIES)  # what an index may hold
TEXT = MODALITIES.index("text")
SINGLE = 3  # times as often as any fusion a modality alone is drawn: alone it is harder to find
_SUBSETS_SM = np.array([[subset >> m & 1 for m in range(3)] for subset in range(1, 8)], dtype=bool)
_OFTEN_S = np.where(_SUBSETS_SM.sum(axis=1) == 1, SINGLE, 1)

View = str | Collection[str]


def view_modalities(view: View) -> tuple[Modality, ...]:
    """Return modalities of a view: 'fused' (all), names joined by '+' ('text+image'), or a collection of names.

    Raises:
        ValueError: a name is unknown, or there is none.
    """
    names = set(view.split("+") if isinstance(view, str) else view)
    if "fused" in names:
        names = (names - {"fused"}) | set(MODALITIES)
    if not names or names - set(MODALITIES):
        raise ValueError(f"no such view: {view!r}; a view is 'fused' or some of {MODALITIES}")
    return tuple(name for name in MODALITIES if name in names)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """What the encoders made of N records.

    Attributes:
        values: modality -> float32 (N, D_m); rows of an absent modality hold anything and are never read.
        present: bool (N, M).
        captions: float32 (C, D_text), the other wordings of all records in turn.
        offsets: int64 (N + 1,); record n has captions offsets[n] … offsets[n + 1] - 1.
    """

    values: Mapping[Modality, np.ndarray]
    present: np.ndarray
    captions: np.ndarray
    offsets: np.ndarray

    def __post_init__(self) -> None:
        rows = len(self.present)
        if self.present.shape != (rows, len(MODALITIES)) or set(self.values) != set(MODALITIES):
            raise ValueError(f"features need values of {MODALITIES} and present as (N, {len(MODALITIES)})")
        if any(len(values) != rows for values in self.values.values()) or self.offsets.shape != (rows + 1,):
            raise ValueError(f"values or offsets do not fit {rows} rows")
        if self.captions.shape != (self.offsets[-1], self.values["text"].shape[1]) or self.offsets[0] != 0:
            raise ValueError(f"captions {self.captions.shape} do not fit their offsets or the width of text")

    def __len__(self) -> int:
        return len(self.present)

    def take(self, rows: np.ndarray) -> Features:
        """Return the rows of the given positions, with their captions."""
        rows = np.asarray(rows, dtype=np.int64)
        counts = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        captions = np.repeat(self.offsets[rows] - offsets[:-1], counts) + np.arange(offsets[-1])
        return Features(
            values={name: values[rows] for name, values in self.values.items()},
            present=self.present[rows],
            captions=self.captions[captions],
            offsets=offsets,
        )

    @staticmethod
    def none(dimensions: Mapping[Modality, int]) -> Features:
        """Return no rows; `dimensions` are the values of a feature vector."""
        values = {name: np.zeros((0, dimensions[name]), np.float32) for name in MODALITIES}
        present, offsets = np.zeros((0, len(MODALITIES)), bool), np.zeros(1, np.int64)
        return Features(values=values, present=present, captions=values["text"], offsets=offsets)

    @staticmethod
    def concat(parts: Sequence[Features]) -> Features:
        """Return all rows of the parts in turn.

        Raises:
            ValueError: there is no part.
        """
        if not parts:
            raise ValueError("nothing to concatenate")
        counts = [np.diff(part.offsets) for part in parts]
        return Features(
            values={name: np.concatenate([part.values[name] for part in parts]) for name in MODALITIES},
            present=np.concatenate([part.present for part in parts]),
            captions=np.concatenate([part.captions for part in parts]),
            offsets=np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64),
        )


def present_of(features: Features, view: View) -> np.ndarray:
    """Return which modalities of a view each record has, bool (N, M). Raise ValueError where there is no such view."""
    names = view_modalities(view)
    return features.present & np.array([name in names for name in MODALITIES])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """One mixed gallery: each record once, in the view `gallery_BM`, asked for from every source disjoint from it.

    Attributes:
        gallery_BM: bool, modalities of the view in which the record is found; none where it cannot be asked for.
        asked_MB: bool, whether a query is made from the record's modality m. A text query beside a gallery view that
            holds text must be made from another wording.
    """

    gallery_BM: np.ndarray
    asked_MB: np.ndarray


def can_pair(present_BM: np.ndarray, wordings_B: np.ndarray) -> np.ndarray:
    """Return which records have two disjoint views, bool (B,): two modalities, or two wordings of its text."""
    return (present_BM.sum(axis=1) > 1) | (wordings_B > 1)


def draw_views(present_BM: np.ndarray, wordings_B: np.ndarray, rng: np.random.Generator) -> Drawn:
    """Draw the view of each record from those that leave a disjoint source to ask from, single modalities more often.

    Args:
        present_BM: bool, which modalities each record has.
        wordings_B: int, number of wordings of its text (text and captions).
        rng: of the epoch; one number a record is taken.
    """
    several_B1 = (wordings_B > 1)[:, None]
    sources_BSM = present_BM[:, None, :] & ~_SUBSETS_SM
    sources_BSM[:, :, TEXT] |= several_B1
    able_BS = (present_BM[:, None, :] >= _SUBSETS_SM).all(axis=2) & sources_BSM.any(axis=2)
    weights_BS = np.cumsum(able_BS * _OFTEN_S, axis=1)
    wanted_B = np.floor(rng.random(len(weights_BS)) * weights_BS[:, -1]) + 1
    chosen_B = (weights_BS >= wanted_B[:, None]).argmax(axis=1)
    able_B1 = weights_BS[:, -1:] > 0
    return Drawn(
        gallery_BM=_SUBSETS_SM[chosen_B] & able_B1,
        asked_MB=(sources_BSM[np.arange(len(chosen_B)), chosen_B] & able_B1).T,
    )
