"""Retrieval between and across modalities: the query-by-gallery matrix and the mixed galleries.

In the `mixed` gallery (mixed.py) each record appears once, in a form drawn from those that may answer the query. In
`all_views` every picture, sound and text is an item of its own, so a text must find its picture among all texts. Recall
by chance is k / G in a gallery of G items, whatever is relevant.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trichord.pipelines.evaluation.all_views import ask_all_views
from trichord.pipelines.evaluation.figures import mean
from trichord.pipelines.evaluation.galleries import FORMS, MODALITIES, HeldOut
from trichord.pipelines.evaluation.intervals import Bootstrap, means
from trichord.pipelines.evaluation.mixed import (
    DRAWS,
    ask_draws,
    ask_mixed,
    draw_numbers,
    draw_often,
    find_forms,
    report_mixed,
    stack,
    sum_up,
    values_by_draw,
)
from trichord.pipelines.evaluation.outcomes import Gathering, Outcomes
from trichord.pipelines.evaluation.ranking import names, rank
from trichord.pipelines.evaluation.report import Cell, Evaluation

GALLERIES = (*MODALITIES, "fused")


def evaluate(
    held_out: HeldOut, k: int, seed: int, bootstrap: Bootstrap | None = None, draws: int = DRAWS
) -> Evaluation:
    """Measure retrieval.

    Args:
        held_out: the records.
        k: depth of all measures.
        seed: of the drawn forms; a record's forms depend on seed and key alone.
        bootstrap: of the confidence intervals; None for no intervals.
        draws: of the mixed gallery.

    Raises:
        ValueError: k or draws is below 1.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}")
    drawn = draw_often(held_out, seed, draws)
    parts = {query: ask_draws(held_out, query, k, drawn) for query in MODALITIES}
    gathering = Gathering(len(held_out.keys))
    asked = [part for part in parts.values() if part]
    if asked:
        sums, places = sum_up([gallery for part in asked for gallery in part], k)
        gathering.add("mixed", sums, places)
    return Evaluation(
        k=k,
        records=len(held_out.keys),
        cells={
            query: {gallery: _measure_cell(held_out, query, gallery, k, bootstrap, gathering) for gallery in GALLERIES}
            for query in MODALITIES
        },
        mixed=report_mixed(list(parts.values()), draws, k, bootstrap, "mixed"),
        mixed_by_query={
            query: report_mixed([part], draws, k, bootstrap, "mixed", query) for query, part in parts.items()
        },
        all_views={query: ask_all_views(held_out, query, k, bootstrap, gathering) for query in MODALITIES},
        outcomes=Outcomes(
            keys=tuple(sorted(held_out.keys)),
            seed=seed,
            parts=gathering.parts,
            drawn={f"mixed.{name}": values for name, values in values_by_draw(asked, k).items()} if asked else {},
        ),
    )


def mixed_score(held_out: HeldOut, k: int, seed: int) -> float:
    """Return the mean NDCG@k of all queries in one draw of the mixed gallery, by which training stops; 0.0 without any.

    One draw is enough there: every epoch sees the same, and eight cost each epoch more than they tell it.
    """
    drawn = draw_numbers(held_out, seed)
    ranked = [part.ranked.ndcg() for query in MODALITIES if (part := ask_mixed(held_out, query, k, drawn, own=False))]
    return float(np.concatenate(ranked).mean()) if ranked else 0.0


def _measure_cell(
    held_out: HeldOut, query: str, gallery: str, k: int, bootstrap: Bootstrap | None, gathering: Gathering
) -> Cell:
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
    recall = f"recall_at_{k}"
    gathering.add(f"{recall}.{query}", means({gallery: measured[recall]}), records_N)
    return Cell(
        measures={name: mean(values) for name, values in measured.items()},
        chance=round(min(1.0, k / len(items)), 6),
        queries=int(asking.sum()),
        gallery=len(items),
        intervals=bootstrap.intervals(means(measured), records_N, query, gallery) if bootstrap is not None else None,
    )
