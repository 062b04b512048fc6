"""What a model made of held-out records, kept in the lake by row digest, so that a gate embeds only those that changed.

A cache: what is missing or damaged is embedded again. Only strict numerics give the same bits in other company.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from trichord.infra import digest
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.sealed_tables import read_sealed, write_sealed
from trichord.pipelines.evaluation.galleries import FORMS, MODALITIES, HeldOut

FORMAT = 1
_VECTORS = pa.list_(pa.field("element", pa.float32(), nullable=False))
_SCHEMA = pa.schema(
    [
        ("row_digest", pa.string()),
        ("present", pa.uint8()),  # a bit a modality
        ("other_caption", pa.bool_()),
        ("vectors", _VECTORS),  # the text query, then all forms, end to end
        ("captions", _VECTORS),  # the further ones, end to end
    ]
)
_BITS = 1 << np.arange(len(MODALITIES), dtype=np.uint8)


def views_path(fingerprint: str) -> str:
    """Return the lake-relative path of what is kept of a model."""
    return layout.held_out_path(digest.address("held-out", FORMAT, fingerprint))


def no_views(dimension: int) -> HeldOut:
    """Return no records at all."""
    nothing = np.zeros((0, dimension), np.float32)
    return HeldOut(
        keys=(),
        text_ids=np.zeros(0, np.int64),
        present=np.zeros((0, len(MODALITIES)), bool),
        queries=dict.fromkeys(MODALITIES, nothing),
        other_caption=np.zeros(0, bool),
        gallery=dict.fromkeys(FORMS, nothing),
        captions=nothing,
        caption_rows=np.zeros(0, np.int64),
    )


def read_views(lake: Lake, fingerprint: str, dimension: int) -> HeldOut:
    """Return the kept records of a model of this fingerprint, row digests in place of keys; texts are not numbered."""
    found = read_sealed(lake, views_path(fingerprint))
    if found is None or not found.schema.equals(_SCHEMA):
        return no_views(dimension)
    columns = {name: found[name].combine_chunks() for name in _SCHEMA.names}
    rows, width = len(found), 1 + len(FORMS)
    vectors = columns["vectors"].flatten().to_numpy(zero_copy_only=False)
    captions = columns["captions"].flatten().to_numpy(zero_copy_only=False)
    counts = np.diff(columns["captions"].offsets.to_numpy()) // dimension
    if vectors.size != rows * width * dimension or captions.size != counts.sum() * dimension:
        return no_views(dimension)
    vectors_NWD = vectors.reshape(rows, width, dimension)
    gallery = {form: vectors_NWD[:, 1 + place] for place, form in enumerate(FORMS)}
    return HeldOut(
        keys=tuple(columns["row_digest"].to_pylist()),
        text_ids=np.zeros(rows, np.int64),
        present=(columns["present"].to_numpy()[:, None] & _BITS) > 0,
        queries={name: vectors_NWD[:, 0] if name == "text" else gallery[name] for name in MODALITIES},
        other_caption=columns["other_caption"].to_numpy(zero_copy_only=False),
        gallery=gallery,
        captions=captions.reshape(-1, dimension),
        caption_rows=np.repeat(np.arange(rows), counts),
    )


def keep_views(lake: Lake, fingerprint: str, row_digests: Sequence[str], held: HeldOut) -> None:
    """Keep what a model made of these records, and of no others."""
    assert held.captions is not None
    assert held.caption_rows is not None
    vectors_NWD = np.stack([held.queries["text"], *(held.gallery[form] for form in FORMS)], axis=1)
    columns = [
        pa.array(row_digests, pa.string()),
        pa.array((held.present * _BITS).sum(axis=1).astype(np.uint8)),
        pa.array(held.other_caption),
        _lists(vectors_NWD, np.ones(len(row_digests), np.int64) * vectors_NWD[0].size),
        _lists(held.captions, np.bincount(held.caption_rows, minlength=len(row_digests)) * held.captions.shape[1]),
    ]
    write_sealed(lake, views_path(fingerprint), pa.table(columns, schema=_SCHEMA))


def _lists(values: np.ndarray, lengths_N: np.ndarray) -> pa.Array:
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths_N)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(values).ravel()), type=_VECTORS)


def join_views(kept: HeldOut, new: HeldOut, order_N: np.ndarray, keys: Sequence[str], text_ids: np.ndarray) -> HeldOut:
    """Put records of two sets in one order.

    Args:
        kept: some records.
        new: others.
        order_N: their places, those of `new` counted on from those of `kept`.
        keys: of the records in this order.
        text_ids: the same.
    """
    both = _concatenate(kept, new).take(order_N)
    assert both.captions is not None
    assert both.caption_rows is not None
    by_row = np.argsort(both.caption_rows, kind="stable")
    return replace(
        both,
        keys=tuple(keys),
        text_ids=text_ids,
        captions=both.captions[by_row],
        caption_rows=both.caption_rows[by_row],
    )


def _concatenate(one: HeldOut, other: HeldOut) -> HeldOut:
    assert one.captions is not None and other.captions is not None  # noqa: PT018
    assert one.caption_rows is not None and other.caption_rows is not None  # noqa: PT018
    return HeldOut(
        keys=tuple(map(str, range(len(one.keys) + len(other.keys)))),
        text_ids=np.concatenate([one.text_ids, other.text_ids]),
        present=np.concatenate([one.present, other.present]),
        queries={name: np.concatenate([one.queries[name], other.queries[name]]) for name in MODALITIES},
        other_caption=np.concatenate([one.other_caption, other.other_caption]),
        gallery={form: np.concatenate([one.gallery[form], other.gallery[form]]) for form in FORMS},
        captions=np.concatenate([one.captions, other.captions]),
        caption_rows=np.concatenate([one.caption_rows, other.caption_rows + len(one.keys)]),
    )
