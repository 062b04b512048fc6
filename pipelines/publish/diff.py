"""diff: what changed between two publications, or two versions of the lake's tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trichord.infra.errors import ConfigError, StorageError
from trichord.infra.lake.publication import Check, Publication
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.figures import figures
from trichord.pipelines.prepare.job import count_reasons
from trichord.pipelines.publish.diff_drift import ScoreDrift, draw_records, measure_scores
from trichord.pipelines.publish.diff_fields import FieldChanges, compare_fields
from trichord.pipelines.publish.diff_queries import RECORDS, QueryChanges, compare_queries
from trichord.pipelines.publish.diff_rows import Changes, Moved, Rows
from trichord.pipelines.publish.diff_sides import Side, find_sides
from trichord.pipelines.publish.diff_vectors import VectorDrifts, measure_vectors
from trichord.pipelines.publish.pinned import kept_publications


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckChange(Result):
    """A check of the gate on both sides; None where a side did not make it."""

    name: str
    before: Check | None
    after: Check | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff(Result):
    """The differences between two sides.

    Attributes:
        before, after: their names: a publication's id, or `records@VERSION`.
        added: keys that only the later side has, whatever became of them.
        changed: keys with a record of other content on both sides.
        removed: keys that only the earlier side has.
        fields: which fields of the changed records differ.
        moved: keys with another fate, or that are left out for another reason.
        rejects: reason -> rows (before, after).
        model_changed: True if the vectors come from another model; None if a side is not a publication.
        counts: field -> (before, after), if they differ.
        figures: path of a figure -> (before, after), if they differ; None if a figure was not measured.
        gate: the checks of the gate, side by side.
        scores: drift of the quality scores, those that drifted first.
        vectors: drift of the vectors.
        queries: held-out queries of which the first ten hits changed.
    """

    before: str
    after: str
    added: Changes
    changed: Changes
    removed: Changes
    fields: FieldChanges
    moved: tuple[Moved, ...]
    rejects: Mapping[str, tuple[int, int]]
    model_changed: bool | None
    counts: Mapping[str, tuple[int, int]]
    figures: Mapping[str, tuple[float | None, float | None]]
    gate: tuple[CheckChange, ...]
    scores: tuple[ScoreDrift, ...]
    vectors: VectorDrifts
    queries: QueryChanges


def diff(
    workspace: Workspace,
    before: str | None = None,
    after: str | None = None,
    *,
    queries: int = RECORDS,
    report: Path | None = None,
) -> Diff:
    """Compare two publications, by default the live one and the one before it. Nothing is written to the lake.

    Args:
        workspace: the project on its lake.
        before: the earlier side: a publication's id, `publications@VERSION` or `records@VERSION`.
        after: the later side, the same.
        queries: test records whose text, picture and sound are asked in both indexes, at most; 0 for none.
        report: write a page about it here.

    Raises:
        ConfigError: a side does not exist, `gc` removed its files, or there is no earlier publication.
        StorageError: a file is damaged, or the page cannot be written.
    """
    older, newer = find_sides(workspace, before, after)
    try:
        rows = Rows(workspace, older, newer)
        found = _compare(workspace, older, newer, rows, queries)
    except FileNotFoundError as missing:
        raise _gone(workspace, (older, newer), missing) from missing
    if report is not None:
        from trichord.pipelines.publish.diff_page import write_diff_page  # which imports what draws pictures

        write_diff_page(workspace, found, rows, report)
    return found


def _compare(workspace: Workspace, older: Side, newer: Side, rows: Rows, queries: int) -> Diff:
    was, now = older.publication, newer.publication
    evaluations = [dict(figures(one.verdict.evaluation)) if one is not None else {} for one in (was, now)]
    counts = [one.counts.to_dict() if one is not None else {} for one in (was, now)]
    both = was is not None and now is not None
    drawn = draw_records(workspace, rows)
    reasons = [count_reasons(workspace, side.versions["rejects"]) if "rejects" in side.versions else {}
               for side in (older, newer)]  # fmt: skip
    return Diff(
        before=older.name,
        after=newer.name,
        added=rows.changes("added"),
        changed=rows.changes("changed"),
        removed=rows.changes("removed"),
        fields=compare_fields(workspace, rows),
        moved=rows.moved(),
        rejects={
            name: (reasons[0].get(name, 0), reasons[1].get(name, 0)) for name in sorted({*reasons[0], *reasons[1]})
        },
        model_changed=older.fingerprint != newer.fingerprint if both else None,
        counts=_differing(*counts) if both else {},
        figures=_differing(*evaluations) if both else {},
        gate=_side_by_side(was, now) if was is not None and now is not None else (),
        scores=measure_scores(workspace, older, newer, drawn),
        vectors=measure_vectors(workspace, older, newer, drawn),
        queries=compare_queries(workspace, was, now, rows, queries)
        if was is not None and now is not None
        else QueryChanges(why_not="versions of tables have no index; name publications"),
    )


def _side_by_side(before: Publication, after: Publication) -> tuple[CheckChange, ...]:
    was, now = ({check.name: check for check in one.verdict.checks} for one in (before, after))
    return tuple(CheckChange(name=name, before=was.get(name), after=now.get(name)) for name in {**now, **was})


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        name: (before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    }


def _gone(workspace: Workspace, sides: tuple[Side, Side], missing: FileNotFoundError) -> ConfigError | StorageError:
    """Return the error for a file that is not there: removed by `gc`, or lost."""
    kept = {one.manifest_digest: one.id for one in kept_publications(workspace)}
    for side in sides:
        if side.publication is None or side.publication.manifest_digest not in kept:
            return ConfigError(
                f"{side.name} cannot be compared: `trichord gc` has removed files of it ({missing}).\n"
                f"Kept are the last {workspace.project.keep_publications} (`keep_publications`): "
                f"{', '.join(reversed(kept.values()))}."
            )
    return StorageError(f"A file is missing: {missing}. Run `trichord recover`.")
