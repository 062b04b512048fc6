"""Held-out records, of validation or test, as the queries and galleries that a model makes of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from trichord.encoders.views import Features
from trichord.infra import digest
from trichord.pipelines.evaluation.galleries import FORMS, MODALITIES, HeldOut
from trichord.pipelines.evaluation.kept_views import join_views, no_views

if TYPE_CHECKING:
    from trichord.encoders.model import FusionModel

K = 10  # depth of every measure, in the names of the figures too
PASS_ROWS = 256  # that are embedded together


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
        return cls(keys=tuple(keys), text_ids=_number(ids), features=Features.concat(found))

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


def embed_rows(
    parts: Iterator[tuple[pa.Table, Features]],
    model: FusionModel,
    folder: str,
    limit: int | None,
    kept: HeldOut | None = None,
) -> HeldOut | None:
    """Embed rows pass by pass, the first `limit` of them; None where there are none.

    Vectors are in files in `folder`, so that memory holds one pass and what a measure looks at, however many rows
    there are.

    Args:
        parts: rows, and the features of those among them that are not kept.
        model: embeds these.
        folder: for the files.
        limit: of the rows; None for all.
        kept: rows that the model has embedded before, row digests in place of keys; none by default.
    """
    files: dict[str, _VectorFile] = {}
    keys: list[str] = []
    ids, present, other, caption_rows = [], [], [], [np.zeros(0, np.int64)]
    known = _Known(kept if kept is not None else no_views(model.dimension))
    for rows, features in _cut_passes(parts, known, limit):
        views = known.views(rows, features, model)
        assert views.captions is not None
        assert views.caption_rows is not None
        columns = {f"query-{name}": vectors for name, vectors in views.queries.items()}
        columns |= {f"gallery-{form}": vectors for form, vectors in views.gallery.items()}
        for name, vectors in (columns | {"captions": views.captions}).items():
            files.setdefault(name, _VectorFile(os.path.join(folder, name), vectors.shape[1])).add(vectors)
        ids.append(views.text_ids)
        present.append(views.present)
        other.append(views.other_caption)
        caption_rows.append(views.caption_rows + len(keys))
        keys += views.keys
    if not keys:
        return None
    vectors_of = {name: file.read() for name, file in files.items()}
    return HeldOut(
        keys=tuple(keys),
        text_ids=_number(ids),
        present=np.concatenate(present),
        queries={name: vectors_of[f"query-{name}"] for name in MODALITIES},
        other_caption=np.concatenate(other),
        gallery={form: vectors_of[f"gallery-{form}"] for form in FORMS},
        captions=vectors_of["captions"],
        caption_rows=np.concatenate(caption_rows),
    )


class _Known:
    """Rows that were embedded before."""

    def __init__(self, kept: HeldOut) -> None:
        self._kept = kept
        self._place = {row_digest: place for place, row_digest in enumerate(kept.keys)}

    def places(self, rows: pa.Table) -> np.ndarray:
        """Return the place of each row (column `row_digest`) among those kept, int (N,); -1 where it is not kept."""
        if not self._place:
            return np.full(rows.num_rows, -1)
        return np.array([self._place.get(name, -1) for name in rows["row_digest"].to_pylist()], dtype=np.int64)

    def views(self, rows: pa.Table, features: Features, model: FusionModel) -> HeldOut:
        """Embed the rows that are not kept, of which `features` are, and put the others between."""
        places, keys, ids = self.places(rows), tuple(rows["key"].to_pylist()), text_ids(rows)
        new = places < 0
        fresh = no_views(model.dimension)
        if new.any():
            names = tuple(key for key, chosen in zip(keys, new, strict=True) if chosen)
            fresh = HeldOutRows(keys=names, text_ids=ids[new], features=features).views(model)
        if new.all():
            return fresh
        used = self._kept.take(places[~new])
        order = np.empty(len(keys), dtype=np.int64)
        order[~new], order[new] = np.arange(len(used.keys)), len(used.keys) + np.arange(len(fresh.keys))
        return join_views(used, fresh, order, keys, ids)


def _cut_passes(
    parts: Iterator[tuple[pa.Table, Features]], known: _Known, limit: int | None
) -> Iterator[tuple[pa.Table, Features]]:
    """Yield the first `limit` rows in passes of as many as a model embeds at once: it fills up smaller ones."""
    held: list[tuple[pa.Table, Features]] = []
    waiting = yielded = 0
    for part in parts:
        held.append(part)
        waiting += part[0].num_rows
        while waiting >= PASS_ROWS or (limit is not None and yielded + waiting >= limit):
            room = PASS_ROWS if limit is None else min(PASS_ROWS, limit - yielded)
            found, rest = _split(held, known, room)
            yield found
            yielded += room
            if yielded == limit:
                return
            held, waiting = [rest], rest[0].num_rows
    if waiting:
        yield _split(held, known, waiting)[0]


def _split(
    parts: Sequence[tuple[pa.Table, Features]], known: _Known, count: int
) -> tuple[tuple[pa.Table, Features], tuple[pa.Table, Features]]:
    """Return the first `count` rows of some parts, and the others."""
    rows, features = pa.concat_tables([part for part, _ in parts]), Features.concat([part for _, part in parts])
    new = int((known.places(rows.slice(0, count)) < 0).sum())
    first, rest = np.arange(new), np.arange(new, len(features))
    return (rows.slice(0, count), features.take(first)), (rows.slice(count), features.take(rest))


def _number(ids: list[np.ndarray]) -> np.ndarray:
    """Return small numbers, by which measures count, for ids (N,); -1 stays."""
    every = np.concatenate(ids)
    return np.where(every < 0, -1, np.unique(every, return_inverse=True)[1])


@dataclass
class _VectorFile:
    """Vectors, float32, of one dimension, appended to a file and then read from it."""

    path: str
    dimension: int
    rows: int = 0

    def add(self, vectors_ND: np.ndarray) -> None:
        with open(self.path, "ab") as file:
            file.write(np.ascontiguousarray(vectors_ND, np.float32).data)
        self.rows += len(vectors_ND)

    def read(self) -> np.ndarray:
        if not self.rows:
            return np.zeros((0, self.dimension), np.float32)
        return np.memmap(self.path, np.float32, "r", shape=(self.rows, self.dimension))
