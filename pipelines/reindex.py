"""reindex: the whole line. Reconciles the lake and the live index with what the sources hold now."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from infra import digest, log
from infra.engines import open_engine
from infra.lake import schema
from infra.lake.shard import ShardRef
from pipelines.maintain import missing_files
from pipelines.plan import inputs_digest, make_plan
from pipelines.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """What a run changed of one table, or of the index: addresses of shards."""

    table: str
    version: int | None
    made: tuple[str, ...]
    reused: int
    removed: tuple[str, ...]


def reindex(workspace: Workspace, *, publishing: bool = True) -> dict[str, Any]:
    """Make what is missing, remove what is gone, measure, and publish.

    Args:
        workspace: the project on its lake.
        publishing: False stops after the gate and leaves the candidate to `trichord publish`.

    Returns:
        The run's summary, JSON-ready (docs/cli.md).

    Raises:
        GateFailed: the candidate was refused; the old index stays live.
        PartialRun: some splits or shards failed; a rerun resumes.
        CommitConflict: another run committed meanwhile.
    """
    started = time.monotonic()
    plan = make_plan(workspace)
    live = workspace.publications.live()
    wanted = inputs_digest(workspace, plan)
    if live is not None and _nothing_to_do(workspace, live, wanted):
        log.event("unchanged", publication=live["publication"])
        return _unchanged(workspace, live, time.monotonic() - started)
    # what an unchanged lake never pays for: torch, faiss, the engine
    from pipelines.build import VectorTables, build
    from pipelines.dedup import dedup, dropped_rows
    from pipelines.encode import encode, featurise
    from pipelines.prepare import prepare
    from pipelines.publish import Candidate, gate, publish, refuse_rolled_back
    from pipelines.splits import write_splits
    from pipelines.train import live_model, train

    with open_engine(workspace.project.engine) as engine:
        prepared = prepare(workspace, engine, plan.shards)
        commit = Commits(workspace, plan.recipe)
        commit("records", [item.records for item in prepared], schema.RECORDS)
        commit("rejects", [item.rejects for item in prepared if item.rejects], schema.REJECTS)
        commit("signatures", [item.signatures for item in prepared], schema.SIGNATURES)
        duplicates = dedup(workspace, engine, prepared)
        commit("duplicates", duplicates, schema.DUPLICATES)
        dropped = dropped_rows(workspace, duplicates)
        model = live_model(workspace, live)
        features: Mapping[str, ShardRef] = {}
        if model is None:
            features = featurise(workspace, engine, prepared)
            model = train(workspace, engine, features, dropped)
        vectors = encode(workspace, engine, prepared, dropped, features, model)
        commit("vectors", list(vectors.values()), schema.vectors_schema(model.dimension))
        built = build(workspace, engine, vectors, model, live)
        write_splits(workspace, built.manifest, prepared)
        counts = {
            "rows_in": sum(item.records.counts["rows_in"] for item in prepared),
            "rows_rejected": sum(item.records.counts["rows_rejected"] for item in prepared),
            "rows_duplicate": sum(ref.rows for ref in duplicates),
            "rows_without_view": sum(ref.counts["without_view"] for ref in vectors.values()),
        }
        counts["rows_kept"] = sum(ref.rows for ref in (item.records for item in prepared)) - counts["rows_duplicate"]
        candidate = Candidate(
            manifest=built.manifest.path,
            manifest_digest=built.manifest.digest,
            inputs_digest=wanted,
            model=model.path,
            fingerprint=model.fingerprint,
            table_versions=commit.versions,
            counts=counts,
            recipe={"prepare": plan.recipe, "model": workspace.model_settings()},
        )
        paths = {ref.address: ref.path for ref in vectors.values()}
        tables = VectorTables(storage=workspace.storage, lake=workspace.lake, paths=paths)
        verdict = gate(workspace, engine, candidate, live, tables)
    index = Touched(
        table="index", version=None, made=built.made, reused=len(built.reused), removed=built.no_longer(workspace, live)
    )
    touched = [*commit.touched, index]
    if live is not None and live["manifest_digest"] == candidate.manifest_digest and live["inputs_digest"] == wanted:
        row: dict[str, Any] | None = live  # only files were missing
    elif publishing:
        refuse_rolled_back(workspace, candidate.manifest_digest)
        row = publish(workspace, candidate, verdict)
    else:
        row = None
    return {
        **_summary(candidate.manifest_digest, counts, touched, time.monotonic() - started),
        "publication": row["publication"] if row else None,
        "fingerprint": model.fingerprint,
        "unchanged": False,
        "evaluation": verdict["evaluation"],
    }


class Commits:
    """Commits shards table by table and remembers what that changed."""

    def __init__(self, workspace: Workspace, recipe: str) -> None:
        self._workspace, self._recipe = workspace, recipe
        self._run = digest.address("run", recipe, time.time_ns())  # names the run in Delta's log, shapes nothing
        self.touched: list[Touched] = []

    @property
    def versions(self) -> dict[str, int]:
        """Delta version of every table committed so far."""
        return {item.table: item.version for item in self.touched if item.version is not None}

    def __call__(self, name: str, refs: Sequence[ShardRef], table_schema: pa.Schema) -> None:
        """Make a table hold exactly these shards, in one commit (none where it does already)."""
        table = self._workspace.table(name)
        before = set(table.shards()) if table.version() is not None else set()
        now = {ref.address for ref in refs}
        version = table.reconcile(list(refs), schema=table_schema, run=self._run, recipe=self._recipe)
        self.touched.append(
            Touched(
                table=name,
                version=version,
                made=tuple(sorted(now - before)),
                reused=len(now & before),
                removed=tuple(sorted(before - now)),
            )
        )
        log.event("committed", table=name, version=version, added=len(now - before), removed=len(before - now))


def _nothing_to_do(workspace: Workspace, live: dict[str, Any], wanted: str) -> bool:
    """Whether the live publication is what is wanted, and all its files stand (`verify` hashes them)."""
    if live["inputs_digest"] != wanted or workspace.project.train.policy != "reuse":
        return False
    missing = missing_files(workspace, live)
    if missing:
        log.event("files_missing", publication=live["publication"], files=len(missing), first=missing[0])
    return not missing


def _unchanged(workspace: Workspace, live: dict[str, Any], seconds: float) -> dict[str, Any]:
    touched = []
    for name, version in json.loads(live["table_versions"]).items():
        reused = len(workspace.table(name).shards(version))
        touched.append(Touched(table=name, version=version, made=(), reused=reused, removed=()))
    return {
        **_summary(live["manifest_digest"], json.loads(live["counts"]), touched, seconds),
        "publication": live["publication"],
        "fingerprint": live["fingerprint"],
        "unchanged": True,
        "evaluation": json.loads(live["verdict"])["evaluation"],
    }


def _summary(
    manifest_digest: str, counts: Mapping[str, int], touched: Sequence[Touched], seconds: float
) -> dict[str, Any]:
    return {
        "manifest_digest": manifest_digest,
        **counts,
        "shards_made": sum(len(item.made) for item in touched),
        "shards_reused": sum(item.reused for item in touched),
        "touched": [asdict(item) for item in touched],
        "seconds": round(seconds, 3),
    }
