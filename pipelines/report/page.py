"""The two pages: of the live publication, and of a preparation, which needs neither model nor index."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.report import flow, measures, plots, samples
from trichord.pipelines.report.cards import Printer
from trichord.pipelines.report.changes import changes
from trichord.pipelines.report.facts import Facts
from trichord.pipelines.report.publication import open_snapshot, touched
from trichord.pipelines.report.render import ROWS, write_html
from trichord.pipelines.report.tally import SCORED
from trichord.transforms.op import Threshold

HISTOGRAMS, BARS, SOURCES_PER_SCORE = 40, 12, 5
LOSS, SCORE = "loss", "score"  # names in the training history


def write_page(
    workspace: Workspace,
    path: Path,
    *,
    title: str = "Trichord: live publication",
    queries: Sequence[Mapping[str, Any]] = (),
    defects: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the page of the live publication, at most `render.MAX_BYTES` long.

    Args:
        workspace: the project on its lake, local or remote; everything is read through its storage.
        path: of the page; an existing file is replaced.
        title: the page's heading.
        queries: to show with their hits; `samples.queries` lists their fields.
        defects: planted defects and their outcome, each with `defect`, `planted`, `found` and `as`.

    Raises:
        ConfigError: nothing is published.
        StorageError: a file of the publication is missing or damaged, or the page cannot be written.
    """
    snapshot, printer = open_snapshot(workspace), Printer()
    publication, story = snapshot.publication, snapshot.story
    live = publication.verdict.evaluation
    asked = samples.queries(snapshot, printer, queries)  # first: readers come for these, so they get their media
    content = {
        "publication": publication,
        "previous": snapshot.previous,
        "manifest": snapshot.manifest,
        "checks": publication.verdict.checks[:ROWS],
        "curves": _curves(story),
        "validated": story.get("validation") if measures.training_points(story, SCORE) else 0,
        "matrices": measures.matrices(story, live),
        "evaluation": live,
        "mixed_before": (story.get("before") or {}).get("mixed", {}),
        "forms": measures.mixed_rows(live, story),
        "agreement": measures.agreement(live),
        "all_views": measures.all_views_rows(live),
        "queries": asked,
        "tables": touched(snapshot),
    }
    steps = flow.funnel(snapshot.facts, publication.counts, "indexed", f"vectors: {snapshot.vectors}")
    content |= _prepared(snapshot.facts, printer, steps)
    content |= {"title": title, "defects": defects[:ROWS], "left_out": printer.left_out}
    write_html(workspace, path, "page.html.j2", content)


def write_preparation_page(
    facts: Facts,
    path: Path,
    *,
    title: str = "Trichord: prepared data",
    defects: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the page of a preparation; arguments and errors as of `write_page`."""
    printer = Printer()
    content = _prepared(facts, printer, flow.funnel(facts, facts.totals, "kept", "records"))
    content |= {"title": title, "defects": defects[:ROWS], "left_out": printer.left_out}
    write_html(facts.workspace, path, "preparation.html.j2", content)


def _prepared(facts: Facts, printer: Printer, steps: Sequence[flow.Step]) -> dict[str, Any]:
    """Return what both pages show of prepared rows."""
    flows, records = flow.source_flows(facts), facts.records
    ops = flow.all_ops(flows)
    most = max(step.before for step in steps)
    modalities: Counter[str] = Counter()
    for (_, combination), rows in records.modalities.items():
        modalities[combination] += rows
    return {
        "facts": facts,
        "totals": facts.totals,
        "ops": [(step, plots.waterfall(step.rows_in, step.rejected, most, "reject")) for step in ops[:ROWS]],
        "all_rows": most,
        "steps": [(step, plots.waterfall(step.before, step.rows, most, step.kind)) for step in steps[:ROWS]],
        "flows": flows[:ROWS],
        "records": records,
        "languages": bars(records.languages),
        "modalities": bars(modalities),
        "histograms": _histograms(facts)[:HISTOGRAMS],
        "changes": changes(records)[:ROWS],
        "rejects": samples.rejects(facts, printer),
        "duplicates": samples.duplicates(facts, printer),
        "matches": samples.matches(facts, printer),
        "all_duplicates": samples.listed(facts, "duplicates", "survivor_key"),
        "all_matches": samples.listed(facts, "matches", "other_key"),
        "fates": samples.fates(facts, printer),
    }


def bars(counts: Mapping[str, int]) -> list[tuple[str, int, float]]:
    """Return the most frequent names with their rows and their share, then all others as one."""
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if others := ordered[BARS:]:
        ordered[BARS:] = [(f"{len(others)} others", sum(rows for _, rows in others))]
    return [(name, rows, rows / total) for name, rows in ordered]


def _histograms(facts: Facts) -> list[dict[str, Any]]:
    """Return every measured score with the project's thresholds, what they rejected, and the median of each source."""
    thresholds: dict[str, dict[str, Threshold]] = defaultdict(dict)
    for op in (op for chain in facts.chains for op in chain.ops):
        if isinstance(op, Threshold):
            thresholds[op.score][op.name] = op
    found = []
    for name in sorted({*facts.records.scores, *facts.beyond}):
        kept = [(source, value) for source, value in facts.records.scores.get(name, ()) if math.isfinite(value)]
        beyond = [value for value in facts.beyond.get(name, ()) if math.isfinite(value)]
        if not kept and not beyond:
            continue
        ops = thresholds[name].values()
        sides = [side for op in ops for side in (("at least", op.least), ("at most", op.most))]
        limits = list(dict.fromkeys((side, limit) for side, limit in sides if limit is not None))
        reasons = {(op.name, op.reason) for op in ops}
        rejected = sum(rows for reason, rows in facts.reasons.items() if reason in reasons)
        # kept values are a sample, so rejected values are shown in the same proportion
        shown = math.ceil(rejected * min(1.0, SCORED / max(1, facts.records.total)))
        found.append(
            {
                "name": name,
                "rows": len(kept),
                "svg": plots.histogram([value for _, value in kept], name, limits, beyond[:shown]),
                "limits": " and ".join(f"{side} {plots.figure(limit)}" for side, limit in limits),
                "rejected": rejected,
                "medians": _medians(kept),
            }
        )
    return found


def _medians(scored: Sequence[tuple[str, float]]) -> str:
    """Return the median of every source, if there are several."""
    by_source: dict[str, list[float]] = defaultdict(list)
    for source, value in sorted(scored):
        by_source[source].append(value)
    if len(by_source) < 2:
        return ""
    medians = [f"{source} {plots.figure(values[len(values) // 2])}" for source, values in by_source.items()]
    return "median: " + ", ".join(medians[:SOURCES_PER_SCORE]) + (", …" if len(medians) > SOURCES_PER_SCORE else "")


def _curves(story: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return loss and validation score by epoch; the best score is marked."""
    curves = []
    for name, title in ((LOSS, "Training loss"), (SCORE, "Validation: mixed-gallery NDCG@10")):
        points = measures.training_points(story, name)
        if points and (name == LOSS or story.get("validation")):
            best = max(range(len(points)), key=lambda place: points[place][1]) if name == SCORE else None
            curves.append({"title": title, "svg": plots.curve(points, title, best=best)})
    return curves
