"""Retrieval between and across modalities: the query-by-gallery matrix and the mixed galleries.

In the `mixed` gallery (after MixBench, arXiv 2507.19054) each record stands once, in a form drawn from those that may
answer the query. In `all_views` every picture, sound and text stands by itself, so a text must find its picture
among all texts. Recall by chance is k / G in a gallery of G items, whatever is relevant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from trichord.infra.digest import generator
from trichord.pipelines.evaluation.all_views import all_views
from trichord.pipelines.evaluation.figures import mean, ratio
from trichord.pipelines.evaluation.galleries import FORMS, MODALITIES, HeldOut
from trichord.pipelines.evaluation.intervals import Bootstrap, Interval, Sums, means
from trichord.pipelines.evaluation.ranking import Ranked, names, rank

GALLERIES = (*MODALITIES, "fused")


def evaluate(held_out: HeldOut, k: int, seed: int, bootstrap: Bootstrap | None = None) -> dict[str, Any]:
    """Measure retrieval.

    Args:
        held_out: the records.
        k: depth of all measures.
        seed: of the drawn forms; a record's form depends on seed and key alone.
        bootstrap: of the confidence intervals; none are computed where it is None.

    Returns:
        JSON-ready, floats rounded to 6 places, None where there is nothing to measure:

        - `k`, `records`;
        - `recall_at_<k>`, `precision_at_<k>`, `ndcg_at_<k>`, `mrr_at_<k>`, `map_at_<k>`, `chance`, `counts`: query
          modality -> gallery -> value; gallery `fused` is each record as the fusion of all its modalities that may
          answer the query;
        - `intervals`: measure -> query modality -> gallery -> [low, high];
        - `mixed`: the same measures, `chance`, `queries`, and by form `retention` (recall in the mixed gallery over
          recall in a gallery of that form alone), `retention_overall`, `share` (of the first k, beside the share of
          the truth), `intervals` of the measures and of the retention, and all of it `by_query`;
        - `all_views`: query modality -> `gallery` (items), `recall_at_<k>`, `chance` and `share` by target modality.

    Raises:
        ValueError: k is below 1.
    """
    cells = {
        query: {gallery: _cell(held_out, query, gallery, k, bootstrap) for gallery in GALLERIES} for query in MODALITIES
    }
    matrices: dict[str, Any] = {name: _matrix(cells, name) for name in (*names(k), "chance", "counts")}
    if bootstrap is not None:
        ends = {query: {gallery: cell["intervals"] for gallery, cell in row.items()} for query, row in cells.items()}
        matrices["intervals"] = {name: _matrix(ends, name) for name in names(k)}
    drawn = draws(held_out, seed)
    parts = {query: mixed_gallery(held_out, query, k, drawn) for query in MODALITIES}
    mixed: dict[str, Any] = _mixed_report(list(parts.values()), k, bootstrap, "mixed")
    mixed["by_query"] = {query: _mixed_report([part], k, bootstrap, "mixed", query) for query, part in parts.items()}
    singly = {query: all_views(held_out, query, k, bootstrap) for query in MODALITIES}
    return {"k": k, "records": len(held_out.keys), **matrices, "mixed": mixed, "all_views": singly}


def mixed_score(held_out: HeldOut, k: int, seed: int) -> float:
    """Mean NDCG@k of all queries in the mixed gallery (what training stops by); 0.0 where nothing can be asked."""
    drawn = draws(held_out, seed)
    ranked = [
        part.ranked.ndcg() for query in MODALITIES if (part := mixed_gallery(held_out, query, k, drawn, own=False))
    ]
    return float(np.concatenate(ranked).mean()) if ranked else 0.0


def _matrix(cells: Mapping[str, Mapping[str, Mapping[str, Any]]], name: str) -> dict[str, dict[str, Any]]:
    return {query: {gallery: cell[name] for gallery, cell in row.items()} for query, row in cells.items()}


def _cell(held_out: HeldOut, query: str, gallery: str, k: int, bootstrap: Bootstrap | None) -> dict[str, Any]:
    labels = held_out.labels()
    if gallery == "fused":
        forms = forms_of(held_out.disjoint(query))
        standing = forms >= 0
    else:
        standing = held_out.has(gallery)
        forms = np.where(standing, FORMS.index(gallery), -1)
    asking = held_out.has(query) & (standing if gallery == "fused" else held_out.answers(query, gallery))
    items = np.flatnonzero(standing)
    counts = {"queries": int(asking.sum()), "gallery": len(items)}
    if not asking.any():
        nothing = dict.fromkeys(names(k))
        return {**nothing, "chance": None, "counts": counts, "intervals": nothing}
    ranked = rank(held_out.queries[query][asking], labels[asking], stack(held_out, items, forms), labels[items], k)
    measured = ranked.measures()
    return {
        **{name: mean(values) for name, values in measured.items()},
        "chance": round(min(1.0, k / len(items)), 6),
        "counts": counts,
        "intervals": _intervals(bootstrap, means(measured), held_out.places()[asking], query, gallery),
    }


def _intervals(bootstrap: Bootstrap | None, sums: Sums, records_N: np.ndarray, *name: str) -> dict[str, Interval]:
    return dict.fromkeys(sums) if bootstrap is None else bootstrap.intervals(sums, records_N, *name)


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


def mixed_gallery(
    held_out: HeldOut, query: str, k: int, drawn_N3: np.ndarray, *, own: bool = True
) -> MixedGallery | None:
    """Ask the mixed gallery; None where nothing can be asked. Without `own`, `truth_F` and `alone_N` stay zeros."""
    forms = drawn_forms(held_out, query, drawn_N3[:, MODALITIES.index(query)])
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


def _mixed_report(parts: list[MixedGallery | None], k: int, bootstrap: Bootstrap | None, *name: str) -> dict[str, Any]:
    real = [part for part in parts if part is not None]
    if not real:
        nothing: dict[str, Any] = dict.fromkeys((*names(k), "chance", "retention_overall"))
        nothing |= {"queries": 0, "retention": {}, "share": {}}
        return (
            nothing if bootstrap is None else nothing | {"intervals": dict.fromkeys((*names(k), "retention_overall"))}
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
    report = {
        **{name: mean(values) for name, values in measured.items()},
        "chance": mean(chance),
        "queries": len(recall),
        "retention": {form: ratio(found.sum(), among.sum()) for form, (found, among) in kept.items()},
        "retention_overall": ratio(recall.sum(), alone.sum()),
        "share": {
            form: {"top": ratio(top[i], top.sum()), "truth": ratio(truth[i], truth.sum())}
            for i, form in enumerate(FORMS)
            if top[i] or truth[i]
        },
    }
    if bootstrap is not None:
        records = np.concatenate([part.records_N for part in real])
        sums = {**means(measured), "retention_overall": (recall, alone)}
        ends: dict[str, Any] = dict(bootstrap.intervals(sums | kept, records, *name))
        ends["retention"] = {form: ends.pop(form) for form in kept}
        report["intervals"] = ends
    return report


def draws(held_out: HeldOut, seed: int) -> np.ndarray:
    """A number in [0, 1) for every record and query modality, of seed and key alone: (N, 3)."""
    return _draws(held_out.keys, seed)


@lru_cache(maxsize=2)  # training asks after every epoch, and a generator a key costs more than the search
def _draws(keys: tuple[str, ...], seed: int) -> np.ndarray:
    drawn = np.array([generator(seed, "mixed", key).random(len(MODALITIES)) for key in keys]).reshape(-1, 3)
    drawn.flags.writeable = False
    return drawn


def drawn_forms(held_out: HeldOut, query: str, drawn_N: np.ndarray) -> np.ndarray:
    """A form for every record out of those that may answer the query, equally likely: int (N,), -1 for none."""
    able_NF = np.stack([held_out.answers(query, form) for form in FORMS], axis=1)
    counts_N = able_NF.sum(axis=1)
    wanted_N = np.floor(drawn_N * counts_N).astype(int) + 1
    return np.where(counts_N > 0, (np.cumsum(able_NF, axis=1) >= wanted_N[:, None]).argmax(axis=1), -1)


def forms_of(modalities_N3: np.ndarray) -> np.ndarray:
    """The form of all modalities in each row: int (N,), -1 for none."""
    table = {frozenset(form.split("+")): place for place, form in enumerate(FORMS)}
    codes = {sum(2**i for i, name in enumerate(MODALITIES) if name in form): place for form, place in table.items()}
    return np.array([-1, *(codes[code] for code in range(1, 8))])[modalities_N3 @ np.array([1, 2, 4])]


def stack(held_out: HeldOut, items: np.ndarray, forms: np.ndarray) -> np.ndarray:
    """Gallery vectors of the records `items`, each in its form."""
    gallery = np.empty((len(items), next(iter(held_out.gallery.values())).shape[1]), dtype=np.float32)
    for form in np.unique(forms[items]):
        chosen = forms[items] == form
        gallery[chosen] = held_out.gallery[FORMS[form]][items[chosen]]
    return gallery
