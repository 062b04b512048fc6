"""An evaluation as tables: recall matrices, the mixed gallery by form, and every item by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trichord.pipelines.evaluation.galleries import FORMS, MODALITIES

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
    """A form in the mixed gallery: `top` is its share of the first k hits, `truth` of the relevant records."""

    form: str
    retention: float | None
    retention_before: float | None
    top: float | None
    truth: float | None


def matrices(story: Mapping[str, Any], live: Evaluation) -> list[Matrix]:
    """Return recall before and after training if the model's story has both, else recall of the publication."""
    if story.get("before") and story.get("after"):
        titled = [("Before training", story["before"]), ("After training", story["after"])]
    else:
        titled = [("Live model", live)]
    return [matrix for title, evaluation in titled if (matrix := _matrix(title, evaluation)).rows]


def _matrix(title: str, evaluation: Evaluation) -> Matrix:
    k = evaluation["k"]
    recalls = evaluation[f"recall_at_{k}"]
    galleries = _ordered({gallery for cells in recalls.values() for gallery in cells})
    rows = [(query, tuple(_cell(evaluation, query, gallery) for gallery in galleries)) for query in _ordered(recalls)]
    told = tuple(row for row in rows if any(row[1]))
    return Matrix(title=title, k=k, records=evaluation["records"], galleries=galleries, rows=told)


def _ordered(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: (_ORDER.get(name, len(_ORDER)), name)))


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
            retention_before=before.get("retention", {}).get(form),
            top=share.get(form, {}).get("top"),
            truth=share.get(form, {}).get("truth"),
        )
        for form in FORMS
        if form in mixed["retention"] or form in share
    ]


def all_views_rows(live: Evaluation) -> list[dict[str, Any]]:
    """Return recall and shares of each kind of item by query modality, in a gallery of single items."""
    told = {query: found for query, found in live.get("all_views", {}).items() if found is not None}
    recall_at = f"recall_at_{live['k']}"
    return [
        {
            "query": query,
            "gallery": told[query]["gallery"],
            "chance": told[query]["chance"],
            "targets": {
                target: {"recall": told[query][recall_at][target]} | told[query]["share"].get(target, {})
                for target in _ordered(told[query][recall_at])
            },
        }
        for query in _ordered(told)
    ]


def training_points(story: Mapping[str, Any], name: str) -> list[tuple[float, float]]:
    """Return (epoch, value) of one figure of the training history."""
    return [
        (float(epoch.get("epoch", place)), float(epoch[name]))
        for place, epoch in enumerate(story.get("history", ()))
        if epoch.get(name) is not None
    ]
