"""An evaluation as tables and plots: recall matrices, mixed gallery, single items, agreement of the modalities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from trichord.pipelines.evaluation.galleries import FORMS, MODALITIES
from trichord.pipelines.report import plots

HEAT_LEVELS = 10
_ORDER = {name: place for place, name in enumerate((*MODALITIES, "fused"))}  # stored JSON is sorted by name

Evaluation = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Recall of one query modality in one gallery."""

    recall: float
    chance: float
    queries: int | None
    gallery: int | None

    @property
    def level(self) -> int:
        """Heat from 0 to `HEAT_LEVELS`, linear in recall."""
        return round(HEAT_LEVELS * min(1.0, max(0.0, self.recall)))

    @property
    def over_chance(self) -> float:
        """Recall as a multiple of chance."""
        return self.recall / self.chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Recall by query modality and gallery; None where there are no queries."""

    title: str
    k: int
    records: int
    galleries: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]

    @property
    def chances(self) -> tuple[float, float]:
        """Lowest and highest chance of its cells."""
        chances = [cell.chance for _, cells in self.rows for cell in cells if cell is not None]
        return min(chances), max(chances)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormRow:
    """A form in the mixed gallery: `top` is its share of the first k hits, `truth` of the relevant records.

    `spread` is the standard deviation of the retention over the draws of forms.
    """

    form: str
    retention: float | None
    spread: float | None
    retention_before: float | None
    top: float | None
    truth: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """Figures of two modalities of one record, and a plot of their cosines (None: nothing to plot)."""

    pair: str
    pairs: int
    auc: float | None
    gap: float | None
    alignment: float | None
    true: float | None  # median cosine
    shuffled: float | None
    plot: Markup | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRow:
    """How unevenly the items of a gallery are found."""

    direction: str
    skewness: float
    never_found: float
    by_chance: float
    top_hub: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Content of the page's section, without pairs and directions that no record has."""

    pairs: tuple[PairRow, ...]
    hubs: tuple[HubRow, ...]
    uniformity: tuple[tuple[str, float], ...]
    k: int


def matrices(story: Mapping[str, Any], live: Evaluation) -> list[Matrix]:
    """Return recall before and after training on validation records, then that of the publication on test records."""
    titled = [("Before training, validation", story.get("before")), ("After training, validation", story.get("after"))]
    titled += [("Live model, test", live)]
    return [matrix for title, evaluation in titled if evaluation and (matrix := _matrix(title, evaluation)).rows]


def _matrix(title: str, evaluation: Evaluation) -> Matrix:
    k = evaluation["k"]
    recalls = evaluation[f"recall_at_{k}"]
    galleries = _ordered({gallery for cells in recalls.values() for gallery in cells})
    rows = [(query, tuple(_cell(evaluation, query, gallery) for gallery in galleries)) for query in _ordered(recalls)]
    filled = tuple(row for row in rows if any(row[1]))
    return Matrix(title=title, k=k, records=evaluation["records"], galleries=galleries, rows=filled)


def _ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Sort modalities, and pairs of them such as 'text-image' and 'text_to_image', in the order of the modalities."""

    def place(name: str) -> tuple[list[int], str]:
        return [_ORDER.get(part, len(_ORDER)) for part in name.replace("_to_", "-").split("-")], name

    return tuple(sorted(names, key=place))


def _cell(evaluation: Evaluation, query: str, gallery: str) -> Cell | None:
    recall = evaluation[f"recall_at_{evaluation['k']}"][query].get(gallery)
    if recall is None:
        return None
    counts = evaluation.get("counts", {}).get(query, {}).get(gallery, {})
    return Cell(
        recall=recall,
        chance=evaluation["chance"][query][gallery],
        queries=counts.get("queries"),
        gallery=counts.get("gallery"),
    )


def mixed_rows(live: Evaluation, story: Mapping[str, Any]) -> list[FormRow]:
    """Return the mixed gallery by form, in the order of `FORMS`, with the retention before training if known."""
    mixed = live["mixed"]
    before = (story.get("before") or {}).get("mixed", {})
    share = mixed.get("share", {})
    return [
        FormRow(
            form=form,
            retention=mixed["retention"].get(form),
            spread=mixed.get("spread", {}).get("retention", {}).get(form),
            retention_before=before.get("retention", {}).get(form),
            top=share.get(form, {}).get("top"),
            truth=share.get(form, {}).get("truth"),
        )
        for form in FORMS
        if form in mixed["retention"] or form in share
    ]


def all_views_rows(live: Evaluation) -> list[dict[str, Any]]:
    """Return recall and shares of each kind of item by query modality, in a gallery of single items."""
    measured = {query: found for query, found in live.get("all_views", {}).items() if found is not None}
    recall_at = f"recall_at_{live['k']}"
    return [
        {
            "query": query,
            "gallery": measured[query]["gallery"],
            "chance": measured[query]["chance"],
            "targets": {
                target: {"recall": measured[query][recall_at][target]} | measured[query]["share"].get(target, {})
                for target in _ordered(measured[query][recall_at])
            },
        }
        for query in _ordered(measured)
    ]


def agreement(live: Evaluation) -> Agreement | None:
    """Return how far the modalities agree; None if it was not measured or no record has two modalities."""
    measured = live.get("consistency")
    pairs = {name: found for name, found in measured["similarity"].items() if found["pairs"]} if measured else {}
    if measured is None or not pairs:
        return None
    hubs, uniformity = measured["hubness"], measured["uniformity"]
    return Agreement(
        pairs=tuple(_pair(name, measured) for name in _ordered(pairs)),
        hubs=tuple(_hub(name, hubs[name]) for name in _ordered(hubs) if hubs[name]["skewness"] is not None),
        uniformity=tuple((name, uniformity[name]) for name in MODALITIES if uniformity[name] is not None),
        k=live["k"],
    )


def _pair(name: str, measured: Mapping[str, Any]) -> PairRow:
    found = measured["similarity"][name]
    plot, shares = None, found["histogram"]
    if shares is not None:
        label = f"cosines of true and shuffled pairs, {name}"
        plot = plots.overlaid(shares["low"], shares["high"], shares["shuffled"], shares["true"], label)
    return PairRow(
        pair=name.replace("-", " – "),
        pairs=found["pairs"],
        auc=found["auc"],
        gap=measured["gap"][name],
        alignment=measured["alignment"][name],
        true=found["true"]["p50"],
        shuffled=found["shuffled"]["p50"],
        plot=plot,
    )


def _hub(name: str, found: Mapping[str, Any]) -> HubRow:
    return HubRow(
        direction=name.replace("_to_", " → ").replace("_", " "),
        skewness=found["skewness"],
        never_found=found["never_found"],
        by_chance=found["never_found_by_chance"],
        top_hub=found["top_hub"],
    )


def training_points(story: Mapping[str, Any], name: str) -> list[tuple[float, float]]:
    """Return (epoch, value) of one figure of the training history."""
    return [
        (float(epoch.get("epoch", place)), float(epoch[name]))
        for place, epoch in enumerate(story.get("history", ()))
        if epoch.get(name) is not None
    ]
