"""Retrieval between and across modalities: the query-by-gallery matrix and DESIGN section 7's mixed galleries.

In the `mixed` gallery (after MixBench, arXiv 2507.19054) each record stands once, in a form drawn from those that may
answer the query. In `all_views` every picture, sound and text stands by itself, so a text must find its picture
among all texts. Recall by chance is k / G in a gallery of G items, whatever is relevant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from infra.digest import generator
from pipelines.evaluation.held_out import FORMS, MODALITIES, HeldOut
from pipelines.evaluation.ranking import Ranked, rank

GALLERIES = (*MODALITIES, "fused")


def evaluate(held_out: HeldOut, k: int, seed: int) -> dict[str, Any]:
    """Measure everything.

    Args:
        held_out: the records.
        k: depth of all measures.
        seed: of the drawn forms; a record's form depends on seed and key alone.

    Returns:
        JSON-ready, floats rounded to 6 places, None where there is nothing to measure:

        - `k`, `records`;
        - `recall_at_<k>`, `precision_at_<k>`, `ndcg_at_<k>`, `chance`, `counts`: query modality -> gallery ->
          value; gallery `fused` is each record as the fusion of all its modalities that may answer the query;
        - `mixed`: `recall_at_<k>`, `ndcg_at_<k>`, `chance`, `queries`, and by form `retention` (recall in the
          mixed gallery over recall in a gallery of that form alone), `retention_overall`, `share` (of the first k,
          beside the share of the truth), and all of it `by_query`;
        - `all_views`: query modality -> `gallery` (items), `recall_at_<k>`, `chance` and `share` by target modality.

    Raises:
        ValueError: k is below 1.
    """
    cells = {query: {gallery: _cell(held_out, query, gallery, k) for gallery in GALLERIES} for query in MODALITIES}
    measures = (f"recall_at_{k}", f"precision_at_{k}", f"ndcg_at_{k}", "chance", "counts")
    matrices = {
        name: {query: {gallery: cell[name] for gallery, cell in row.items()} for query, row in cells.items()}
        for name in measures
    }
    drawn = _draws(held_out, seed)
    parts = {query: _mixed(held_out, query, k, drawn) for query in MODALITIES}
    mixed: dict[str, Any] = _mixed_report(list(parts.values()), k)
    mixed["by_query"] = {query: _mixed_report([part], k) for query, part in parts.items()}
    all_views = {query: _all_views(held_out, query, k) for query in MODALITIES}
    return {"k": k, "records": len(held_out.keys), **matrices, "mixed": mixed, "all_views": all_views}


def mixed_score(held_out: HeldOut, k: int, seed: int) -> float:
    """Mean NDCG@k of all queries in the mixed gallery (what training stops by); 0.0 where nothing can be asked."""
    drawn = _draws(held_out, seed)
    ranked = [part.ranked.ndcg() for query in MODALITIES if (part := _mixed(held_out, query, k, drawn, own=False))]
    return float(np.concatenate(ranked).mean()) if ranked else 0.0


def _cell(held_out: HeldOut, query: str, gallery: str, k: int) -> dict[str, Any]:
    labels = held_out.labels()
    if gallery == "fused":
        forms = _forms_of(held_out.disjoint(query))
        standing = forms >= 0
    else:
        standing = held_out.has(gallery)
        forms = np.where(standing, FORMS.index(gallery), -1)
    asking = held_out.has(query) & (standing if gallery == "fused" else held_out.answers(query, gallery))
    items = np.flatnonzero(standing)
    counts = {"queries": int(asking.sum()), "gallery": len(items)}
    if not asking.any():
        names = (f"recall_at_{k}", f"precision_at_{k}", f"ndcg_at_{k}", "chance")
        return {**dict.fromkeys(names), "counts": counts}
    ranked = rank(held_out.queries[query][asking], labels[asking], _stack(held_out, items, forms), labels[items], k)
    return {
        f"recall_at_{k}": _mean(ranked.recall()),
        f"precision_at_{k}": _mean(ranked.precision()),
        f"ndcg_at_{k}": _mean(ranked.ndcg()),
        "chance": round(min(1.0, k / len(items)), 6),
        "counts": counts,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mixed:
    """The mixed gallery as one query modality saw it."""

    ranked: Ranked
    gallery: int
    own_forms_N: np.ndarray  # the form of each query's own record
    item_forms_G: np.ndarray
    truth_F: np.ndarray  # relevant items by form, over all queries
    alone_N: np.ndarray  # recall of each query in a gallery of its record's form alone


def _mixed(held_out: HeldOut, query: str, k: int, drawn_N3: np.ndarray, *, own: bool = True) -> _Mixed | None:
    forms = _drawn_forms(held_out, query, drawn_N3[:, MODALITIES.index(query)])
    asking = held_out.has(query) & (forms >= 0)
    if not asking.any():
        return None
    labels, items = held_out.labels(), np.flatnonzero(forms >= 0)
    vectors = held_out.queries[query]
    ranked = rank(vectors[asking], labels[asking], _stack(held_out, items, forms), labels[items], k)
    alone = np.zeros(len(labels))
    truth: np.ndarray = np.zeros(len(FORMS))
    if own:
        for form in np.unique(forms[asking]):
            asked, among = asking & (forms == form), np.flatnonzero(held_out.answers(query, FORMS[form]))
            gallery = held_out.gallery[FORMS[form]][among]
            alone[asked] = rank(vectors[asked], labels[asked], gallery, labels[among], k).recall()
        asked_by_label = np.bincount(labels[asking], minlength=labels.max() + 1)
        truth = np.bincount(forms[items], weights=asked_by_label[labels[items]], minlength=len(FORMS))
    return _Mixed(
        ranked=ranked,
        gallery=len(items),
        own_forms_N=forms[asking],
        item_forms_G=forms[items],
        truth_F=truth,
        alone_N=alone[asking],
    )


def _mixed_report(parts: list[_Mixed | None], k: int) -> dict[str, Any]:
    real = [part for part in parts if part is not None]
    if not real:
        empty = (f"recall_at_{k}", f"ndcg_at_{k}", "chance", "retention_overall")
        return {**dict.fromkeys(empty), "queries": 0, "retention": {}, "share": {}}
    recall = np.concatenate([part.ranked.recall() for part in real])
    alone = np.concatenate([part.alone_N for part in real])
    own = np.concatenate([part.own_forms_N for part in real])
    chance = np.concatenate([np.full(len(part.own_forms_N), min(1.0, k / part.gallery)) for part in real])
    top = np.zeros(len(FORMS))
    for part in real:
        top += np.bincount(part.item_forms_G[part.ranked.items_NK].ravel(), minlength=len(FORMS))
    truth = np.sum([part.truth_F for part in real], axis=0)
    return {
        f"recall_at_{k}": _mean(recall),
        f"ndcg_at_{k}": _mean(np.concatenate([part.ranked.ndcg() for part in real])),
        "chance": _mean(chance),
        "queries": len(recall),
        "retention": {
            FORMS[form]: _ratio(recall[own == form].sum(), alone[own == form].sum()) for form in np.unique(own)
        },
        "retention_overall": _ratio(recall.sum(), alone.sum()),
        "share": {
            form: {"top": _ratio(top[i], top.sum()), "truth": _ratio(truth[i], truth.sum())}
            for i, form in enumerate(FORMS)
            if top[i] or truth[i]
        },
    }


def _all_views(held_out: HeldOut, query: str, k: int) -> dict[str, Any] | None:
    """Every single item by itself. The query's own source is not in its gallery; others of its kind are."""
    labels = held_out.labels()
    asking = np.flatnonzero(held_out.has(query) & held_out.disjoint(query).any(axis=1))
    if not len(asking):
        return None
    vectors, rows, kinds = (np.concatenate(part) for part in zip(*_single_items(held_out), strict=True))
    source = MODALITIES.index(query)
    own_item = held_out.present[:, :source].sum() + np.cumsum(held_out.present[:, source]) - 1
    hide = ~held_out.other_caption[asking] if query == "text" else np.ones(len(asking), bool)
    excluded = np.where(hide, own_item[asking], -1)
    ranked = rank(held_out.queries[query][asking], labels[asking], vectors, labels[rows], k, excluded_N=excluded)
    shown = ranked.items_NK >= 0
    recall: dict[str, float | None] = {}
    share: dict[str, dict[str, float | None]] = defaultdict(dict)
    relevant_of: dict[str, np.ndarray] = {}
    for kind, target in enumerate(MODALITIES):
        of_kind = kinds[ranked.items_NK] == kind
        by_label = np.bincount(labels[rows[kinds == kind]], minlength=labels.max() + 1)
        relevant_of[target] = by_label[labels[asking]] - (hide if kind == source else 0)
        able = held_out.answers(query, target)[asking]
        found = (ranked.relevant_NK & of_kind).sum(axis=1)
        recall[target] = _mean(found[able] / relevant_of[target][able]) if able.any() else None
        share[target]["top"] = _ratio((of_kind & shown).sum(), shown.sum())
    every = sum(values.sum() for values in relevant_of.values())
    for target, values in relevant_of.items():
        share[target]["truth"] = _ratio(values.sum(), every)
    return {
        "gallery": len(rows),
        "queries": len(asking),
        f"recall_at_{k}": recall,
        "chance": round(min(1.0, k / len(rows)), 6),
        "share": dict(share),
    }


