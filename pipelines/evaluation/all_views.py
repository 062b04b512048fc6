"""The gallery of all views: every picture, sound and text is an item, so a text must find its picture among texts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trichord.pipelines.evaluation.figures import mean, ratio
from trichord.pipelines.evaluation.galleries import MODALITIES, HeldOut
from trichord.pipelines.evaluation.intervals import Bootstrap
from trichord.pipelines.evaluation.outcomes import Gathering
from trichord.pipelines.evaluation.ranking import rank
from trichord.pipelines.evaluation.report import AllViewsReport, Share


def ask_all_views(
    held_out: HeldOut, query: str, k: int, bootstrap: Bootstrap | None = None, gathering: Gathering | None = None
) -> AllViewsReport | None:
    """Ask a gallery of single items; None where nothing can be asked.

    A query's own source is not in its gallery; other items of its kind are.
    """
    labels = held_out.labels()
    asking = np.flatnonzero(held_out.has(query) & held_out.disjoint(query).any(axis=1))
    if not len(asking):
        return None
    vectors, rows, kinds = (np.concatenate(part) for part in zip(*split_items(held_out), strict=True))
    source = MODALITIES.index(query)
    excluded = find_hidden(held_out, query, asking)
    ranked = rank(held_out.queries[query][asking], labels[asking], vectors, labels[rows], k, excluded_N=excluded)
    shown = ranked.items_NK >= 0
    recall: dict[str, float | None] = {}
    sums: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    top: dict[str, float | None] = {}
    relevant_of: dict[str, np.ndarray] = {}
    for kind, target in enumerate(MODALITIES):
        of_kind = kinds[ranked.items_NK] == kind
        by_label = np.bincount(labels[rows[kinds == kind]], minlength=labels.max() + 1)
        relevant_of[target] = by_label[labels[asking]] - (excluded >= 0 if kind == source else 0)
        able = held_out.answers(query, target)[asking]
        found = (ranked.relevant_NK & of_kind).sum(axis=1)
        found_share = np.divide(found, relevant_of[target], out=np.zeros(len(asking)), where=able)
        sums[target] = found_share, able.astype(float)
        recall[target] = mean(found_share[able]) if able.any() else None
        top[target] = ratio((of_kind & shown).sum(), shown.sum())
    every = sum(values.sum() for values in relevant_of.values())
    places_N = held_out.places()[asking]
    if gathering is not None:
        known = {target: pair for target, pair in sums.items() if recall[target] is not None}
        gathering.add(f"all_views.{query}.recall_at_{k}", known, places_N)
    return AllViewsReport(
        gallery=len(rows),
        queries=len(asking),
        recall=recall,
        chance=round(min(1.0, k / len(rows)), 6),
        share={
            target: Share(top=top[target], truth=ratio(values.sum(), every)) for target, values in relevant_of.items()
        },
        intervals=None if bootstrap is None else bootstrap.intervals(sums, places_N, "all_views", query),
    )


def find_hidden(held_out: HeldOut, query: str, asking: np.ndarray) -> np.ndarray:
    """Return the place in `split_items` of what each query was made from and must not find; -1 where it is absent."""
    source = MODALITIES.index(query)
    own_item = held_out.present[:, :source].sum() + np.cumsum(held_out.present[:, source]) - 1
    seen = held_out.other_caption[asking] if query == "text" else np.zeros(len(asking), bool)
    return np.where(seen, -1, own_item[asking])


def split_items(held_out: HeldOut) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (vectors, records, kinds) of all texts, all images, all audios, then the further captions."""
    for kind, name in enumerate(MODALITIES):
        rows = np.flatnonzero(held_out.present[:, kind])
        if len(rows):
            yield held_out.gallery[name][rows], rows, np.full(len(rows), kind)
    if held_out.captions is not None and held_out.caption_rows is not None:
        yield held_out.captions, held_out.caption_rows, np.zeros(len(held_out.caption_rows), int)
