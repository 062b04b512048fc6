"""Compare the rankings of search: both mixed galleries under each of them.

`plain` is the order by cosine. Every ranking sees the same records, and no calibration was fitted on them.
Shape letters: N queries, D dimension, G gallery items, K places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from trichord.encoders.calibration import Calibration
from trichord.index_builders.exact import top_k
from trichord.infra.config import RANKINGS
from trichord.pipelines.evaluation.all_views import find_hidden, split_items
from trichord.pipelines.evaluation.figures import mean, ratio
from trichord.pipelines.evaluation.galleries import FORMS, MODALITIES, HeldOut
from trichord.pipelines.evaluation.mixed import MixedGallery, ask_mixed, draw_forms, draw_numbers, stack
from trichord.pipelines.evaluation.ranking import QUERIES_A_TIME, Ranked
from trichord.pipelines.evaluation.report import GalleryUnderRanking, RankingReport, Rankings


def evaluate_rankings(held_out: HeldOut, calibration: Calibration | None, k: int, seed: int) -> Rankings:
    """Measure every ranking on both galleries; quotas are equal shares of all forms.

    `calibrated` needs a calibration that covers every pair of query and form; otherwise it is left out.
    """
    drawn = draw_numbers(held_out, seed)
    mixed = [part for query in MODALITIES if (part := _ask_mixed(held_out, query, k, drawn)) is not None]
    singly = [alone for query in MODALITIES if (alone := _ask_all_views(held_out, query, k)) is not None]
    asked = [*(part.asked for part in mixed), *(part.asked for part in singly)]
    return Rankings(
        k=k,
        records=len(held_out.keys),
        by_name={
            ranking: RankingReport(
                mixed=_report_mixed(mixed, ranking, calibration, k),
                all_views=_report_all_views(singly, ranking, calibration, k),
            )
            for ranking in RANKINGS
            if ranking != "calibrated" or all(part.is_covered(calibration) for part in asked)
        },
    )


class Asked:
    """One query modality against one gallery, and each query's first k hits of every form by cosine."""

    def __init__(
        self,
        query: str,
        queries_ND: np.ndarray,
        labels_N: np.ndarray,
        items_GD: np.ndarray,
        item_labels_G: np.ndarray,
        forms_G: np.ndarray,
        k: int,
        hidden_N: np.ndarray | None = None,
    ) -> None:
        """`forms_G` are places in `FORMS`; `hidden_N` is the item that a query does not see, -1 for none."""
        self.query, self.labels_N, self.item_labels_G, self.forms_G = query, labels_N, item_labels_G, forms_G
        self.forms = [FORMS[form] for form in np.unique(forms_G)]
        self.hidden_N = hidden = np.full(len(labels_N), -1) if hidden_N is None else hidden_N
        self.found: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # items and cosines (N, K) by form
        for form in self.forms:
            of_form = np.flatnonzero(forms_G == FORMS.index(form))
            found = [
                _search(queries_ND[part], items_GD[of_form], of_form, hidden[part], k)
                for part in _blocks(len(queries_ND))
            ]
            self.found[form] = np.concatenate([one for one, _ in found]), np.concatenate([two for _, two in found])

    def count_relevant(self, chosen_G: np.ndarray) -> np.ndarray:
        """Return the relevant items of each query among the chosen ones, bool (G,), int (N,)."""
        labels = self.item_labels_G
        counts = np.bincount(labels[chosen_G], minlength=max(self.labels_N.max(), labels.max()) + 1)
        own = (self.hidden_N >= 0) & (labels[self.hidden_N] == self.labels_N) & chosen_G[self.hidden_N]
        return np.asarray(counts[self.labels_N] - own)

    def are_relevant(self, items_NK: np.ndarray) -> np.ndarray:
        """Return which found items are relevant, bool (N, K); -1 is none."""
        found = (items_NK >= 0) & (items_NK != self.hidden_N[:, None])
        return np.asarray(found & (self.item_labels_G[items_NK] == self.labels_N[:, None]))

    def is_covered(self, calibration: Calibration | None) -> bool:
        """Return True where the calibration has a line for every form."""
        return calibration is not None and all((self.query, form) in calibration.lines for form in self.forms)

    def rank(self, ranking: str, calibration: Calibration | None, k: int) -> Ranked:
        """Return the first k items under a ranking: what search would return, with no item in two lists."""
        items_NM, cosines_NM, scores_NM, ranks_NM = (np.concatenate(parts, axis=1) for parts in zip(
            *(self._scored(form, calibration if ranking == "calibrated" else None) for form in self.forms),
            strict=True))  # fmt: skip
        if ranking == "rank_fusion":
            scores_NM = 1 / (1 + ranks_NM)  # constant 1
        if ranking == "quota":  # equal shares: each form's first hits, then each form's second, and so on
            taken_NK = _order(items_NM, cosines_NM, -ranks_NM.astype(np.float64))[:, :k]
            items_NM, cosines_NM, scores_NM = (
                np.take_along_axis(one, taken_NK, axis=1) for one in (items_NM, cosines_NM, scores_NM)
            )
        best_NK = _order(items_NM, cosines_NM, scores_NM)[:, :k]
        items_NK = np.full((len(items_NM), k), -1)
        some = np.take_along_axis(items_NM, best_NK, axis=1)
        items_NK[:, : some.shape[1]] = np.where(np.take_along_axis(cosines_NM, best_NK, axis=1) == -np.inf, -1, some)
        total_N = self.count_relevant(np.ones(len(self.item_labels_G), bool))
        return Ranked(items_NK=items_NK, relevant_NK=self.are_relevant(items_NK), total_N=total_N, k=k)

    def _scored(self, form: str, calibration: Calibration | None) -> tuple[np.ndarray, ...]:
        """Return a form's items, cosines, scores and ranks from 1, each (N, K); a hidden item comes last."""
        items_NK, cosines_NK = self.found[form]
        cosines_NK = cosines_NK.astype(np.float64)
        order_NK = _order(items_NK, cosines_NK, cosines_NK)
        items_NK, cosines_NK = (np.take_along_axis(one, order_NK, axis=1) for one in (items_NK, cosines_NK))
        scores_NK = cosines_NK
        if calibration is not None:
            line = calibration.lines[self.query, form]
            scores_NK = line.scale * cosines_NK + line.offset  # -inf stays: the scale is positive
        return items_NK, cosines_NK, scores_NK, np.broadcast_to(np.arange(1, items_NK.shape[1] + 1), items_NK.shape)


