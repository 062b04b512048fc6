"""The page of a preparation: what became of the rows of the sources, with no publication and no model needed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.report import fates, flow, plots
from trichord.pipelines.report.cards import Printer
from trichord.pipelines.report.prepared import PreparedLake, open_prepared
from trichord.pipelines.report.render import ROWS, write_html
from trichord.pipelines.report.samples import reject_samples
from trichord.pipelines.report.tally import SCORED, Tally, tally
from trichord.transforms.op import Threshold

HISTOGRAMS, BARS, SOURCES_A_SCORE = 40, 12, 5
SIDES = {"at least": "least", "at most": "most"}  # of a threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A named share of the whole."""

    name: str
    rows: int
    share: float


def write_preparation_page(
    workspace: Workspace,
    path: Path,
    *,
    title: str = "Trichord: what was prepared",
    defects: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the page of what the newest preparation left in the lake, at most `MAX_BYTES` long.

    Args:
        workspace: the project on its lake, local or remote; everything is read through its storage.
        path: where the file goes; a file that is there is replaced whole.
        title: the page's heading.
        defects: planted defects and what became of them, each with `defect`, `planted`, `found` and `as`.

    Raises:
        StorageError: a file of the lake is missing or damaged, or the page cannot be written.
    """
    printer = Printer()
    lake = open_prepared(workspace)
    told: dict[str, Any] = {"prepared": content(lake, printer)}
    told |= {"rejects": reject_samples(lake, printer), "pairs": fates.duplicates(lake, printer)}
    told |= {"title": title, "defects": list(defects)[:ROWS], "left_out": printer.left_out}
    write_html(workspace, path, "preparation.html.j2", told)


def content(lake: PreparedLake, printer: Printer) -> dict[str, Any]:
    """What the sections of a preparation show, on its own page or on that of a publication."""
    counted = tally(lake)
    flows = flow.source_flows(lake)
    ops = flow.all_ops(flows)
    counts, alike = fates.matches(lake, printer)
    most = max((step.rows_in + step.added for step in ops), default=0)
    return {
        "lake": lake,
        "totals": lake.totals,
        "ops": [(step, plots.waterfall(step.rows_in, step.rejected, most, "reject")) for step in ops[:ROWS]],
        "reasons": list(lake.rejects.items())[:ROWS],
        "flows": flows[:ROWS],
        "counted": counted,
        "languages": bars(counted.languages),
        "modalities": bars(_of_all(counted.modalities)),
        "histograms": histograms(lake, counted)[:HISTOGRAMS],
        "changes": fates.changes(counted)[:ROWS],
        "fates": fates.fates(lake, counted, printer),
        "match_counts": counts,
        "matches": alike,
    }


def bars(counts: Mapping[str, int]) -> list[Bar]:
    """The most frequent names with their shares, then all others as one."""
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(rows for _, rows in ordered[BARS:])
    shown = [*ordered[:BARS], *([(f"{len(ordered) - BARS} others", rest)] if rest else [])]
    return [Bar(name=name, rows=rows, share=rows / total) for name, rows in shown]


def _of_all(counts: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Counts by (source, name) as counts by name."""
    total: dict[str, int] = defaultdict(int)
    for (_, name), rows in counts.items():
        total[name] += rows
    return dict(total)


def histograms(lake: PreparedLake, counted: Tally) -> list[dict[str, Any]]:
    """Every measured score, with the thresholds of the project, what they refused, and each source's middle."""
    by_score: dict[str, dict[str, Threshold]] = defaultdict(dict)
    for chain in lake.chains:
        for op in chain.ops:
            if isinstance(op, Threshold):
                by_score[op.score][op.name] = op
    found = []
    for name in sorted({*counted.scores, *lake.refused}):
        scored = [(source, value) for source, value in counted.scores.get(name, ()) if math.isfinite(value)]
        refused = [value for value in lake.refused.get(name, ()) if math.isfinite(value)]
        if not scored and not refused:
            continue
        thresholds = by_score[name].values()
        sides = [(side, getattr(op, field)) for op in thresholds for side, field in SIDES.items()]
        limits = [(side, limit) for side, limit in sides if limit is not None]
        gone = {(op.name, op.reason) for op in thresholds}
        rejected = sum(rows for reason, rows in lake.rejects.items() if reason in gone)
        found.append(
            {
                "name": name,
                "rows": len(scored),
                "svg": plots.histogram(
                    [value for _, value in scored],
                    name,
                    list(dict.fromkeys(limits)),
                    # as many as stand in proportion to the sample of the kept
                    refused[: math.ceil(rejected * min(1.0, SCORED / max(1, counted.records)))],
                ),
                "limits": " and ".join(f"{side} {plots.figure(limit)}" for side, limit in dict.fromkeys(limits)),
                "refused": rejected,
                "middles": _middles(scored),
            }
        )
    return found


def _middles(scored: Sequence[tuple[str, float]]) -> str:
    """The median of every source where there are several."""
    by_source: dict[str, list[float]] = defaultdict(list)
    for source, value in scored:
        by_source[source].append(value)
    if len(by_source) < 2:
        return ""
    told = [
        f"{source} {plots.figure(sorted(values)[len(values) // 2])}" for source, values in sorted(by_source.items())
    ]
    return "median: " + ", ".join(told[:SOURCES_A_SCORE]) + (", …" if len(told) > SOURCES_A_SCORE else "")
