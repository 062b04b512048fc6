"""Retrieval figures as values; `to_dict` gives the JSON that docs/evaluation.md describes.

Figures are rounded to 6 places; None where there is nothing to measure. `measures` are by the names that their depth
gives them: `recall_at_10`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from trichord.pipelines.core.result import Result, plain
from trichord.pipelines.evaluation.consistency import Consistency
from trichord.pipelines.evaluation.figures import Figure, figures
from trichord.pipelines.evaluation.intervals import Interval
from trichord.pipelines.evaluation.outcomes import Outcomes
from trichord.pipelines.evaluation.ranking import names

Measures = Mapping[str, float | None]
Intervals = Mapping[str, Interval]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One query modality in one gallery; `intervals` are of the measures, None without a bootstrap."""

    measures: Measures
    chance: float | None
    queries: int
    gallery: int
    intervals: Intervals | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A form's share of the first k results, and its share of the relevant items."""

    top: float | None
    truth: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedReport(Result):
    """The mixed gallery.

    Attributes:
        measures: over all queries.
        chance: recall by chance.
        queries: how many were asked.
        retention: by form, recall in the mixed gallery over recall in a gallery of that form alone.
        retention_overall: the same over all queries.
        share: by form.
        intervals: of the measures and of `retention_overall`; None without a bootstrap.
        retention_intervals: of the retention; None without a bootstrap or queries.
        draws: how often the forms were drawn. All figures are over all draws together.
        spread: standard deviation over the draws, of the measures and of `retention_overall`; None with one draw.
        retention_spread: of the retention; None with one draw or without queries.
    """

    measures: Measures
    chance: float | None
    queries: int
    retention: Mapping[str, float | None]
    retention_overall: float | None
    share: Mapping[str, Share]
    intervals: Intervals | None = None
    retention_intervals: Intervals | None = None
    draws: int = 1
    spread: Measures | None = None
    retention_spread: Measures | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        values = {
            **self.measures,
            "chance": self.chance,
            "queries": self.queries,
            "draws": self.draws,
            "retention": dict(self.retention),
            "retention_overall": self.retention_overall,
            "share": plain(self.share),
        }
        if self.intervals is not None:
            values["intervals"] = dict(self.intervals)
            if self.retention_intervals is not None:
                values["intervals"]["retention"] = dict(self.retention_intervals)
        if self.spread is not None:
            values["spread"] = dict(self.spread)
            if self.retention_spread is not None:
                values["spread"]["retention"] = dict(self.retention_spread)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], k: int) -> MixedReport:
        """Read what `to_dict` gave."""
        intervals = dict(values["intervals"]) if "intervals" in values else None
        retained = intervals.pop("retention", None) if intervals is not None else None
        spread = dict(values["spread"]) if "spread" in values else None
        retention_spread = spread.pop("retention", None) if spread is not None else None
        return cls(
            measures={name: values[name] for name in names(k)},
            **{name: values[name] for name in ("chance", "queries", "retention", "retention_overall")},
            share={form: Share(**share) for form, share in values["share"].items()},
            intervals=intervals,
            retention_intervals=retained,
            draws=values.get("draws", 1),
            spread=spread,
            retention_spread=retention_spread,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AllViewsReport:
    """One query modality in the gallery of all views; `recall`, `share` and `intervals` (of the recall) by target."""

    gallery: int
    queries: int
    recall: Mapping[str, float | None]
    chance: float
    share: Mapping[str, Share]
    intervals: Intervals | None = None

    def at_depth(self, k: int) -> Mapping[str, Any]:
        """Return JSON-ready values; the depth is in their names."""
        values = {
            "gallery": self.gallery,
            "queries": self.queries,
            f"recall_at_{k}": dict(self.recall),
            "chance": self.chance,
            "share": plain(self.share),
        }
        return values if self.intervals is None else {**values, "intervals": {f"recall_at_{k}": dict(self.intervals)}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], k: int) -> AllViewsReport:
        """Read what `at_depth` gave."""
        return cls(
            gallery=values["gallery"],
            queries=values["queries"],
            recall=values[f"recall_at_{k}"],
            chance=values["chance"],
            share={kind: Share(**share) for kind, share in values["share"].items()},
            intervals=values["intervals"][f"recall_at_{k}"] if "intervals" in values else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryUnderRanking:
    """One gallery under one ranking; `recall_by_query` (query -> target) is of all views alone."""

    measures: Measures
    retention: Mapping[str, float | None]
    retention_overall: float | None
    recall_by_query: Mapping[str, Mapping[str, float | None]] | None = None

    def at_depth(self, k: int) -> Mapping[str, Any]:
        """Return JSON-ready values; the depth is in their names."""
        values = {
            **self.measures,
            "retention": dict(self.retention),
            "retention_overall": self.retention_overall,
        }
        if self.recall_by_query is None:
            return values
        return {**values, "by_query": {name: {f"recall_at_{k}": row} for name, row in self.recall_by_query.items()}}


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingReport:
    """Both galleries under one ranking."""

    mixed: GalleryUnderRanking
    all_views: GalleryUnderRanking


@dataclass(frozen=True, slots=True, kw_only=True)
class Rankings(Result):
    """Every ranking, on the records that the calibration was not fitted on."""

    k: int
    records: int
    by_name: Mapping[str, RankingReport]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        reports = {
            name: {"mixed": report.mixed.at_depth(self.k), "all_views": report.all_views.at_depth(self.k)}
            for name, report in self.by_name.items()
        }
        return {"records": self.records, **reports}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Result):
    """Held-out records measured in one space.

    Attributes:
        k: depth of all measures.
        records: how many records.
        cells: query modality -> gallery; gallery `fused` is each record as the fusion of all its modalities that may
            answer the query.
        mixed: over all queries.
        mixed_by_query: by query modality.
        all_views: by query modality; None where nothing can be asked.
        consistency: how far the modalities agree; None where it was not measured.
        rankings: the galleries under each ranking; None where they were not measured.
        outcomes: what each record adds to the figures; not in the JSON.
    """

    k: int
    records: int
    cells: Mapping[str, Mapping[str, Cell]]
    mixed: MixedReport
    mixed_by_query: Mapping[str, MixedReport]
    all_views: Mapping[str, AllViewsReport | None]
    consistency: Consistency | None = None
    rankings: Rankings | None = None
    outcomes: Outcomes | None = field(default=None, compare=False, repr=False)

    def figure(self, path: str) -> Figure:
        """Return a figure by its dotted path: `mixed.recall_at_10`.

        Raises:
            KeyError: there is no such figure.
        """
        return dict(figures(self))[path]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        mixed = self.mixed.to_dict()
        mixed["by_query"] = {query: report.to_dict() for query, report in self.mixed_by_query.items()}
        values = {
            "k": self.k,
            "records": self.records,
            **{name: self._matrix(attrgetter("measures"), name) for name in names(self.k)},
            "chance": {query: {form: cell.chance for form, cell in row.items()} for query, row in self.cells.items()},
            "counts": {
                query: {form: {"queries": cell.queries, "gallery": cell.gallery} for form, cell in row.items()}
                for query, row in self.cells.items()
            },
            "mixed": mixed,
            "all_views": {query: one.at_depth(self.k) if one else None for query, one in self.all_views.items()},
        }
        if self.mixed.intervals is not None:
            values["intervals"] = {name: self._matrix(attrgetter("intervals"), name) for name in names(self.k)}
        if self.consistency is not None:
            values["consistency"] = self.consistency.to_dict()
        if self.rankings is not None:
            values["rankings"] = self.rankings.to_dict()
        return values

    def _matrix(self, part: Callable[[Cell], Mapping[str, Any]], name: str) -> Mapping[str, Mapping[str, Any]]:
        return {query: {form: part(cell)[name] for form, cell in row.items()} for query, row in self.cells.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evaluation:
        """Read the retrieval figures of what `to_dict` gave; consistency and rankings are left out."""
        k = values["k"]
        return cls(
            k=k,
            records=values["records"],
            cells={
                query: {gallery: _read_cell(values, query, gallery) for gallery in row}
                for query, row in values["chance"].items()
            },
            mixed=MixedReport.from_dict(values["mixed"], k),
            mixed_by_query={name: MixedReport.from_dict(one, k) for name, one in values["mixed"]["by_query"].items()},
            all_views={
                query: AllViewsReport.from_dict(one, k) if one else None for query, one in values["all_views"].items()
            },
        )


def _read_cell(values: Mapping[str, Any], query: str, gallery: str) -> Cell:
    measured, intervals = names(values["k"]), values.get("intervals")
    return Cell(
        measures={name: values[name][query][gallery] for name in measured},
        chance=values["chance"][query][gallery],
        **values["counts"][query][gallery],
        intervals={name: intervals[name][query][gallery] for name in measured} if intervals is not None else None,
    )
