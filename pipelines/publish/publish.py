"""publish: the gate a candidate index must pass, and the one commit that makes it live."""

from __future__ import annotations

import datetime
import json
from dataclasses import asdict, dataclass
from typing import Any

from trichord.index_builders.manifest import read_manifest
from trichord.infra import digest, log
from trichord.infra.engines.base import Engine
from trichord.infra.errors import CommitConflict, ConfigError, GateFailed, StorageError
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.ground_truth import vector_shards
from trichord.pipelines.index.milvus_collections import follow, make_ready
from trichord.pipelines.index.vector_tables import VectorTables
from trichord.pipelines.publish.checks import (
    chance_checks,
    content_check,
    figure_checks,
    index_checks,
    live_checks,
    reject_checks,
)
from trichord.pipelines.publish.evaluate import evaluate_publication
from trichord.pipelines.publish.measure_index import measure_index, reject_counts
from trichord.pipelines.publish.pinned import missing_files
from trichord.pipelines.publish.vector_audit import check_content


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A built index with everything that publishing it would pin."""

    manifest: str  # lake-relative
    manifest_digest: str
    inputs_digest: str
    model: str  # lake-relative
    fingerprint: str
    table_versions: dict[str, int]
    counts: dict[str, int]
    recipe: dict[str, str]


def gate(
    workspace: Workspace, engine: Engine, candidate: Candidate, live: dict[str, Any] | None, tables: VectorTables
) -> dict[str, Any]:
    """Measure a candidate against the gate's thresholds and the live publication.

    Returns:
        The verdict, JSON-ready: `against`, `passed`, `checks`, `evaluation`. It is also kept, so that
        `trichord publish` can take it up and `trichord status` can show why it was refused.

    Raises:
        GateFailed: some check failed; nothing was published.
        ConfigError: the gate names a figure that no evaluation has.
    """
    project, counts, pinned = workspace.project, candidate.counts, asdict(candidate)
    limits = project.gate
    measured = measure_index(workspace, engine, candidate.manifest, tables)
    evaluation = evaluate_publication(workspace, engine, pinned)
    rejected = reject_counts(workspace, candidate.table_versions["rejects"])
    checks = [
        *index_checks(counts, measured, evaluation, limits),
        *reject_checks(rejected, counts["rows_in"] + counts["rows_added"], limits),
        *chance_checks(evaluation, limits),
    ]
    if project.evaluate.content_rows:
        inputs = vector_shards(read_manifest(workspace.lake, candidate.manifest))
        checks.append(content_check(check_content(workspace, engine, pinned, inputs, project.evaluate.content_rows)))
    before = None
    if live is not None:
        before = json.loads(live["verdict"])["evaluation"]
        checks += live_checks(counts, evaluation, json.loads(live["counts"]), before, limits)
    checks += figure_checks(evaluation, before, limits)
    verdict = {
        "against": live["publication"] if live else None,
        "passed": all(check.passed for check in checks),
        "checks": [asdict(check) for check in checks],
        "evaluation": evaluation,
    }
    stored = {"candidate": asdict(candidate), "verdict": verdict}
    workspace.storage.write(workspace.lake.uri("index", "candidate.json"), digest.canonical_json(stored))
    log.event("gate", passed=verdict["passed"], checks=len(checks))
    if not verdict["passed"]:
        raise GateFailed(_refusal(verdict, live))
    return verdict


def publish(workspace: Workspace, candidate: Candidate, verdict: dict[str, Any]) -> dict[str, Any]:
    """Append the publication: the only moment at which anything changes for a reader.

    Raises:
        GateFailed: the verdict is not a pass.
        CommitConflict: something else was published since the gate compared the candidate with the live index.
    """
    if not verdict["passed"]:
        raise GateFailed(_refusal(verdict, workspace.publications.live()))
    return _append(workspace, "publish", asdict(candidate), verdict, against=verdict["against"])


def publish_candidate(workspace: Workspace) -> dict[str, Any]:
    """Publish what the last `reindex --no-publish` built, with the verdict it was given.

    Raises:
        ConfigError: there is no candidate.
        GateFailed: its verdict is not a pass.
    """
    uri = workspace.lake.uri("index", "candidate.json")
    if not workspace.storage.exists(uri):
        raise ConfigError("There is no candidate index to publish. Build one: `trichord reindex --no-publish`.")
    stored = json.loads(workspace.storage.read(uri))
    candidate = Candidate(**stored["candidate"])
    live = workspace.publications.live()
    if live is not None and live["manifest_digest"] == candidate.manifest_digest:
        return live
    return publish(workspace, candidate, stored["verdict"])


def refuse_rolled_back(workspace: Workspace, manifest_digest: str) -> None:
    """Keep a night from bringing back an index that somebody rolled back.

    Raises:
        GateFailed: the index was live, and the last word on it was a rollback to another one.
    """
    history = workspace.publications.rows()
    for before, row in zip(reversed(history[:-1]), reversed(history[1:]), strict=True):
        if row["manifest_digest"] == manifest_digest:
            return
        if row["kind"] == "rollback" and before["manifest_digest"] == manifest_digest:
            raise GateFailed(
                f"This index ({before['publication']}) was rolled back at {row['created_at']}.\n"
                f"{history[-1]['publication']} stays live.\n"
                "Mend the inputs and run `trichord reindex`, or bring it back on purpose: `trichord publish`."
            )


def rollback(workspace: Workspace, to: str | None = None) -> dict[str, Any]:
    """Make an earlier publication live again, by one commit.

    Args:
        workspace: the project on its lake.
        to: id of the publication; the one that was live before the present one if None.

    Raises:
        ConfigError: there is no such publication, or nothing to go back to.
    """
    history = workspace.publications.rows()
    if not history:
        raise ConfigError("Nothing is published yet, so there is nothing to roll back. Run `trichord reindex`.")
    live = history[-1]
    earlier = [row for row in history[:-1] if row["manifest_digest"] != live["manifest_digest"]]
    chosen = [row for row in earlier if to in (None, row["publication"])]
    if not chosen:
        known = ", ".join(row["publication"] for row in earlier) or "none"
        raise ConfigError(f"No publication {to or 'before the live one'} to roll back to. Earlier ones: {known}.")
    target = dict(chosen[-1])
    for name in ("table_versions", "counts", "recipe"):
        target[name] = json.loads(target[name])
    return _append(workspace, "rollback", target, json.loads(chosen[-1]["verdict"]), against=live["publication"])


def _append(
    workspace: Workspace, kind: str, pinned: dict[str, Any], verdict: dict[str, Any], *, against: str | None
) -> dict[str, Any]:
    publications = workspace.publications
    history = publications.rows()
    live = history[-1]["publication"] if history else None
    if live != against:
        raise CommitConflict(
            f"{live} went live while {against or 'nothing'} was compared with.\nRun `trichord reindex` again."
        )
    sequence = history[-1]["sequence"] + 1 if history else 1
    row = {
        "publication": f"{pinned['manifest_digest'][:12]}-{sequence}",
        "sequence": sequence,
        "kind": kind,
        "verdict": json.dumps(verdict, sort_keys=True),
        "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    for name in ("manifest", "manifest_digest", "inputs_digest", "fingerprint", "model"):
        row[name] = pinned[name]
    for name in ("table_versions", "counts", "recipe"):
        row[name] = json.dumps(pinned[name], sort_keys=True)
    if gone := missing_files(workspace, row):
        raise StorageError(
            f"{row['publication']} cannot go live: {len(gone)} of its files are gone, first {gone[0]}.\n"
            "Run `trichord reindex`: it makes them again."
        )
    make_ready(workspace, row)
    publications.append(row)
    log.event(kind, publication=row["publication"], manifest_digest=row["manifest_digest"])
    follow(workspace, row)
    return row


def _refusal(verdict: dict[str, Any], live: dict[str, Any] | None) -> str:
    failed = [check for check in verdict["checks"] if not check["passed"]]
    lines = [f"  {c['name']}: {_shown(c['value'])} against {c['threshold']} ({c['detail']})" for c in failed]
    standing = f"The old index {live['publication']} stays live." if live else "Nothing is live."
    return "\n".join(
        [
            "The gate refused the new index:",
            *lines,
            standing,
            "See it whole: `trichord status --json`; limits: section `gate`.",
        ]
    )


def _shown(value: float | int | str | None) -> str:
    return "unknown" if value is None else str(value)
