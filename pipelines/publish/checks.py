"""The gate's checks of a measured candidate by itself, and its rows and recall. Pure functions: figures in, checks out.

What it lacks or does worse than the live publication is in against_live.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import Any

from trichord.infra.config import GateConfig
from trichord.infra.lake.publication import Check, Publication, RowCounts, SourceContents
from trichord.pipelines.evaluation.change import FEW
from trichord.pipelines.evaluation.figures import PLACES, figures, require_figures
from trichord.pipelines.evaluation.holdout import K
from trichord.pipelines.publish.against_live import source_evidence
from trichord.pipelines.publish.measure_index import Measured
from trichord.pipelines.publish.vector_audit import Content

LEAST_GALLERY = 3 * K


def index_checks(
    counts: RowCounts, measured: Measured, evaluation: Mapping[str, Any], limits: GateConfig
) -> Iterator[Check]:
    """Check that rows add up, records are indexed once, vectors are sound, and recall is measured and high enough."""
    withheld = evaluation.get("withheld", 0)
    yield Check(
        name="rows_reconcile",
        passed=counts.balanced,
        value=counts.rows_kept + counts.rows_left_out,
        threshold=counts.rows,
        detail="kept + rejected + duplicate + disagreeing = rows in + rows cut from them",
    )
    yield Check(
        name="indexed_records",
        passed=measured.records == counts.rows_kept - counts.rows_without_view,
        value=measured.records,
        threshold=counts.rows_kept - counts.rows_without_view,
        detail="records in the index = records − duplicates − rejects − those without an indexed view",
    )
    yield Check(
        name="held_out_records",
        passed=evaluation["records"] > 0 or counts.rows_kept < FEW,
        value=evaluation["records"],
        threshold=1,
        detail="an index must be measured on test records: see train.test, train.marks and fields.subset"
        + (f"; {withheld} were withheld, because the model has seen their group, picture or sound" if withheld else ""),
    )
    yield Check(
        name="vectors_sound",
        passed=measured.unsound == 0,
        value=measured.unsound,
        threshold=0,
        detail="vectors with NaN, zero or not of unit length",
    )
    yield Check(name="keys_unique", passed=measured.repeated_keys == 0, value=measured.repeated_keys, threshold=0)
    yield Check(
        name="ann_recall_at_10",
        passed=measured.ann_recall >= limits.min_ann_recall,
        value=round(measured.ann_recall, PLACES),
        threshold=limits.min_ann_recall,
        detail=f"against exact search, {measured.queries} queries"
        + "".join(f", {view} {recall:.3f}" for view, recall in sorted(measured.recall_of.items())),
    )
    for backend, (recall, rows) in measured.others.items():
        yield Check(name=f"{backend}_rows", passed=rows == measured.rows, value=rows, threshold=measured.rows)
        yield Check(
            name=f"{backend}_recall_at_10",
            passed=recall >= limits.min_ann_recall,
            value=round(recall, PLACES),
            threshold=limits.min_ann_recall,
            detail=f"against exact search, {measured.queries} queries",
        )


def reject_checks(rejected_of: Mapping[str, int], rows: int, limits: GateConfig) -> Iterator[Check]:
    """Check that no op rejected more than its share of all rows."""
    for op, rejected in sorted(rejected_of.items()):
        ratio, limit = rejected / max(1, rows), limits.max_reject_ratio_of.get(op, limits.max_reject_ratio)
        yield Check(
            name=f"rejects_of_{op}",
            passed=ratio <= limit,
            value=round(ratio, PLACES),
            threshold=limit,
            detail=f"{rejected} of {rows} rows",
        )


def content_check(content: Content) -> Check:
    """Check that the model still makes the vectors that are indexed under its fingerprint."""
    return Check(
        name="content_matches",
        passed=not content.misfits,
        value=round(content.lowest, PLACES),
        threshold=content.least,
        detail=content.evidence,
    )


def chance_checks(evaluation: Mapping[str, Any], limits: GateConfig, confidence: float) -> Iterator[Check]:
    """Check that the interval of each direction between two modalities is above chance.

    With fewer than `FEW` queries, or `LEAST_GALLERY` items, of which chance finds a third, an interval says little: the
    recall itself must reach the limit. In a gallery of at most K items every ranking finds everything: no check.
    """
    least, ends = limits.min_over_chance, evaluation.get("intervals", {}).get(f"recall_at_{K}", {})
    for query, cells in evaluation[f"recall_at_{K}"].items() if least else ():
        for gallery, recall in cells.items():
            if recall is None or gallery == "fused" or query == gallery:
                continue
            chance, counts = evaluation["chance"][query][gallery], evaluation["counts"][query][gallery]
            if counts["gallery"] <= K:
                continue
            queries, threshold = counts["queries"], least * chance
            shown = f"{least:g} × chance {chance:.4f}"
            if queries < FEW or counts["gallery"] < LEAST_GALLERY:
                few = f"{queries} queries in a gallery of {counts['gallery']} are too few for an interval"
                passed, detail = recall >= threshold, f"{shown}; {few}"
            else:
                end = ends.get(query, {}).get(gallery)
                low, high = end if end is not None else wilson(recall, queries, confidence)
                passed = low > threshold
                detail = f"the interval [{low:.3f}, {high:.3f}] must be above {shown}; {queries} queries"
            yield Check(
                name=f"recall_{query}_to_{gallery}",
                passed=passed,
                value=recall,
                threshold=round(threshold, PLACES),
                detail=detail,
            )


def wilson(share: float, trials: int, confidence: float) -> tuple[float, float]:
    """Return the score interval of a share (Wilson 1927), where none was bootstrapped.

    It is that of yes or no; a recall that can be between varies less.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre, width = share + z * z / (2 * trials), z * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    whole = 1 + z * z / trials
    return (centre - width) / whole, (centre + width) / whole


