"""The page of the live publication: the gate, the rows it was made from, its training, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.report import fates, measures, plots, preparation, samples
from trichord.pipelines.report.cards import Printer
from trichord.pipelines.report.consistency import agreement
from trichord.pipelines.report.prepared import open_prepared
from trichord.pipelines.report.render import ROWS, write_html
from trichord.pipelines.report.snapshot import Snapshot, funnel, open_snapshot, touched, training_story

LOSS, SCORE = "loss", "score"  # names in the training history


def write_page(
    workspace: Workspace,
    path: Path,
    *,
    title: str = "Trichord: what is live",
    queries: Sequence[Mapping[str, Any]] = (),
    defects: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the page of the live publication, at most `MAX_BYTES` long.

    Args:
        workspace: the project on its lake, local or remote; everything is read through its storage.
        path: where the file goes; a file that is there is replaced whole.
        title: the page's heading.
        queries: to show with their hits; see `samples.query_cards` for their fields.
        defects: planted defects and what became of them, each with `defect`, `planted`, `found` and `as`.

    Raises:
        ConfigError: nothing is published.
        StorageError: a file of the publication is missing or damaged, or the page cannot be written.
    """
    snapshot = open_snapshot(workspace)
    content = _content(snapshot, queries) | {"title": title, "defects": list(defects)[:ROWS]}
    write_html(workspace, path, "page.html.j2", content)


def _content(snapshot: Snapshot, queries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the template shows, in plain values and SVG."""
    printer = Printer()
    live = snapshot.row["verdict"]["evaluation"]
    story = training_story(snapshot)
    # what a reader came for takes its share of the bytes first
    asked = samples.query_cards(snapshot, printer, queries)
    steps = funnel(snapshot)
    most = max(step.before for step in steps)
    lake = open_prepared(snapshot.workspace, snapshot.row["table_versions"])
    return {
        "row": snapshot.row,
        "previous": snapshot.previous,
        "manifest": snapshot.manifest,
        "checks": snapshot.row["verdict"]["checks"][:ROWS],
        "steps": [(step, plots.waterfall(step.before, step.rows, most, step.kind)) for step in steps[:ROWS]],
        "rejects": samples.reject_samples(snapshot, printer),
        "pairs": fates.duplicates(lake, printer),
        "prepared": preparation.content(lake, printer),
        "curves": _curves(story),
        "held_out": story.get("held_out"),
        "matrices": measures.matrices(story, live),
        "evaluation": live,
        "mixed_before": (story.get("before") or {}).get("mixed", {}),
        "forms": measures.mixed_rows(live, story),
        "agreement": agreement(live),
        "all_views": measures.all_views_rows(live),
        "queries": asked,
        "tables": touched(snapshot),
        "left_out": printer.left_out,
    }


def _curves(story: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Loss and held-out score by epoch; the best score is marked."""
    curves = []
    for name, title in ((LOSS, "Training loss"), (SCORE, "Held-out mixed-gallery NDCG@10")):
        points = measures.training_points(story, name)
        if points and not (name == SCORE and not story.get("held_out")):
            best = max(range(len(points)), key=lambda place: points[place][1]) if name == SCORE else None
            curves.append({"title": title, "svg": plots.curve(points, title, best=best)})
    return curves
