"""publish: the gate that a candidate index must pass, and the single commit that makes it live."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from functools import cache
from typing import Literal

from trichord.index_builders.manifest import read_manifest
from trichord.infra import log
from trichord.infra.engines.base import Engine
from trichord.infra.errors import CommitConflict, ConfigError, GateFailed
from trichord.infra.lake import layout
from trichord.infra.lake.publication import Candidate, Check, Pinned, Publication, Verdict
from trichord.pipelines.core.protection import protected_from_gc
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.ground_truth import vector_shards
from trichord.pipelines.index.milvus_collections import follow, make_ready
from trichord.pipelines.index.vector_tables import VectorTables
from trichord.pipelines.prepare.job import reject_counts
from trichord.pipelines.publish.accept import advice, evidence_of, require_acceptable
from trichord.pipelines.publish.against_live import (
    contents_checks,
    loss_checks,
    missing_check,
    modality_checks,
    rejected_checks,
)
from trichord.pipelines.publish.checks import (
    chance_checks,
    content_check,
    figure_checks,
    index_checks,
    live_checks,
    reject_checks,
)
from trichord.pipelines.publish.contents import count_contents, expected_modalities
from trichord.pipelines.publish.evaluate import measure_figures, pinned_records
from trichord.pipelines.publish.history import find_held_back, find_previous
from trichord.pipelines.publish.measure_index import measure_index
from trichord.pipelines.publish.outcomes import read_outcomes, write_outcomes
from trichord.pipelines.publish.pinned import (
    Shards,
    candidate_bytes,
    choose_kept,
    missing_files,
    read_candidate,
    require_whole,
)
from trichord.pipelines.publish.vector_audit import check_content


def gate(
    workspace: Workspace,
    engine: Engine,
    candidate: Candidate,
    live: Publication | None,
    tables: VectorTables,
    accept: Collection[str] = (),
) -> Verdict:
    """Measure a candidate against the gate's limits and the live publication.

    Args:
        workspace: the project on its lake.
        engine: runs the tasks.
        candidate: the built index.
        live: the live publication.
        tables: vectors shards of the candidate.
        accept: names of checks that may fail.

    Returns:
        The verdict. It is also stored beside the index, for `trichord publish` and `trichord status`.

    Raises:
        GateFailed: a check failed; nothing was published.
        ConfigError: the gate names an unknown figure.
    """
    project, counts, limits = workspace.project, candidate.counts, workspace.project.gate
    measured = measure_index(workspace, engine, candidate.manifest, tables)
    before = read_outcomes(workspace, live)
    rows = pinned_records(workspace, candidate)
    found = measure_figures(workspace, engine, candidate, rows, before, keep=True)
    contents = count_contents(workspace, engine, *rows)
    recorded = Counter[str]()
    for partition, ref in rows[0].items():
        recorded[partition.split("/", 1)[0]] += ref.rows
    evaluation, confidence = found.evaluation, project.evaluate.confidence
    rejected = reject_counts(workspace, candidate.table_versions["rejects"])
    checks = [
        *index_checks(counts, measured, evaluation, limits),
        *reject_checks(rejected.by_op, counts.rows, limits),
        *chance_checks(evaluation, limits, confidence),
        *modality_checks(expected_modalities(project), contents, live),
        *rejected_checks(recorded, rejected.by_source, live),
    ]
    if project.evaluate.content_rows:
        inputs = vector_shards(read_manifest(workspace.lake, candidate.manifest))
        checks.append(content_check(check_content(workspace, engine, candidate, inputs, project.evaluate.content_rows)))
    if live is not None:
        checks += live_checks(counts, evaluation, live, limits, contents)
        checks += contents_checks(contents, live, limits)
        checks.append(missing_check(evaluation, live, before, contents))
        checks += loss_checks(found, live, before, limits, confidence)
    checks += figure_checks(evaluation, live.verdict.evaluation if live is not None else None, limits)
    checks = [one if one.passed else replace(one, evidence=evidence_of(one, found, before)) for one in checks]
    verdict = Verdict(
        against=live.id if live is not None else None,
        passed=all(check.passed for check in checks),
        checks=tuple(checks),
        evaluation=evaluation,
        contents=contents,
        outcomes=write_outcomes(workspace, found.outcomes) if found.outcomes is not None else None,
    ).accept(accept)
    _store(workspace, candidate, verdict)
    log.event("gate", passed=verdict.passed, checks=len(checks), accepted=[check.name for check in verdict.accepted])
    _require_passed(verdict, live)
    return verdict


def _store(workspace: Workspace, candidate: Candidate, verdict: Verdict) -> None:
    workspace.lake.write(layout.CANDIDATE, candidate_bytes(candidate, verdict))


def publish(workspace: Workspace, candidate: Candidate, verdict: Verdict) -> Publication:
    """Append the publication: the only step that changes what readers see.

    Raises:
        GateFailed: the candidate did not pass.
        CommitConflict: another index was published after the gate compared the candidate with the live one.
    """
    if not verdict.passed:
        _require_passed(verdict, workspace.publications.live())
    return _append(workspace, "publish", candidate, verdict, against=verdict.against)


@protected_from_gc("publish")
def publish_candidate(workspace: Workspace, accept: Collection[str] = ()) -> Publication:
    """Publish the candidate that the last `reindex` built, with its verdict.

    Args:
        workspace: the project on its lake.
        accept: names of failed checks that do not matter; the publication records them.

    Raises:
        ConfigError: there is no candidate, or one of the checks cannot be accepted.
        GateFailed: another check failed.
    """
    stored = read_candidate(workspace)
    if stored is None:
        raise ConfigError("There is no candidate index to publish. Build one: `trichord reindex --no-publish`.")
    candidate, verdict = stored
    require_acceptable(accept, (check.name for check in verdict.checks))
    live = workspace.publications.live()
    if live is not None and live.manifest_digest == candidate.manifest_digest:
        return live
    if accept:
        verdict = verdict.accept(accept)
        _store(workspace, candidate, verdict)
    return publish(workspace, candidate, verdict)


def refuse_rolled_back(workspace: Workspace, manifest_digest: str) -> None:
    """Stop a scheduled run from publishing an index that somebody rolled back.

    Raises:
        GateFailed: the index was live, and was then rolled back.
    """
    history = workspace.publications.rows()
    if manifest_digest in (held := find_held_back(history)):
        before, row = held[manifest_digest]
        raise GateFailed(
            f"This index ({before.id}) was rolled back at {row.created_at}.\n"
            f"{history[-1].id} stays live.\n"
            "Fix the inputs and run `trichord reindex`, or publish it deliberately with `trichord publish`."
        )


@protected_from_gc("rollback")
def rollback(workspace: Workspace, to: str | None = None) -> Publication:
    """Make an earlier publication live again, in one commit.

    Args:
        workspace: the project on its lake.
        to: id of the publication; by default the one before the live one. Two rollbacks go two back.

    Raises:
        ConfigError: the publication does not exist, or there is no earlier one.
        StorageError: a file of it is missing or damaged; nothing changed.
    """
    history = workspace.publications.rows()
    if not history:
        raise ConfigError("Nothing is published yet, so there is nothing to roll back. Run `trichord reindex`.")
    live = history[-1]
    earlier = [row for row in history[:-1] if row.manifest_digest != live.manifest_digest]
    chosen = find_previous(history) if to is None else next((row for row in reversed(earlier) if row.id == to), None)
    if chosen is None:
        known = ", ".join(row.id for row in earlier) or "none"
        raise ConfigError(
            f"No publication {to or f'before {live.id}'} to roll back to. Others: {known}.\n"
            "Name one: `trichord rollback PUBLICATION`. `trichord status` lists them."
        )
    return _append(workspace, "rollback", chosen, chosen.verdict, against=live.id)


def next_publication(
    history: Sequence[Publication],
    kind: Literal["publish", "rollback", "recover"],
    pinned: Pinned,
    verdict: Verdict,
    given_up: frozenset[str] = frozenset(),
) -> Publication:
    """Return the row that makes an index live after the last row of the history."""
    sequence = history[-1].sequence + 1 if history else 1
    return Publication(
        id=f"{pinned.manifest_digest[:12]}-{sequence}",
        sequence=sequence,
        kind=kind,
        verdict=verdict,
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        given_up=given_up,
        **{one.name: getattr(pinned, one.name) for one in fields(Pinned)},
    )


def _append(
    workspace: Workspace,
    kind: Literal["publish", "rollback"],
    pinned: Pinned,
    verdict: Verdict,
    *,
    against: str | None,
) -> Publication:
    publications = workspace.publications
    history = publications.rows()
    live = history[-1].id if history else None
    if live != against:
        raise CommitConflict(
            f"{live} was published while the gate compared this index with {against or 'nothing'}.\n"
            "Run `trichord reindex` again."
        )
    shards_of = cache(lambda name, version: workspace.table(name).shards(version))  # publications share versions
    broken = _find_broken(workspace, history, shards_of) if kind == "publish" else frozenset()
    publication = next_publication(history, kind, pinned, verdict, broken - {pinned.manifest_digest})
    require_whole(workspace, publication, pinned.id if isinstance(pinned, Publication) else "The new index", shards_of)
    make_ready(workspace, publication)
    publications.append(publication)
    log.event(kind, publication=publication.id, manifest_digest=publication.manifest_digest)
    follow(workspace, publication)
    return publication


def _find_broken(workspace: Workspace, history: Sequence[Publication], shards_of: Shards) -> frozenset[str]:
    """Return the manifest digests of kept publications that lack files: nothing will make these again.

    A new publication gives them up, so that neither `rollback` nor `verify` takes them for whole.
    """
    broken = {}
    for row in choose_kept(history, workspace.project.keep_publications):
        if missing := missing_files(workspace, row, shards_of):
            broken[row.manifest_digest] = row
            log.event("given_up", publication=row.id, files_missing=len(missing), first=missing[0])
    return frozenset(broken)


def _require_passed(verdict: Verdict, live: Publication | None) -> None:
    if verdict.passed:
        return
    raise GateFailed(
        "\n".join(
            [
                "The new index failed the gate:",
                *(line for check in verdict.failed for line in describe(check)),
                f"The old index {live.id} stays live." if live else "Nothing is live.",
                "Details: `trichord status --json`. The limits are in section `gate` of the project file.",
                *advice(verdict),
            ]
        )
    )


def describe(check: Check) -> list[str]:
    """Return a failed check in words: what was measured, then what changed it."""
    value = "unknown" if check.value is None else check.value
    return [f"  {check.name}: {value} against {check.threshold} ({check.detail})",
            *(f"    {line}" for line in check.evidence)]  # fmt: skip