def _order(items_NM: np.ndarray, cosines_NM: np.ndarray, scores_NM: np.ndarray) -> np.ndarray:
    """Return the order of each row's hits, the best first, as `RankedHit.place` has it; hidden ones come last."""
    hidden_NM = cosines_NM == -np.inf
    return np.lexsort((items_NM, -cosines_NM, -scores_NM, hidden_NM), axis=1)


def _blocks(queries: int) -> Iterator[slice]:
    return (slice(first, first + QUERIES_A_TIME) for first in range(0, queries, QUERIES_A_TIME))


def _search(
    queries_ND: np.ndarray, items_GD: np.ndarray, names_G: np.ndarray, hidden_N: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return names and cosines (N, K) of each query's first k items; the cosine of its hidden item is -inf."""
    scores_NG = queries_ND @ items_GD.T
    places = np.minimum(np.searchsorted(names_G, hidden_N), len(names_G) - 1)
    rows = np.flatnonzero(names_G[places] == hidden_N)
    scores_NG[rows, places[rows]] = -np.inf
    places_NK, cosines_NK = top_k(scores_NG, k)
    return names_G[places_NK], cosines_NK


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mixed:
    asked: Asked
    plain: MixedGallery  # knows each query's own form, and its recall in a gallery of that form alone


def _ask_mixed(held_out: HeldOut, query: str, k: int, drawn_N3: np.ndarray) -> _Mixed | None:
    plain = ask_mixed(held_out, query, k, drawn_N3)
    if plain is None:
        return None
    labels, forms = held_out.labels(), draw_forms(held_out, query, drawn_N3[:, MODALITIES.index(query)])
    asking, items = held_out.has(query) & (forms >= 0), np.flatnonzero(forms >= 0)
    vectors = stack(held_out, items, forms)
    asked = Asked(query, held_out.queries[query][asking], labels[asking], vectors, labels[items], forms[items], k)
    return _Mixed(asked=asked, plain=plain)


def _report_mixed(
    parts: Sequence[_Mixed], ranking: str, calibration: Calibration | None, k: int
) -> GalleryUnderRanking:
    if not parts:
        return _nothing(k)
    ranked = [part.asked.rank(ranking, calibration, k) for part in parts]
    recall = np.concatenate([part.recall() for part in ranked])
    alone = np.concatenate([part.plain.alone_N for part in parts])
    own = np.concatenate([part.plain.own_forms_N for part in parts])
    return GalleryUnderRanking(
        measures={
            f"recall_at_{k}": mean(recall),
            f"ndcg_at_{k}": mean(np.concatenate([part.ndcg() for part in ranked])),
        },
        retention={FORMS[form]: ratio(recall[own == form].sum(), alone[own == form].sum()) for form in np.unique(own)},
        retention_overall=ratio(recall.sum(), alone.sum()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Singly:
    asked: Asked
    able: dict[str, np.ndarray]  # which queries can find their record in the target modality, bool (N,)


def _ask_all_views(held_out: HeldOut, query: str, k: int) -> _Singly | None:
    asking = np.flatnonzero(held_out.has(query) & held_out.disjoint(query).any(axis=1))
    if not len(asking):
        return None
    labels = held_out.labels()
    vectors, rows, kinds = (np.concatenate(part) for part in zip(*split_items(held_out), strict=True))
    hidden = find_hidden(held_out, query, asking)
    queries = held_out.queries[query][asking]
    return _Singly(
        asked=Asked(query, queries, labels[asking], vectors, labels[rows], kinds, k, hidden),
        able={target: held_out.answers(query, target)[asking] for target in MODALITIES},
    )


def _report_all_views(
    parts: Sequence[_Singly], ranking: str, calibration: Calibration | None, k: int
) -> GalleryUnderRanking:
    if not parts:
        return _nothing(k)
    cells: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = {}
    ndcg = []
    for part in parts:
        ranked = part.asked.rank(ranking, calibration, k)
        ndcg.append(ranked.ndcg())
        for target, found, among in _measure_targets(part, ranked, k):
            cells[part.asked.query, target] = found, among
    recall = np.concatenate([found for found, _ in cells.values()])
    alone = np.concatenate([among for _, among in cells.values()])
    targets = [target for target in MODALITIES if any(target == kind for _, kind in cells)]
    sums = {target: [sum(c[i].sum() for (_, kind), c in cells.items() if kind == target) for i in (0, 1)]
            for target in targets}  # fmt: skip
    return GalleryUnderRanking(
        measures={f"recall_at_{k}": mean(recall), f"ndcg_at_{k}": mean(np.concatenate(ndcg))},
        retention={target: ratio(found, among) for target, (found, among) in sums.items()},
        retention_overall=ratio(recall.sum(), alone.sum()),
        recall_by_query={
            part.asked.query: {
                kind: mean(found) for (query, kind), (found, _) in cells.items() if query == part.asked.query
            }
            for part in parts
        },
    )


def _measure_targets(part: _Singly, ranked: Ranked, k: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield each target, and the able queries' recall of its items: among all, and in a gallery of the target alone."""
    for target, able in part.able.items():
        if not able.any():
            continue
        of_kind_G = part.asked.forms_G == FORMS.index(target)
        total = part.asked.count_relevant(of_kind_G)[able]
        found = (ranked.relevant_NK & of_kind_G[ranked.items_NK]).sum(axis=1)[able]
        among = part.asked.are_relevant(part.asked.found[target][0]).sum(axis=1)[able]
        yield target, found / total, among / total


def _nothing(k: int) -> GalleryUnderRanking:
    unknown = dict.fromkeys((f"recall_at_{k}", f"ndcg_at_{k}"))
    return GalleryUnderRanking(measures=unknown, retention={}, retention_overall=None)