def _single_items(held_out: HeldOut) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(vectors, records, kinds) of all texts, all images, all audios, then the further captions."""
    for kind, name in enumerate(MODALITIES):
        rows = np.flatnonzero(held_out.present[:, kind])
        if len(rows):
            yield held_out.gallery[name][rows], rows, np.full(len(rows), kind)
    if held_out.captions is not None and held_out.caption_rows is not None:
        yield held_out.captions, held_out.caption_rows, np.zeros(len(held_out.caption_rows), int)


def _draws(held_out: HeldOut, seed: int) -> np.ndarray:
    """A number in [0, 1) for every record and query modality, of seed and key alone: (N, 3)."""
    return np.array([generator(seed, "mixed", key).random(len(MODALITIES)) for key in held_out.keys]).reshape(-1, 3)


def _drawn_forms(held_out: HeldOut, query: str, drawn_N: np.ndarray) -> np.ndarray:
    """A form for every record out of those that may answer the query, equally likely: int (N,), -1 for none."""
    able_NF = np.stack([held_out.answers(query, form) for form in FORMS], axis=1)
    counts_N = able_NF.sum(axis=1)
    wanted_N = np.floor(drawn_N * counts_N).astype(int) + 1
    return np.where(counts_N > 0, (np.cumsum(able_NF, axis=1) >= wanted_N[:, None]).argmax(axis=1), -1)


def _forms_of(modalities_N3: np.ndarray) -> np.ndarray:
    """The form of all modalities in each row: int (N,), -1 for none."""
    table = {frozenset(form.split("+")): place for place, form in enumerate(FORMS)}
    codes = {sum(2**i for i, name in enumerate(MODALITIES) if name in form): place for form, place in table.items()}
    return np.array([-1, *(codes[code] for code in range(1, 8))])[modalities_N3 @ np.array([1, 2, 4])]


def _stack(held_out: HeldOut, items: np.ndarray, forms: np.ndarray) -> np.ndarray:
    """Gallery vectors of the records `items`, each in its form."""
    gallery = np.empty((len(items), next(iter(held_out.gallery.values())).shape[1]), dtype=np.float32)
    for form in np.unique(forms[items]):
        chosen = forms[items] == form
        gallery[chosen] = held_out.gallery[FORMS[form]][items[chosen]]
    return gallery


def _mean(values: np.ndarray) -> float:
    return round(float(values.mean()), 6)


def _ratio(part: float, whole: float) -> float | None:
    return round(float(part) / float(whole), 6) if whole else None
