"""Retrieval between and across modalities: the query-by-gallery matrix and the mixed galleries.

In the `mixed` gallery (after MixBench, arXiv 2507.19054) each record appears once, in a form drawn from those that may
answer the query. In `all_views` every picture, sound and text is an item of its own, so a text must find its picture
among all texts. Recall by chance is k / G in a gallery of G items, whatever is relevant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from trichord.infra.digest import generator
from trichord.pipelines.evaluation.all_views import ask_all_views
from trichord.pipelines.evaluation.figures import mean, ratio
from trichord.pipelines.evaluation.galleries import FORMS, MODALITIES, HeldOut
from trichord.pipelines.evaluation.intervals import Bootstrap, Interval, means
from trichord.pipelines.evaluation.ranking import Ranked, names, rank
from trichord.pipelines.evaluation.report import Cell, Evaluation, MixedReport, Share

GALLERIES = (*MODALITIES, "fused")


def evaluate(held_out: HeldOut, k: int, seed: int, bootstrap: Bootstrap | None = None) -> Evaluation:
    """Measure retrieval.

    Args:
        held_out: the records.
        k: depth of all measures.
        seed: of the drawn forms; a record's form depends on seed and key alone.
        bootstrap: of the confidence intervals; None for no intervals.

    Raises:
        ValueError: k is below 1.
    """
    drawn = draw_numbers(held_out, seed)
    parts = {query: ask_mixed(held_out, query, k, drawn) for query in MODALITIES}
    return Evaluation(
        k=k,
        records=len(held_out.keys),
        cells={
            query: {gallery: _measure_cell(held_out, query, gallery, k, bootstrap) for gallery in GALLERIES}
            for query in MODALITIES
        },
        mixed=_report_mixed(list(parts.values()), k, bootstrap, "mixed"),
        mixed_by_query={query: _report_mixed([part], k, bootstrap, "mixed", query) for query, part in parts.items()},
        all_views={query: ask_all_views(held_out, query, k, bootstrap) for query in MODALITIES},
    )


def mixed_score(held_out: HeldOut, k: int, seed: int) -> float:
    """Return the mean NDCG@k of all queries in the mixed gallery, by which training stops; 0.0 without queries."""
    drawn = draw_numbers(held_out, seed)
    ranked = [part.ranked.ndcg() for query in MODALITIES if (part := ask_mixed(held_out, query, k, drawn, own=False))]
    return float(np.concatenate(ranked).mean()) if ranked else 0.0


def _measure_cell(held_out: HeldOut, query: str, gallery: str, k: int, bootstrap: Bootstrap | None) -> Cell:
    labels = held_out.labels()
    if gallery == "fused":
        forms = find_forms(held_out.disjoint(query))
        present_N = forms >= 0
    else:
        present_N = held_out.has(gallery)
        forms = np.where(present_N, FORMS.index(gallery), -1)
    asking = held_out.has(query) & (present_N if gallery == "fused" else held_out.answers(query, gallery))
    items = np.flatnonzero(present_N)
    if not asking.any():
        nothing: Mapping[str, None] = dict.fromkeys(names(k))
        return Cell(measures=nothing, chance=None, queries=0, gallery=len(items), intervals=nothing)
    ranked = rank(held_out.queries[query][asking], labels[asking], stack(held_out, items, forms), labels[items], k)
    measured = ranked.measures()
    records_N = held_out.places()[asking]
    return Cell(
        measures={name: mean(values) for name, values in measured.items()},
        chance=round(min(1.0, k / len(items)), 6),
        queries=int(asking.sum()),
        gallery=len(items),
        intervals=bootstrap.intervals(means(measured), records_N, query, gallery) if bootstrap is not None else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedGallery:
    """The mixed gallery as one query modality saw it; forms are places in `FORMS`."""

    ranked: Ranked
    records_N: np.ndarray  # who asks, by its place in the order of the keys
    gallery: int
    own_forms_N: np.ndarray  # the form of each query's own record
    item_forms_G: np.ndarray
    truth_F: np.ndarray  # relevant items by form, over all queries
    alone_N: np.ndarray  # recall of each query in a gallery of its record's form alone


def ask_mixed(held_out: HeldOut, query: str, k: int, drawn_N3: np.ndarray, *, own: bool = True) -> MixedGallery | None:
    """Ask the mixed gallery; None where nothing can be asked. Without `own`, `truth_F` and `alone_N` stay zeros."""
    forms = draw_forms(held_out, query, drawn_N3[:, MODALITIES.index(query)])
    asking = held_out.has(query) & (forms >= 0)
    if not asking.any():
        return None
    labels, items = held_out.labels(), np.flatnonzero(forms >= 0)
    vectors = held_out.queries[query]
    ranked = rank(vectors[asking], labels[asking], stack(held_out, items, forms), labels[items], k)
    alone = np.zeros(len(labels))
    truth: np.ndarray = np.zeros(len(FORMS))
    if own:
        for form in np.unique(forms[asking]):
            asked, among = asking & (forms == form), np.flatnonzero(held_out.answers(query, FORMS[form]))
            gallery = held_out.gallery[FORMS[form]][among]
            alone[asked] = rank(vectors[asked], labels[asked], gallery, labels[among], k).recall()
        asked_by_label = np.bincount(labels[asking], minlength=labels.max() + 1)
        truth = np.bincount(forms[items], weights=asked_by_label[labels[items]], minlength=len(FORMS))
    return MixedGallery(
        ranked=ranked,
        records_N=held_out.places()[asking],
        gallery=len(items),
        own_forms_N=forms[asking],
        item_forms_G=forms[items],
        truth_F=truth,
        alone_N=alone[asking],
    )


def _report_mixed(parts: list[MixedGallery | None], k: int, bootstrap: Bootstrap | None, *name: str) -> MixedReport:
    real = [part for part in parts if part is not None]
    if not real:
        return MixedReport(
            measures=dict.fromkeys(names(k)),
            chance=None,
            queries=0,
            retention={},
            retention_overall=None,
            share={},
            intervals=None if bootstrap is None else dict.fromkeys((*names(k), "retention_overall")),
        )
    every = [part.ranked.measures() for part in real]
    measured = {name: np.concatenate([values[name] for values in every]) for name in names(k)}
    recall = measured[f"recall_at_{k}"]
    alone = np.concatenate([part.alone_N for part in real])
    own = np.concatenate([part.own_forms_N for part in real])
    chance = np.concatenate([np.full(len(part.own_forms_N), min(1.0, k / part.gallery)) for part in real])
    top = np.zeros(len(FORMS))
    for part in real:
        top += np.bincount(part.item_forms_G[part.ranked.items_NK].ravel(), minlength=len(FORMS))
    truth = np.sum([part.truth_F for part in real], axis=0)
    kept = {FORMS[form]: (recall * (own == form), alone * (own == form)) for form in np.unique(own)}
    ends: Mapping[str, Interval] | None = None
    if bootstrap is not None:
        records = np.concatenate([part.records_N for part in real])
        sums = {**means(measured), "retention_overall": (recall, alone)}
        ends = bootstrap.intervals(sums | kept, records, *name)
    return MixedReport(
        measures={name: mean(values) for name, values in measured.items()},
        chance=mean(chance),
        queries=len(recall),
        retention={form: ratio(found.sum(), among.sum()) for form, (found, among) in kept.items()},
        retention_overall=ratio(recall.sum(), alone.sum()),
        share={
            form: Share(top=ratio(top[i], top.sum()), truth=ratio(truth[i], truth.sum()))
            for i, form in enumerate(FORMS)
            if top[i] or truth[i]
        },
        intervals=None if ends is None else {name: end for name, end in ends.items() if name not in kept},
        retention_intervals=None if ends is None else {form: ends[form] for form in kept},
    )


def draw_numbers(held_out: HeldOut, seed: int) -> np.ndarray:
    """Draw a number in [0, 1) for every record and query modality, by seed and key alone: (N, 3)."""
    return _draw_numbers(held_out.keys, seed)


@lru_cache(maxsize=2)  # training asks after each epoch, and a generator for every key costs more than the search
def _draw_numbers(keys: tuple[str, ...], seed: int) -> np.ndarray:
    drawn = np.array([generator(seed, "mixed", key).random(len(MODALITIES)) for key in keys]).reshape(-1, 3)
    drawn.flags.writeable = False
    return drawn


def draw_forms(held_out: HeldOut, query: str, drawn_N: np.ndarray) -> np.ndarray:
    """Draw a form for every record from those that may answer the query, equally likely: int (N,), -1 for none."""
    able_NF = np.stack([held_out.answers(query, form) for form in FORMS], axis=1)
    counts_N = able_NF.sum(axis=1)
    wanted_N = np.floor(drawn_N * counts_N).astype(int) + 1
    return np.where(counts_N > 0, (np.cumsum(able_NF, axis=1) >= wanted_N[:, None]).argmax(axis=1), -1)


def find_forms(modalities_N3: np.ndarray) -> np.ndarray:
    """Return the form of all modalities in each row: int (N,), -1 for none."""
    table = {frozenset(form.split("+")): place for place, form in enumerate(FORMS)}
    codes = {sum(2**i for i, name in enumerate(MODALITIES) if name in form): place for form, place in table.items()}
    return np.array([-1, *(codes[code] for code in range(1, 8))])[modalities_N3 @ np.array([1, 2, 4])]


def stack(held_out: HeldOut, items: np.ndarray, forms: np.ndarray) -> np.ndarray:
    """Stack the gallery vectors of the records `items`, each in its form."""
    gallery = np.empty((len(items), next(iter(held_out.gallery.values())).shape[1]), dtype=np.float32)
    for form in np.unique(forms[items]):
        chosen = forms[items] == form
        gallery[chosen] = held_out.gallery[FORMS[form]][items[chosen]]
    return gallery
