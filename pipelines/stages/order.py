"""The stages of a reindex, in order, and the loop that runs them."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from trichord.infra import log
from trichord.infra.cpu_time import used_cpu_s
from trichord.infra.lake.layout import FEATURES
from trichord.infra.lake.publication import Publication
from trichord.pipelines.core.commits import Commits
from trichord.pipelines.core.cost import Hours
from trichord.pipelines.core.runs import RunNote, StageTime
from trichord.pipelines.core.stage import Stage
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.plan import Plan
from trichord.pipelines.stages.forecast import Forecast
from trichord.pipelines.stages.index import Gate, Index, Publish
from trichord.pipelines.stages.live_model import require_live_model
from trichord.pipelines.stages.model import Agreement, Features, Model, Variants, Vectors
from trichord.pipelines.stages.prepare import Duplicates, Records
from trichord.pipelines.stages.run import Run

WORKERS_IMPORT = ("trichord.encoders.model",)  # nearly every stage's tasks load a model: torch takes seconds
STAGES: tuple[Stage[Run, Forecast], ...] = (
    Records(),
    Duplicates(),
    Variants(),
    Features(),
    Agreement(),
    Model(),
    Vectors(),
    Index(),
    Gate(),
    Publish(),
)


def carry_out(
    workspace: Workspace,
    plan: Plan,
    live: Publication | None,
    inputs: str,
    *,
    publishing: bool = True,
    accept: Collection[str] = (),
    note: RunNote,
) -> Run:
    """Run all stages, and note what each took. Raises as `reindex`."""
    run = Run(workspace=workspace, plan=plan, live=live, inputs=inputs, publishing=publishing, accept=accept)
    with workspace.open_engine(WORKERS_IMPORT) as engine:
        run.engine, run.commit = engine, Commits(workspace, plan.recipe)
        run_stages(run, STAGES, note)
    new = [shard for shard in run.built.manifest.shards if shard.address in run.built.made]
    note.bytes_written += sum(shard.index.bytes + shard.keys.bytes for shard in new)
    note.whole, note.counts = _whole(run), asdict(run.counts)
    return run


def run_stages(run: Run, stages: Sequence[Stage[Run, Forecast]], note: RunNote) -> None:
    """Run stages of a run whose engine and commits are set, and note what each took."""
    run.live_model_lost = require_live_model(run.workspace, run.live)
    for stage in stages:
        started, used_s, after_s = time.monotonic(), used_cpu_s(), note.elapsed_s()
        with note.at_stage(stage.name):
            stage.materialise(run)
        took: dict[str, Any] = {
            "made": _made(run, stage.name),
            "seconds": round(time.monotonic() - started, 3),
            "cpu_s": round(used_cpu_s() - used_s, 3),
        }
        note.stages[stage.name], run.stages[stage.name] = StageTime(**took, after_s=after_s), took
        note.versions = run.commit.versions
        note.gpus = max(note.gpus, run.engine.gpus)
        note.cost = Hours.of(note.stages, run.workspace.project.engine, note.gpus).price(run.workspace.project.rates)
        note.bytes_written = sum(one.bytes for one in run.commit.touched)
        log.event("stage_done", stage=stage.name, **took)


def _whole(run: Run) -> int:
    """Return how many rows the sources have, or 0 if not all that was made of them was made by this run."""
    kept = any(one.reused for one in run.commit.touched) or _made(run, "features") < len(run.features)
    return 0 if kept or not run.newly_trained else run.preparation.counts.rows_in


def _made(run: Run, stage: str) -> int:
    """Return how many units a stage made, counted as its plan does; what an earlier run had finished is not one."""
    tables = {"variants": "augmented", "features": FEATURES, "agreement": "agreement", "vectors": "vectors"}
    if stage in tables:
        return run.timings.made[tables[stage]]
    if stage == "records":
        return sum(bool(one.ran or one.copied) for one in run.prepared)
    if stage == "duplicates":
        fewer = any(one.removed and not one.made for one in run.commit.touched if one.table == "signatures")
        return int(fewer or _made(run, "records") > 0)
    if stage == "model":
        return int(run.newly_trained)
    if stage == "index":
        return len(run.built.made)
    return 1
