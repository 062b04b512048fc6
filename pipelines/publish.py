"""publish: the gate a candidate index must pass, and the one commit that makes it live (laws 4 and 5)."""

from __future__ import annotations

import datetime
import json
from dataclasses import asdict, dataclass
from typing import Any

from infra import digest, log
from infra.engines.base import Engine
from infra.errors import CommitConflict, ConfigError, GateFailed, StorageError
from pipelines.evaluate import evaluate_publication
from pipelines.maintain import missing_files
from pipelines.measure import Tables, measure_index, reject_counts
from pipelines.workspace import Workspace

FEW = 20  # records below which nothing need be held out


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One measured condition of the gate."""

    name: str
    passed: bool
    value: float | int | str
    threshold: float | int | str
    detail: str = ""


def gate(
    workspace: Workspace, engine: Engine, candidate: Candidate, live: dict[str, Any] | None, tables: Tables
) -> dict[str, Any]:
    """Measure a candidate against the gate's thresholds and the live publication.

    Returns:
        The verdict, JSON-ready: `against`, `passed`, `checks`, `evaluation`. It is also kept, so that
        `trichord publish` can take it up and `trichord status` can show why it was refused.

    Raises:
        GateFailed: some check failed; nothing was published.
    """
    limits = workspace.project.gate
    measured = measure_index(workspace, engine, candidate.manifest, tables)
    evaluation = evaluate_publication(workspace, engine, asdict(candidate))
    counts = candidate.counts
    rows = counts["rows_in"] + counts["rows_added"]
    left_out = counts["rows_rejected"] + counts["rows_duplicate"] + counts["rows_disagreeing"]
    checks = [
        Check(
            name="rows_reconcile",
            passed=rows == counts["rows_kept"] + left_out,
            value=counts["rows_kept"] + left_out,
            threshold=rows,
            detail="kept + rejected + duplicate + disagreeing = rows in + rows cut from them",
        ),
        Check(
            name="indexed_records",
            passed=measured.records == counts["rows_kept"] - counts["rows_without_view"],
            value=measured.records,
            threshold=counts["rows_kept"] - counts["rows_without_view"],
            detail="records in the index = records − duplicates − rejects − those without an indexed view",
        ),
        Check(
            name="held_out_records",
            passed=evaluation["records"] > 0 or counts["rows_kept"] < FEW,
            value=evaluation["records"],
            threshold=1,
            detail="an index must be measured: see train.held_out, train.held_out_subsets and fields.subset",
        ),
        Check(name="vectors_sound", passed=measured.unsound == 0, value=measured.unsound, threshold=0,
              detail="vectors with NaN, zero or not of unit length"),
        Check(name="keys_unique", passed=measured.repeated_keys == 0, value=measured.repeated_keys, threshold=0),
        Check(name="ann_recall_at_10", passed=measured.ann_recall >= limits.min_ann_recall,
              value=round(measured.ann_recall, 6), threshold=limits.min_ann_recall,
              detail=f"against exact search, {measured.queries} queries"),
    ]  # fmt: skip
    for op, rejected in sorted(reject_counts(workspace, candidate.table_versions["rejects"]).items()):
        ratio, limit = rejected / max(1, rows), limits.max_reject_ratio_of.get(op, limits.max_reject_ratio)
        checks.append(
            Check(name=f"rejects_of_{op}", passed=ratio <= limit, value=round(ratio, 6),
                  threshold=limit, detail=f"{rejected} of {rows} rows")
        )  # fmt: skip
    checks += _retrieval_checks(workspace, evaluation)
    if live is not None:
        checks += _against_live(workspace, candidate, evaluation, live)
    verdict = {
        "against": live["publication"] if live else None,
        "passed": all(check.passed for check in checks),
        "checks": [asdict(check) for check in checks],
        "evaluation": evaluation,
    }
    stored = {"candidate": asdict(candidate), "verdict": verdict}
    workspace.storage.write(workspace.path("index", "candidate.json"), digest.canonical_json(stored))
    log.event("gate", passed=verdict["passed"], checks=len(checks))
    if not verdict["passed"]:
        raise GateFailed(_refusal(verdict, live))
    return verdict


def publish(workspace: Workspace, candidate: Candidate, verdict: dict[str, Any]) -> dict[str, Any]:
    """Append the publication: the only moment at which anything changes for a reader.

    Raises:
        GateFailed: the verdict is not a pass (law 5).
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
    uri = workspace.path("index", "candidate.json")
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
    publications.append(row)
    log.event(kind, publication=row["publication"], manifest_digest=row["manifest_digest"])
    return row


def _retrieval_checks(workspace: Workspace, evaluation: dict[str, Any]) -> list[Check]:
    least = workspace.project.gate.min_over_chance
    checks = []
    for query, cells in evaluation["recall_at_10"].items():
        for gallery, recall in cells.items():
            chance = evaluation["chance"][query][gallery]
            if recall is None or gallery == "fused" or query == gallery:
                continue
            checks.append(
                Check(name=f"recall_{query}_to_{gallery}", passed=recall >= least * chance, value=recall,
                      threshold=round(least * chance, 6), detail=f"{least:g} × chance {chance:.4f}")
            )  # fmt: skip
    return checks


def _against_live(
    workspace: Workspace, candidate: Candidate, evaluation: dict[str, Any], live: dict[str, Any]
) -> list[Check]:
    limits = workspace.project.gate
    before = json.loads(live["counts"])["rows_kept"]
    least_rows = int(before * (1 - limits.max_row_drop))
    checks = [
        Check(name="rows_against_live", passed=candidate.counts["rows_kept"] >= least_rows,
              value=candidate.counts["rows_kept"], threshold=least_rows, detail=f"the live index holds {before}")
    ]  # fmt: skip
    old = json.loads(live["verdict"])["evaluation"]["mixed"]["recall_at_10"]
    new = evaluation["mixed"]["recall_at_10"]
    if old is not None and new is not None:
        checks.append(
            Check(name="mixed_recall_against_live", passed=new >= old - limits.max_recall_drop, value=new,
                  threshold=round(old - limits.max_recall_drop, 6), detail=f"the live index reached {old}")
        )  # fmt: skip
    return checks


def _refusal(verdict: dict[str, Any], live: dict[str, Any] | None) -> str:
    failed = [check for check in verdict["checks"] if not check["passed"]]
    lines = [f"  {c['name']}: {c['value']} against {c['threshold']} ({c['detail']})" for c in failed]
    standing = f"The old index {live['publication']} stays live." if live else "Nothing is live."
    return "\n".join(
        [
            "The gate refused the new index:",
            *lines,
            standing,
            "See it whole: `trichord status --json`; limits: section `gate`.",
        ]
    )
