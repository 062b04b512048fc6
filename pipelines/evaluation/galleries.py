"""Held-out records as embedded queries and galleries, and which form of a record may answer which query.

A form is a non-empty set of modalities, written `text+image`. A query may only be answered by a form that does not
hold what the query was made from: a picture's own form does not answer the picture; the text form
answers a text query only where the query is another caption of the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

MODALITIES = ("text", "image", "audio")
FORMS = tuple("+".join(form) for size in (1, 2, 3) for form in combinations(MODALITIES, size))


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """N held-out records in one space of D dimensions; all vectors float32 and L2-normalised.

    Attributes:
        keys: the records' keys, unique.
        text_ids: int (N,), equal where the normalised texts are equal, -1 where there is no text. Records of equal
            text are relevant to each other.
        present: bool (N, 3), which of `MODALITIES` a record has. Rows of absent modalities are ignored everywhere.
        queries: modality -> (N, D). The text query is another caption where there is one, else the text itself.
        other_caption: bool (N,), where the text query is another caption than the text in the gallery.
        gallery: form -> (N, D), for every form that some record has.
        captions: (C, D), further texts of the records (neither `gallery['text']` nor the query), for `all_views`.
        caption_rows: int (C,), the record each belongs to.

    Raises:
        ValueError: shapes or keys contradict each other, or a form is missing or unknown.
    """

    keys: tuple[str, ...]
    text_ids: np.ndarray
    present: np.ndarray
    queries: Mapping[str, np.ndarray]
    other_caption: np.ndarray
    gallery: Mapping[str, np.ndarray]
    captions: np.ndarray | None = None
    caption_rows: np.ndarray | None = None

    def __post_init__(self) -> None:
        rows = len(self.keys)
        if len(set(self.keys)) != rows:
            raise ValueError("held-out keys are not unique")
        shapes = {"text_ids": (rows,), "present": (rows, len(MODALITIES)), "other_caption": (rows,)}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {shape}")
        if unknown := (set(self.queries) - set(MODALITIES)) | (set(self.gallery) - set(FORMS)):
            raise ValueError(f"unknown modality or form: {sorted(unknown)}")
        matrices = [*self.queries.values(), *self.gallery.values()]
        if len({matrix.shape for matrix in matrices}) > 1 or any(len(matrix) != rows for matrix in matrices):
            raise ValueError(f"queries and galleries are not all ({rows}, D)")
        if (self.captions is None) != (self.caption_rows is None):
            raise ValueError("captions and caption_rows come together")
        for form in FORMS:
            if self.has(form).any() and (form not in self.gallery or ("+" not in form and form not in self.queries)):
                raise ValueError(f"some record has the form {form!r}, but it was not embedded")

    def has(self, form: str) -> np.ndarray:
        """Which records have every modality of a form: bool (N,)."""
        return np.asarray(self.present[:, [MODALITIES.index(name) for name in form.split("+")]].all(axis=1))

    def disjoint(self, query: str) -> np.ndarray:
        """Modalities of each record that may answer a query of this modality: bool (N, 3)."""
        allowed = self.present.copy()
        source = MODALITIES.index(query)
        allowed[:, source] &= self.other_caption if query == "text" else False
        return allowed

    def answers(self, query: str, form: str) -> np.ndarray:
        """Which records may answer a query of this modality in this form: bool (N,)."""
        return np.asarray(self.disjoint(query)[:, [MODALITIES.index(name) for name in form.split("+")]].all(axis=1))

    def places(self) -> np.ndarray:
        """Each record's place in the order of the keys, int (N,): the same number in whatever order they come."""
        places = np.empty(len(self.keys), dtype=np.int64)
        places[np.argsort(np.array(self.keys, dtype=object), kind="stable")] = np.arange(len(self.keys))
        return places

    def take(self, rows: np.ndarray) -> HeldOut:
        """The records at these positions, with their captions."""
        new = np.full(len(self.keys), -1)
        new[rows] = np.arange(len(rows))
        captions = caption_rows = None
        if self.captions is not None and self.caption_rows is not None:
            kept = new[self.caption_rows] >= 0
            captions, caption_rows = self.captions[kept], new[self.caption_rows[kept]]
        return HeldOut(
            keys=tuple(self.keys[row] for row in rows),
            text_ids=self.text_ids[rows],
            present=self.present[rows],
            queries={name: vectors[rows] for name, vectors in self.queries.items()},
            other_caption=self.other_caption[rows],
            gallery={form: vectors[rows] for form, vectors in self.gallery.items()},
            captions=captions,
            caption_rows=caption_rows,
        )

    def labels(self) -> np.ndarray:
        """Small ints (N,): equal where records are relevant to each other."""
        _, numbers = np.unique(self.text_ids, return_inverse=True)
        rows = np.arange(len(self.keys))
        return np.where(self.text_ids < 0, len(rows) + rows, numbers)
