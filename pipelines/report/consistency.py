"""Agreement of the modalities as plots and tables: true and shuffled pairs, gaps, and hubs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from trichord.pipelines.evaluation.galleries import MODALITIES
from trichord.pipelines.report import plots


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


def agreement(evaluation: Mapping[str, Any]) -> Agreement | None:
    """Return the agreement in an evaluation; None if it was not measured or no record has two modalities."""
    told = evaluation.get("consistency")
    if told is None:
        return None
    pairs = tuple(_pair(name, told) for name, found in _ordered(told["similarity"]) if found["pairs"])
    if not pairs:
        return None
    hubs = tuple(
        HubRow(
            direction=name.replace("_to_", " → ").replace("_", " "),
            skewness=found["skewness"],
            never_found=found["never_found"],
            by_chance=found["never_found_by_chance"],
            top_hub=found["top_hub"],
        )
        for name, found in _ordered(told["hubness"])
        if found["skewness"] is not None
    )
    spread = told["uniformity"]
    uniformity = tuple((name, spread[name]) for name in MODALITIES if spread[name] is not None)
    return Agreement(pairs=pairs, hubs=hubs, uniformity=uniformity, k=evaluation["k"])


def _pair(name: str, told: Mapping[str, Any]) -> PairRow:
    found = told["similarity"][name]
    shares = found["histogram"]
    plot = None
    if shares is not None:
        label = f"cosines of true and shuffled pairs, {name}"
        plot = plots.overlaid(shares["low"], shares["high"], shares["shuffled"], shares["true"], label)
    return PairRow(
        pair=name.replace("-", " – "),
        pairs=found["pairs"],
        auc=found["auc"],
        gap=told["gap"][name],
        alignment=told["alignment"][name],
        true=found["true"]["p50"],
        shuffled=found["shuffled"]["p50"],
        plot=plot,
    )


def _ordered(told: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Sort by modality, figures over all of them last; stored JSON is sorted by name."""
    places = {name: place for place, name in enumerate(MODALITIES)}

    def place(item: tuple[str, Any]) -> list[int]:
        return [places.get(name, len(places)) for name in item[0].replace("_to_", "-").split("-")]

    return sorted(told.items(), key=place)
