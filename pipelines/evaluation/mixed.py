"""The mixed gallery (after MixBench, arXiv 2507.19054): each record once, in a form drawn from those that may answer.

One draw is one gallery among many, so the figures are over several draws together, with the spread from draw to draw.
Shape letters: N records (or those that ask), F forms, D draws, G gallery items, K places, B queries of a block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

from trichord.index_builders.exact import top_k
from trichord.infra.digest import generator
from trichord.pipelines.evaluation.figures import PLACES, mean, ratio
from trichord.pipelines.evaluation.galleries import FORMS, MODALITIES, HeldOut
from trichord.pipelines.evaluation.intervals import Bootstrap, Interval, Sums, means
from trichord.pipelines.evaluation.ranking import Ranked, names, rank
from trichord.pipelines.evaluation.report import MixedReport, Share

DRAWS = 8
SCORES_A_TIME = 2**22  # float32, of a block of queries with every record in every form
RETENTION = "retention."  # before the form, in names of sums
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedGallery:
    """One draw of the mixed gallery as one query modality saw it; forms are places in `FORMS`."""

    ranked: Ranked
    records_N: np.ndarray  # who asks, by its place in the order of the keys
    gallery: int
    own_forms_N: np.ndarray  # the form of each query's own record
    item_forms_G: np.ndarray
    truth_F: np.ndarray  # relevant items by form, over all queries
    alone_N: np.ndarray  # recall of each query in a gallery of its record's form alone


def ask_mixed(held_out: HeldOut, query: str, k: int, drawn_N3: np.ndarray, *, own: bool = True) -> MixedGallery | None:
    """Ask one draw; None where nothing can be asked. Without `own`, `truth_F` and `alone_N` stay zeros."""
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
        truth = _count_truth(labels, asking, items, forms)
    return MixedGallery(
        ranked=ranked,
        records_N=held_out.places()[asking],
        gallery=len(items),
        own_forms_N=forms[asking],
        item_forms_G=forms[items],
        truth_F=truth,
        alone_N=alone[asking],
    )


def ask_draws(held_out: HeldOut, query: str, k: int, drawn_DN3: np.ndarray) -> list[MixedGallery]:
    """Ask every draw, as `ask_mixed` asks one; none where nothing can be asked.

    Every query is compared once with every record in every form; a draw selects from these scores.
    """
    forms_DN = np.stack([draw_forms(held_out, query, drawn[:, MODALITIES.index(query)]) for drawn in drawn_DN3])
    items = np.flatnonzero(forms_DN[0] >= 0)  # the same in every draw
    asking = held_out.has(query) & (forms_DN[0] >= 0)
    asked = np.flatnonzero(asking)
    if not len(asked):
        return []
    labels = held_out.labels()
    able_GF = np.stack([held_out.answers(query, form)[items] for form in FORMS], axis=1)
    total = np.bincount(labels[items], minlength=labels.max() + 1)[labels[asked]]
    top_DNK = np.empty((len(drawn_DN3), len(asked), min(k, len(items))), dtype=np.int64)
    alone_NF = np.zeros((len(labels), len(FORMS)))
    rows_a_time = max(1, SCORES_A_TIME // (len(items) * len(FORMS)))
    for first in range(0, len(asked), rows_a_time):
        rows = asked[first : first + rows_a_time]
        scores_FGB = np.empty((len(FORMS), len(items), len(rows)), dtype=np.float32)
        for form in np.flatnonzero(able_GF.any(axis=0)):
            among = np.flatnonzero(able_GF[:, form])
            scores = held_out.queries[query][rows] @ held_out.gallery[FORMS[form]][items[among]].T
            scores_FGB[form, among] = scores.T
            alone_NF[rows, form] = _recall(scores, labels[rows], labels[items[among]], k)
        for draw, forms in enumerate(forms_DN):
            scores = np.ascontiguousarray(scores_FGB[forms[items], np.arange(len(items))].T)
            top_DNK[draw, first : first + len(rows)] = top_k(scores, k)[0]
    places = held_out.places()[asking]
    return [
        MixedGallery(
            ranked=Ranked(
                items_NK=top, relevant_NK=labels[items[top]] == labels[asked][:, None], total_N=total.copy(), k=k
            ),
            records_N=places,
            gallery=len(items),
            own_forms_N=forms[asking],
            item_forms_G=forms[items],
            truth_F=_count_truth(labels, asking, items, forms),
            alone_N=alone_NF[asked, forms[asked]],
        )
        for top, forms in zip(top_DNK, forms_DN, strict=True)
    ]


def _recall(scores_BG: np.ndarray, labels_B: np.ndarray, item_labels_G: np.ndarray, k: int) -> np.ndarray:
    """Return the recall of each query (B,), 0 where nothing is relevant."""
    found = (item_labels_G[top_k(scores_BG, k)[0]] == labels_B[:, None]).sum(axis=1)
    total = np.bincount(item_labels_G, minlength=labels_B.max() + 1)[labels_B]
    return np.asarray(found / np.maximum(1, total))


def _count_truth(labels: np.ndarray, asking: np.ndarray, items: np.ndarray, forms: np.ndarray) -> np.ndarray:
    asked_by_label = np.bincount(labels[asking], minlength=labels.max() + 1)
    return np.bincount(forms[items], weights=asked_by_label[labels[items]], minlength=len(FORMS))


def sum_up(galleries: Sequence[MixedGallery], k: int) -> tuple[Sums, np.ndarray]:
    """Return the figures of some draws and query modalities as sums by query, and the record of each query."""
    every = [part.ranked.measures() for part in galleries]
    measured = {name: np.concatenate([values[name] for values in every]) for name in names(k)}
    recall = measured[f"recall_at_{k}"]
    alone = np.concatenate([part.alone_N for part in galleries])
    own = np.concatenate([part.own_forms_N for part in galleries])
    kept = {f"{RETENTION}{FORMS[form]}": (recall * (own == form), alone * (own == form)) for form in np.unique(own)}
    sums = {**means(measured), "retention_overall": (recall, alone)} | kept
    return sums, np.concatenate([part.records_N for part in galleries])


def values_by_draw(parts: Sequence[Sequence[MixedGallery]], k: int) -> dict[str, np.ndarray]:
    """Return each figure in each draw alone, float64 (D,); NaN where a draw does not know it.

    Args:
        parts: of each query modality that asks, its draws.
        k: depth.
    """
    found: list[dict[str, float]] = []
    for draws in zip(*parts, strict=True):
        sums, _ = sum_up(draws, k)
        found.append({name: part.sum() / whole.sum() for name, (part, whole) in sums.items() if whole.sum()})
    known = dict.fromkeys(name for one in found for name in one)
    return {name: np.array([one.get(name, np.nan) for one in found]) for name in known}


def report_mixed(
    parts: Sequence[Sequence[MixedGallery]], draws: int, k: int, bootstrap: Bootstrap | None, *name: str
) -> MixedReport:
    """Report the draws of some query modalities together."""
    asked = [part for part in parts if part]
    if not asked:
        nothing = dict.fromkeys((*names(k), "retention_overall"))
        return MixedReport(
            measures=dict.fromkeys(names(k)),
            chance=None,
            queries=0,
            retention={},
            retention_overall=None,
            share={},
            intervals=None if bootstrap is None else nothing,
            draws=draws,
            spread=None if draws < 2 else nothing,
        )
    real = [gallery for part in asked for gallery in part]
    sums, records = sum_up(real, k)
    values = {figure: ratio(part.sum(), whole.sum()) for figure, (part, whole) in sums.items()}
    top = np.zeros(len(FORMS))
    for part in real:
        top += np.bincount(part.item_forms_G[part.ranked.items_NK].ravel(), minlength=len(FORMS))
    truth = np.sum([part.truth_F for part in real], axis=0)
    chance = np.concatenate([np.full(len(part.own_forms_N), min(1.0, k / part.gallery)) for part in real])
    ends: Mapping[str, Interval] | None = None
    if bootstrap is not None:
        ends = bootstrap.intervals(sums, records, *name)
    spread = None if draws < 2 else {figure: _spread(one) for figure, one in values_by_draw(asked, k).items()}
    return MixedReport(
        measures={figure: values[figure] for figure in names(k)},
        chance=mean(chance),
        queries=sum(len(part[0].own_forms_N) for part in asked),
        retention=_of_forms(values),
        retention_overall=values["retention_overall"],
        share={
            form: Share(top=ratio(top[i], top.sum()), truth=ratio(truth[i], truth.sum()))
            for i, form in enumerate(FORMS)
            if top[i] or truth[i]
        },
        intervals=None if ends is None else _without_forms(ends),
        retention_intervals=None if ends is None else _of_forms(ends),
        draws=draws,
        spread=None if spread is None else {"retention_overall": None} | _without_forms(spread),
        retention_spread=None if spread is None else dict.fromkeys(_of_forms(values)) | _of_forms(spread),
    )


def _spread(values_D: np.ndarray) -> float | None:
    known = values_D[~np.isnan(values_D)]
    return round(float(known.std(ddof=1)), PLACES) if len(known) > 1 else None


def _of_forms(figures: Mapping[str, T]) -> dict[str, T]:
    return {name.removeprefix(RETENTION): one for name, one in figures.items() if name.startswith(RETENTION)}


def _without_forms(figures: Mapping[str, T]) -> dict[str, T]:
    return {name: one for name, one in figures.items() if not name.startswith(RETENTION)}


def draw_numbers(held_out: HeldOut, seed: int) -> np.ndarray:
    """Draw a number in [0, 1) for every record and query modality, by seed and key alone: (N, 3)."""
    return np.asarray(_draw_numbers(held_out.keys, seed, 1)[0])


def draw_often(held_out: HeldOut, seed: int, draws: int) -> np.ndarray:
    """Draw such numbers several times: (D, N, 3). The first are those of `draw_numbers`."""
    return _draw_numbers(held_out.keys, seed, draws)


@lru_cache(maxsize=4)  # training asks after each epoch, and a generator for every key costs more than the search
def _draw_numbers(keys: tuple[str, ...], seed: int, draws: int) -> np.ndarray:
    shape = (draws, len(MODALITIES))
    drawn = np.array([generator(seed, "mixed", key).random(shape) for key in keys]).reshape(-1, *shape)
    drawn = np.ascontiguousarray(drawn.swapaxes(0, 1))
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
