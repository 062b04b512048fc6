"""The page of the live publication: one HTML file without scripts or outside resources, safe for hostile records.

All text is escaped by the template engine, and the page's content security policy allows nothing but its one style
sheet (by its hash) and the pictures and sounds that stand in the page itself.
"""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from infra.config import PrepareConfig
from infra.errors import StorageError
from pipelines.report import measures, plots, samples
from pipelines.report.cards import Printer
from pipelines.report.snapshot import Snapshot, funnel, open_snapshot, score_sample, touched, training_story
from pipelines.workspace import Workspace
from transforms.chain import prepare_chain
from transforms.op import Threshold

MAX_BYTES = 6_000_000
LOSS, SCORE = "loss", "score"  # names in the training history
DIRECTIONS = frozenset(("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"))
SIDES = {"at least": "least", "at most": "most"}  # of a threshold
TEXT_CHARS, ROWS, HISTOGRAMS = 240, 100, 24
_HERE = Path(__file__).parent


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
    page = _render(_content(snapshot, queries) | {"title": title, "defects": list(defects)[:ROWS]})
    data = page.encode("utf-8", "replace")
    if len(data) > MAX_BYTES:
        raise AssertionError(f"a page of {len(data)} bytes: some list of it is not bounded")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The page cannot be written to {path}: {error.strerror}.") from error
    workspace.storage.write(str(path.resolve()), data)


def _content(snapshot: Snapshot, queries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the template shows, in plain values and SVG."""
    printer = Printer()
    live = snapshot.row["verdict"]["evaluation"]
    story = training_story(snapshot)
    # what a reader came for takes its share of the bytes first
    asked = samples.query_cards(snapshot, printer, queries)
    steps = funnel(snapshot)
    return {
        "row": snapshot.row,
        "previous": snapshot.previous,
        "manifest": snapshot.manifest,
        "checks": snapshot.row["verdict"]["checks"][:ROWS],
        "steps": [(step, plots.waterfall(step.before, step.rows, steps[0].rows, step.kind)) for step in steps[:ROWS]],
        "rejects": samples.reject_samples(snapshot, printer),
        "pairs": samples.duplicate_pairs(snapshot, printer),
        "curves": _curves(story),
        "held_out": story.get("held_out"),
        "matrices": measures.matrices(story, live),
        "evaluation": live,
        "mixed_before": (story.get("before") or {}).get("mixed", {}),
        "forms": measures.mixed_rows(live, story),
        "all_views": measures.all_views_rows(live),
        "histograms": _histograms(snapshot),
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


def _histograms(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Every measured score, with the project's thresholds and how many rows each refused."""
    found = []
    for name, values in list(score_sample(snapshot).items())[:HISTOGRAMS]:
        thresholds = _thresholds(snapshot.workspace.project.prepare, name)
        sides = [(side, getattr(op, name)) for op in thresholds for side, name in SIDES.items()]
        limits = [(side, limit) for side, limit in sides if limit is not None]
        found.append(
            {
                "name": name,
                "rows": len(values),
                "svg": plots.histogram(values, name, limits),
                "limits": " and ".join(f"{side} {plots.figure(limit)}" for side, limit in limits),
                "refused": sum(snapshot.rejects.get((op.name, op.reason), 0) for op in thresholds),
            }
        )
    return found


def _thresholds(config: PrepareConfig, score: str) -> list[Threshold]:
    return [op for op in prepare_chain(config) if isinstance(op, Threshold) and op.score == score]


def _render(content: Mapping[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "figure": _figure, "percent": _percent, "size": size}
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; media-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    page = environment.get_template("page.html.j2")
    return page.render(**content, style=Markup(style), policy=policy, bar=plots.bar)


def shown(value: object, chars: int = TEXT_CHARS) -> str:
    """Text as a page shows it: on one line, cut to `chars`, control characters and direction marks made visible."""
    text = str(value)
    line = " ".join(text[: chars + 1].split())[:chars]
    clean = "".join("\ufffd" if _unseen(char) else char for char in line)
    return f"{clean}…" if len(text) > chars else clean


def _unseen(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs") or unicodedata.bidirectional(char) in DIRECTIONS


def size(count: int) -> str:
    """Bytes for people: 512 B, 1.4 MB."""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1_000 or unit == "TB":
            break
        value /= 1_000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"


def _figure(value: object) -> str:
    """A measured value of whatever type the gate or the evaluation gave it."""
    if value is None:
        return "–"
    return plots.figure(value) if isinstance(value, int | float) else shown(value)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"