def live_checks(
    counts: RowCounts,
    evaluation: Mapping[str, Any],
    live: Publication,
    limits: GateConfig,
    contents: Mapping[str, SourceContents],
) -> Iterator[Check]:
    """Check that the candidate does not lose rows or recall against the live index."""
    before = live.counts.rows_kept
    least_rows = int(before * (1 - limits.max_row_drop))
    yield Check(
        name="rows_against_live",
        passed=counts.rows_kept >= least_rows,
        value=counts.rows_kept,
        threshold=least_rows,
        detail=f"records; the live index holds {before:,}",
        evidence=() if counts.rows_kept >= least_rows else source_evidence(contents, live.verdict.contents),
    )
    old, new = live.verdict.evaluation["mixed"]["recall_at_10"], evaluation["mixed"]["recall_at_10"]
    if old is not None and new is not None:
        yield Check(
            name="mixed_recall_against_live",
            passed=new >= old - limits.max_recall_drop,
            value=new,
            threshold=round(old - limits.max_recall_drop, PLACES),
            detail=f"the live index reached {old}",
        )


def figure_checks(
    evaluation: Mapping[str, Any], live_evaluation: Mapping[str, Any] | None, limits: GateConfig
) -> Iterator[Check]:
    """Check the limits that the project file sets for the evaluation's figures.

    An unknown figure fails its check. A figure that was not measured for the live index cannot have dropped.

    Raises:
        ConfigError: a limit is for a figure that no evaluation has.
    """
    now = dict(figures(evaluation))
    require_figures(limits, K, now)
    for path, least in limits.least.items():
        value = now.get(path)
        yield _figure_check(f"least:{path}", value, least, value is not None and value >= least, "at least")
    for path, most in limits.most.items():
        value = now.get(path)
        yield _figure_check(f"most:{path}", value, most, value is not None and value <= most, "at most")
    before = {} if live_evaluation is None else dict(figures(live_evaluation))
    for path, drop in limits.max_drop_of.items() if live_evaluation is not None else ():
        value, old = now.get(path), before.get(path)
        if old is None:
            passed, least, detail = value is not None, -drop, "not measured then"
        else:
            least, detail = round(old - drop, PLACES), f"the live index reached {old}"
            passed = value is not None and value >= least
        yield _figure_check(f"drop:{path}", value, least, passed, detail)


def _figure_check(name: str, value: float | None, threshold: float, passed: bool, detail: str) -> Check:
    unknown = "unknown: no held-out record to measure it by"
    return Check(
        name=name, passed=passed, value=value, threshold=threshold, detail=unknown if value is None else detail
    )
